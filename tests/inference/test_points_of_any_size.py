"""The same face at 178×218, 356×436 and 89×109: points in the ratio 1 : 2 : ½, by every command."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import mtlface
import mtlface.evaluate
import mtlface.predict
from mtlface.export import main as export
from mtlface.training.run import run

SIZES = {1.0: (178, 218), 2.0: (356, 436), 0.5: (89, 109)}
LOSSES = ["[178,218]", "null"]


@pytest.fixture(scope="module", params=LOSSES)
def in_pixels(request, composed, tmp_path_factory):
    """A run whose landmark loss is in pixels, as the study's was, and one in shares."""
    folder = tmp_path_factory.mktemp("runs") / "tiny" / "celeba" / "seed=0"
    overrides = [f"tasks.landmarks.loss_size={request.param}", "tasks.landmarks.start_at_mean=true"]
    run(composed("experiment=tiny", *overrides), folder, overrides)
    return folder


@pytest.fixture(scope="module")
def photos(faces, tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for path in sorted(faces.rglob("*.jpg"))[:3]:
        with Image.open(path) as face:
            for scale, size in SIZES.items():
                face.resize(size, Image.Resampling.LANCZOS).save(
                    folder / f"{path.stem}_{scale}.png"
                )
    return folder


def columns_of(table):
    return [c for c in table if c.endswith(("_x", "_y")) and not c.startswith("box")]


def assert_in_ratio(table):
    """Pixel centres: a point at x of an image is at 2x + ½ of one twice as large."""
    columns = columns_of(table)
    assert len(columns) == 10
    scales = table["image"].map(lambda name: float(name.removesuffix(".png").split("_")[-1]))
    in_the_first = {
        scale: (table.loc[scales == scale, columns].to_numpy() + 0.5) / scale - 0.5
        for scale in SIZES
    }
    for scale in (2.0, 0.5):
        np.testing.assert_allclose(in_the_first[scale], in_the_first[1.0], atol=0.5)
    assert (in_the_first[1.0] > 40).all(), "points of a face lie inside it"


@pytest.mark.parametrize("crop", ["none", "center"])
def test_predict_and_load_answer_shares_of_the_image(in_pixels, photos, tmp_path, crop):
    words = [f"checkpoint={in_pixels}", f"images={photos}", f"output={tmp_path / 'p.csv'}"]
    assert mtlface.predict.main([*words, f"crop={crop}", "device=cpu"]) == 0
    table = pd.read_csv(tmp_path / "p.csv")
    assert_in_ratio(table)
    again = mtlface.load(in_pixels, device="cpu").predict(photos, crop=crop)
    np.testing.assert_allclose(again[columns_of(table)], table[columns_of(table)], atol=1e-3)


def test_the_exported_model_answers_shares_and_says_so(in_pixels, photos, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    assert export([f"checkpoint={in_pixels}", f"output={tmp_path}", "program=false"]) == 0
    labels = json.loads((tmp_path / "labels.json").read_text())
    (meaning,) = (output for output in labels["outputs"] if output["kind"] == "points")
    assert meaning["unit"] == "normalized"
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    height, width = labels["input"]["shape"][2:]
    rows = []
    for path in sorted(photos.iterdir()):
        with Image.open(path) as image:
            small = np.asarray(image.convert("RGB").resize((width, height), Image.BILINEAR))
            size = image.size
        (points,) = session.run([meaning["name"]], {"images": small.transpose(2, 0, 1)[None]})
        pixels = points[0] * size - 0.5
        names = [f"{name}_{axis}" for name in meaning["names"] for axis in "xy"]
        rows.append({"image": path.name, **dict(zip(names, pixels.ravel(), strict=True))})
    assert_in_ratio(pd.DataFrame(rows))


def enlarged(faces, root, scale, every=1):
    """The folder with every so many of its images and their points at another size."""
    folder = root / "img_align_celeba"
    folder.mkdir(parents=True)
    for path in faces.rglob("*.jpg"):
        with Image.open(path) as face:
            larger = int(path.stem) % every == 0
            size = tuple(round(side * scale) if larger else side for side in face.size)
            face.resize(size, Image.Resampling.LANCZOS).save(folder / path.name, quality=95)
    for path in faces.glob("*.csv"):
        (root / path.name).write_bytes(path.read_bytes())
    points = root / "list_landmarks_align_celeba.csv"
    table = pd.read_csv(points)
    rows = table["image_id"].str[:6].astype(int) % every == 0
    larger = ((table.loc[rows].iloc[:, 1:] + 0.5) * scale - 0.5).round().astype(int)
    table.loc[rows, larger.columns] = larger
    table.to_csv(points, index=False)
    return root


def test_evaluate_measures_alike_at_any_size(in_pixels, faces, cache, tmp_path, capsys):
    found = {}
    for scale in (1.0, 2.0):
        root = faces if scale == 1 else enlarged(faces, tmp_path / "large", scale)
        output = tmp_path / f"out_{scale}"
        words = [f"checkpoint={in_pixels}", f"data.root={root}", f"output={output}", "device=cpu"]
        assert mtlface.evaluate.main([*words, f"data.cache={cache}"]) == 0
        metrics = json.loads((output / "evaluation.json").read_text())["metrics"]
        found[scale] = metrics, pd.read_csv(output / "predictions.csv")
    (small, table), (large, twice) = found[1.0], found[2.0]
    columns = columns_of(table)
    np.testing.assert_allclose((twice[columns] + 0.5) / 2 - 0.5, table[columns], atol=0.5)
    assert large["landmarks/mse_px"] == pytest.approx(4 * small["landmarks/mse_px"], rel=0.05)
    for name in ("nme", "nme_image", "rmse"):
        assert large[f"landmarks/{name}"] == pytest.approx(small[f"landmarks/{name}"], rel=0.05)


@pytest.mark.parametrize("loss_size", LOSSES)
def test_training_images_of_several_sizes_are_one_face_to_the_network(
    composed, faces, cache, tmp_path, loss_size
):
    words = [f"tasks.landmarks.loss_size={loss_size}", "tasks.landmarks.start_at_mean=true"]
    results = {}
    for name, root in (("one", faces), ("several", enlarged(faces, tmp_path / "f", 2.0, every=3))):
        config = composed("experiment=tiny", *words, f"data.root={root}", f"data.cache={cache}")
        results[name] = run(config, tmp_path / name, words)["metrics"]
    for metric in ("nme", "rmse"):
        one, several = (results[name][f"test/landmarks/{metric}"] for name in results)
        assert several == pytest.approx(one, rel=0.05)
    one, several = (pd.read_csv(tmp_path / n / "test_predictions.csv") for n in results)
    scale = np.where(several["image"].str[-10:-4].astype(int) % 3 == 0, 2.0, 1.0)[:, None]
    assert len(np.unique(scale)) == 2
    columns = [c for c in columns_of(one) if c in several]
    np.testing.assert_allclose((several[columns] + 0.5) / scale - 0.5, one[columns], atol=3)
