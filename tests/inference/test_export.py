import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from mtlface.data.schema import Binary, Category, Labels, Multilabel, Number, Points
from mtlface.errors import MtlfaceError
from mtlface.export import main
from mtlface.inference.bundle import describe
from mtlface.inference.network import open_network
from mtlface.inference.outputs import described_all
from mtlface.inference.portable import TOLERANCE, Portable
from mtlface.training.build import build_module

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytest.importorskip("safetensors")

# What somebody writes who has the bundle and never heard of mtlface.
STRANGER = """
import json, sys
from pathlib import Path
import numpy as np
import onnxruntime
from PIL import Image, ImageOps

bundle, pictures = Path(sys.argv[1]), sys.argv[2:]
labels = json.loads((bundle / "labels.json").read_text())
entry = labels["input"]
_, _, height, width = entry["shape"]
batch = []
sizes = []
for path in pictures:
    image = ImageOps.exif_transpose(Image.open(path)).convert(entry["channels"])
    sizes.append(image.size)
    batch.append(np.asarray(image.resize((width, height), Image.BILINEAR)).transpose(2, 0, 1))
batch = np.stack(batch).astype(entry["dtype"])
session = onnxruntime.InferenceSession(str(bundle / "model.onnx"))
names = [output["name"] for output in labels["outputs"]]
answers = dict(zip(names, session.run(names, {entry["name"]: batch})))
rows = [{} for _ in pictures]
for output in labels["outputs"]:
    for row, size, answer in zip(rows, sizes, answers[output["name"]]):
        if output["kind"] == "binary":
            row[output["task"]] = output["classes"][int(answer > 0.5)]
            row[output["name"]] = float(answer)
        elif output["kind"] == "points":
            for name, (x, y) in zip(output["names"], answer):
                if output["unit"] == "normalized":
                    x, y = x * size[0] - 0.5, y * size[1] - 0.5
                row[name + "_x"], row[name + "_y"] = float(x), float(y)
assert not {"torch", "mtlface"} & set(sys.modules)
print(json.dumps(rows))
"""


@pytest.fixture(scope="session")
def bundle(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    assert main([f"checkpoint={trained}", f"output={folder}"]) == 0
    return folder


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_a_process_without_mtlface_gets_the_same_predictions(
    bundle, predictor, pictures, tmp_path, kind
):
    names = [tmp_path / f"{path.stem}.{kind}" for path in pictures]
    turned = Image.Exif()
    turned[0x0112] = 8
    for k, (path, name) in enumerate(zip(pictures, names, strict=True)):
        with Image.open(path) as image:
            # Of phone size and of its own, upright and lying down, full of detail.
            image = image.resize((1780, 2180)) if k % 2 else image
            noise = np.random.default_rng(k).integers(-40, 41, (image.height, image.width, 1))
            image = Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))
            image.save(name, exif=turned if k % 3 == 0 else Image.Exif())
    # Isolated, outside the checkout: mtlface could not be found if it were asked for.
    command = [sys.executable, "-I", "-c", STRANGER, str(bundle), *map(str, names)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    theirs, own = pd.DataFrame(json.loads(ended.stdout)), predictor.predict(names)
    columns = [column for column in own if column not in ("image", "error")]
    assert set(theirs) == set(columns)
    # One value in a few hundred differs by a grey level after the resize.
    assert (theirs["gender"] == own["gender"]).all()
    assert np.abs(theirs["gender_probability"] - own["gender_probability"]).max() < 1e-3
    points = [column for column in columns if column[-2:] in ("_x", "_y")]
    assert (theirs[points] - own[points]).abs().max(axis=None) < 0.5


def test_onnx_and_program_agree_with_the_network_for_any_batch(bundle, network):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(bundle / "model.onnx"))
    program = torch.export.load(str(bundle / "model.pt2")).module()
    names = [output.name for output in session.get_outputs()]
    assert names == [o["name"] for o in json.loads((bundle / "labels.json").read_text())["outputs"]]
    for count in (1, 2, 7):
        images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)
        with torch.inference_mode():
            logit = network.module(images)["gender"]
            answers = session.run(names, {"images": images.numpy()})
            other = program(images)
        probability = network.module.tasks["gender"].logit(logit).sigmoid().numpy()
        gender = names.index("gender_probability")
        np.testing.assert_allclose(answers[gender], probability, atol=TOLERANCE)
        for answer, theirs in zip(answers, other, strict=True):
            assert len(answer) == count
            np.testing.assert_allclose(answer, theirs.numpy(), rtol=TOLERANCE, atol=TOLERANCE)


