"""Every head for ages, from the command that trains it to the files of export and compare."""

import json

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from PIL import Image

from mtlface.compare import main as compare
from mtlface.export import main as export
from mtlface.predict import main as predict
from mtlface.training.run import run

HEADS = ("age", "age_l1", "age_ce", "age_mean_variance", "age_dldl", "age_coral", "age_corn")
SMALL = (
    "experiment=agegender_age_head", "profile=smoke", "data.root=null", "data.source=demo",
    "backbone=cnn3", "figures=false", "trainer.enable_progress_bar=false",
)  # fmt: skip


@pytest.fixture(scope="module")
def sweep(composed, tmp_path_factory):
    """A run of each head, as `sweep=agegender_age_heads` lays them out."""
    root = tmp_path_factory.mktemp("heads")
    for head in HEADS:
        arm = "agegender_age_head" + ("" if head == "age" else f",task=[{head}]")
        folder = root / "agegender_age_heads" / arm / "agegender" / "seed=0"
        run(composed(*SMALL, f"task=[{head}]", f"arm='{arm}'"), folder, [f"task=[{head}]"])
    return root


def folder_of(sweep, head):
    (found,) = sweep.glob(f"*/*task=[[]{head}[]]/*/seed=0")
    return found


@pytest.mark.parametrize("head", HEADS[2:])
def test_a_run_says_how_sure_it_is_of_an_age(sweep, head):
    folder = folder_of(sweep, head)
    content = json.loads((folder / "result.json").read_text())
    (found,) = content["evaluated_on"].values()
    metrics, trivial = found["metrics"], found["trivial"]
    wanted = {"mae", "rmse", "cs5", "nll"} | (
        {"rank_consistency"} if head in ("age_coral", "age_corn") else set()
    )
    assert {key.removeprefix("age/") for key in metrics if "@" not in key} == wanted
    assert all(np.isfinite(metrics[f"age/{name}"]) for name in wanted)
    assert metrics.get("age/rank_consistency", 1) == 1
    assert 5 < trivial["age/mae"] < 30
    assert content["tasks"]["age"]["primary"] == "mae"
    rows = pd.read_csv(folder / "test_predictions.csv")
    assert ((rows["age"] >= 0) & (rows["age"] <= 116) & (rows["age_std"] >= 0)).all()


def test_the_sweeps_report_sets_every_head_against_regression(sweep):
    compare([f"runs={sweep}", "figures=false"])
    table = pd.read_csv(sweep / "comparison.csv")
    assert {f"task=[{head}]" for head in HEADS[1:]} <= {
        arm.partition(",")[2] for arm in table["arm"].unique()
    }
    assert "age head" in (sweep / "comparison.md").read_text()
    differing = table[(table["metric"] == "mae") & (table["statement"] == "recipe")]
    assert set(differing["reference"]) == {"agegender_age_head"} and len(differing) == 6


@pytest.mark.parametrize("head", ["age_coral", "age_corn"])
def test_an_exported_network_gives_the_probability_of_every_age(sweep, head, tmp_path):
    rng = np.random.default_rng(0)
    side = json.loads((folder_of(sweep, head) / "result.json").read_text())["config"]["data"]
    height, width = side["image_size"]
    images = tmp_path / "images"
    images.mkdir()
    pixels = rng.integers(0, 256, (3, height, width, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(images / f"{number}.png")
    export([f"checkpoint={folder_of(sweep, head)}", f"output={tmp_path / 'bundle'}"])
    labels = json.loads((tmp_path / "bundle" / "labels.json").read_text())
    described = {output["name"]: output for output in labels["outputs"]}
    assert described["age_probabilities"]["shape"] == ["batch", 117]
    model = onnxruntime.InferenceSession(tmp_path / "bundle" / "model.onnx")
    names = [output.name for output in model.get_outputs()]
    batch = {model.get_inputs()[0].name: pixels.transpose(0, 3, 1, 2)}
    answers = dict(zip(names, model.run(None, batch), strict=True))
    predict([f"checkpoint={tmp_path / 'bundle'}", f"images={images}", f"output={tmp_path}"])
    rows = pd.read_csv(tmp_path / "predictions.csv")
    assert rows["age"].to_numpy() == pytest.approx(answers["age"], abs=0.51)
    ages = np.arange(117)
    p = answers["age_probabilities"].astype(float)
    std = np.sqrt((p * (ages - (p * ages).sum(axis=1, keepdims=True)) ** 2).sum(axis=1))
    assert rows["age_std"].to_numpy() == pytest.approx(std, rel=1e-3)
