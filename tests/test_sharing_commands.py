"""Every way of sharing, from the command that trains it to the files of export and predict."""

import json

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from PIL import Image

from mtlface.compare import main as compare
from mtlface.door import config_folder
from mtlface.export import main as export
from mtlface.inference.network import open_network
from mtlface.predict import main as predict
from mtlface.training.run import run
from mtlface.training.sweeps.launch import compose
from mtlface.training.sweeps.plan import plan

SHARINGS = ("hard", "split@0", "split@2", "cross_stitch", "mmoe@2")
SMALL = (
    "experiment=celeba_landmarks_gender", "profile=smoke", "data.root=null", "backbone=cnn3_bn",
    "trainer=cpu", "figures=false", "trainer.enable_progress_bar=false",
)  # fmt: skip


@pytest.fixture(scope="module")
def sweep(composed, tmp_path_factory):
    """A run of each way of sharing and of both twins, as `sweep=sharing_depth` lays them out."""
    root = tmp_path_factory.mktemp("sharing")
    for change in (*(f"sharing={way}" for way in SHARINGS), "only=gender", "only=landmarks"):
        arm = "celeba_landmarks_gender" + ("" if change == "sharing=hard" else f",{change}")
        folder = root / "sharing" / arm / "celeba" / "seed=0"
        run(composed(*SMALL, change, f"arm='{arm}'"), folder, [change])
    return root


def folder_of(sweep, sharing):
    (found,) = (
        path.parent
        for path in sweep.glob("*/*/celeba/seed=0/result.json")
        if json.loads(path.read_text())["overrides"] == [f"sharing={sharing}"]
    )
    return found


@pytest.mark.parametrize("sharing", SHARINGS)
def test_exported_networks_answer_as_predict_does(sweep, sharing, tmp_path):
    folder, images = folder_of(sweep, sharing), tmp_path / "images"
    images.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(images / f"{number}.png")
    export([f"checkpoint={folder}", f"output={tmp_path / 'bundle'}"])
    model = onnxruntime.InferenceSession(tmp_path / "bundle" / "model.onnx")
    names = [output.name for output in model.get_outputs()]
    batch = {model.get_inputs()[0].name: pixels.transpose(0, 3, 1, 2)}
    answers = dict(zip(names, model.run(None, batch), strict=True))
    for source in (folder, tmp_path / "bundle"):
        output = tmp_path / f"of_{source.name}"
        predict([f"checkpoint={source}", f"images={images}", f"output={output}"])
        rows = pd.read_csv(output / "predictions.csv")
        assert rows["gender_probability"].to_numpy() == pytest.approx(
            answers["gender_probability"], abs=1e-4
        )


def test_a_strangers_checkpoint_with_a_sharing_that_is_none_is_refused(sweep, tmp_path):
    path = folder_of(sweep, "mmoe@2") / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    (extra,) = (v for v in checkpoint.values() if isinstance(v, dict) and "config" in v)
    extra["config"]["sharing"] = "mmoe@99"
    torch.save(checkpoint, tmp_path / "stranger.ckpt")
    with pytest.raises(Exception, match="sharing=mmoe@99: expected hard"):
        open_network(tmp_path / "stranger.ckpt", "cpu")


def test_every_way_of_sharing_is_compared_with_the_same_twins(sweep):
    compare([f"runs={sweep}", "figures=false"])
    table = pd.read_csv(sweep / "comparison.csv")
    arms = {"celeba_landmarks_gender" + f",sharing={way}" * (way != "hard") for way in SHARINGS}
    against = table[table["statement"] == "sharing"]
    assert set(against["arm"]) == arms
    assert {word.partition("only=")[2] for word in against["reference"]} == {"gender", "landmarks"}
    # What shares nothing is its twins, in the best epoch too where there is only one.
    apart = against[against["arm"].str.endswith("split@0")]
    assert len(apart) and (apart["difference"] == 0).all()


def test_the_sweep_of_depths_has_one_twin_for_each_task():
    with initialize_config_dir(str(config_folder()), job_name="train", version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        changes = ["sweep=sharing_depth", "profile=smoke", "seed=0", "outputs=out"]
        runs = plan(loader, compose(loader, changes, multirun=True))
    words = [run.arm.removeprefix("agegender_resnet18").removeprefix(",") for run in runs]
    ways = [f"split@{k}" for k in (4, 3, 2, 1, 0)] + ["cross_stitch", "mmoe@2"]
    assert words[: len(ways) + 1] == ["", *(f"sharing={way}" for way in ways)]
    assert words[len(ways) + 1 :] == ["only=age", "only=gender"]