def test_the_weights_are_those_of_the_network_and_of_nothing_else(bundle, network):
    from safetensors.torch import load_file

    weights, own = load_file(bundle / "model.safetensors"), network.module.state_dict()
    assert set(weights) == {k for k in own if k.split(".")[0] in ("backbone", "tasks")}
    assert all(torch.equal(weights[name], own[name]) for name in weights)


def test_the_card_tells_data_metrics_limits_and_that_faces_are_rendered(bundle, trained):
    card = (bundle / "MODEL_CARD.md").read_text()
    accuracy = json.loads((trained / "result.json").read_text())["metrics"]["test/gender/accuracy"]
    for text in ("CelebA", "4 test pictures", f"| gender/accuracy | {accuracy:.4g} |", "Decisions"):
        assert text in card
    assert "computer-rendered" not in card  # the tests' faces came from a folder
    assert "{{" not in card and "{%" not in card


def test_labels_tell_units_frame_and_normalisation(network):
    labels = describe(network, "float32")
    assert labels["input"]["shape"] == ["batch", 3, 32, 32]
    assert labels["input"]["dtype"] == "float32"
    assert len(labels["input"]["normalisation"]["mean"]) == 3
    assert all(output["meaning"] and output["kind"] for output in labels["outputs"])


def test_unknown_input_and_missing_result(trained, tmp_path):
    with pytest.raises(MtlfaceError, match="expected one of uint8, float32"):
        main([f"checkpoint={trained}", f"output={tmp_path}", "input=int4"])
    moved = tmp_path / "moved.ckpt"
    moved.write_bytes((trained / "checkpoints" / "best.ckpt").read_bytes())
    words = [f"checkpoint={moved}", f"output={tmp_path / 'b'}", "onnx=false", "program=false"]
    assert main(words) == 0
    assert "was not beside the checkpoint" in (tmp_path / "b" / "MODEL_CARD.md").read_text()
    assert open_network(moved, "cpu").run_folder == tmp_path


@pytest.mark.parametrize(
    ("identity", "age"),
    [("identity", "age"), ("identity_arcface", "age_corn"), ("identity", "age_coral")],
)
def test_every_kind_of_task_is_described_and_exported_for_any_batch(composed, identity, age):
    if identity != "identity":
        pytest.importorskip("pytorch_metric_learning")
    config = composed("experiment=tiny", f"task=[gender_ce,landmarks,attributes,{age},{identity}]")
    config.tasks.landmarks.loss_size = [178, 218]
    labels = Labels(
        [
            Binary("gender", ("female", "male")),
            Points("landmarks", ("left_eye", "right_eye")),
            Multilabel("attributes", ("Smiling", "Bald", "Young")),
            Number("age", 0, 116, "years"),
            Category("identity", ("ann", "bob", "eve")),
        ]
    )
    module = build_module(config, labels).eval()
    model = Portable(module).eval()
    meanings = described_all(module.tasks)
    images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    batch = {"images": {0: torch.export.Dim("batch", min=1)}}
    program = torch.export.export(model, (images,), dynamic_shapes=batch).module()
    images = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        answers = dict(zip(meanings, program(images), strict=True))
        columns = {}
        for name, task in module.tasks.items():
            output = module(images)[name]
            columns |= task.columns(output, torch.tensor([[178.0, 218.0]]).expand(5, 2))
    if age != "age":
        assert answers["age_probabilities"].sum(dim=1).tolist() == pytest.approx([1] * 5, abs=1e-4)
    for name, meaning in meanings.items():
        assert ["batch", *answers[name].shape[1:]] == meaning["shape"]
    for ours, theirs in [
        (answers["gender_probability"], columns["gender_probability"]),
        (answers["landmarks"][:, 1, 0] * 178 - 0.5, columns["right_eye_x"]),
        (answers["attributes_probability"][:, 1], columns["Bald_probability"]),
        (answers["age"], columns["age"]),
        (answers["identity_probability"].max(dim=1).values, columns["identity_probability"]),
    ]:
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-4, atol=1e-4)
