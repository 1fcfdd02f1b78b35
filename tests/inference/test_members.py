"""From the command: an arm's seeds, or draws of dropout, answer together and say how sure."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from mtlface.errors import MtlfaceError
from mtlface.evaluate import main as evaluate
from mtlface.export import main as export
from mtlface.inference.members import dropout_drawn
from mtlface.predict import main as predict
from mtlface.training.run import run

DROPOUT = "+tasks.gender.head.dropout=0.5"


@pytest.fixture(scope="module")
def arm(composed, tmp_path_factory):
    """Three seeds of an arm with dropout in its head."""
    folder = tmp_path_factory.mktemp("runs") / "tiny" / "celeba"
    for seed in range(3):
        run(composed("experiment=tiny", DROPOUT, f"seed={seed}"), folder / f"seed={seed}", [])
    return folder


def test_an_ensemble_is_the_mean_of_its_seeds_and_says_how_they_differ(arm, tmp_path, capsys):
    evaluate([f"ensemble={arm}", f"output={tmp_path}", "device=cpu"])
    found = json.loads((tmp_path / "evaluation.json").read_text())
    assert len(found["ensemble"]) == found["together"]["members"] == 3
    runs = [json.loads((arm / f"seed={s}" / "result.json").read_text()) for s in range(3)]
    for name in ("gender/accuracy", "landmarks/nme_image"):
        mean = np.mean([r["metrics"][f"test/{name}"] for r in runs])
        assert found["together"]["mean"][name] == pytest.approx(mean, rel=1e-4)
    tables = [pd.read_csv(arm / f"seed={s}" / "test_predictions.csv") for s in range(3)]
    table = pd.read_csv(tmp_path / "predictions.csv")
    mean = np.mean([t["gender_probability"] for t in tables], axis=0)
    assert table["gender_probability"].to_numpy() == pytest.approx(mean, abs=1e-4)
    spread = np.std([t["left_eye_x"] for t in tables], axis=0, ddof=1)
    assert table["left_eye_x_std"].to_numpy() == pytest.approx(spread, rel=1e-3, abs=1e-4)
    calibration = found["uncertainty"]["gender"]["calibration"]
    assert calibration["nll"] > 0 and 0 <= calibration["ece"] <= 1
    assert found["together"]["disagreement"]["gender"] >= 0
    assert (tmp_path / "risk_coverage.png").stat().st_size > 5000
    assert "mean of the 3 members" in capsys.readouterr().out


def test_draws_of_dropout_differ_and_repeat(arm, tmp_path):
    for name in ("a", "b"):
        words = [f"output={tmp_path / name}", "mc_samples=5", "device=cpu"]
        evaluate([f"checkpoint={arm / 'seed=0'}", *words])
    first, second = (pd.read_csv(tmp_path / n / "predictions.csv") for n in "ab")
    assert (first["gender_probability_std"] > 0).all()
    pd.testing.assert_frame_equal(first, second)
    # The landmarks' head has no dropout, and the trunk none either.
    assert first["left_eye_x_std"].to_numpy() == pytest.approx(0, abs=1e-4)


def test_predict_draws_and_says_regions_as_the_run_calibrated_them(arm, faces, tmp_path):
    images = faces / "img_align_celeba" / "img_align_celeba"
    result = json.loads((arm / "seed=0" / "result.json").read_text())
    assert result["conformal"]["gender"]["n"] == 4
    # Four validation images are too few for any level: give it quantiles as of many.
    copy = tmp_path / "run"
    shutil.copytree(arm / "seed=0", copy)
    result["conformal"]["landmarks"]["quantiles"]["0.9"] = 0.25
    result["conformal"]["gender"]["quantiles"]["0.9"] = 0.7
    (copy / "result.json").write_text(json.dumps(result))
    export([f"checkpoint={copy}", f"output={tmp_path / 'bundle'}"])
    for source in (copy, tmp_path / "bundle"):
        output = tmp_path / f"{source.name}.csv"
        words = [f"images={images}", f"output={output}", "mc_samples=4", "coverage=0.9"]
        predict([f"checkpoint={source}", *words, "device=cpu"])
        table = pd.read_csv(output)
        assert (table["gender_probability_std"] > 0).all()
        width, height = 178, 218
        assert table["landmarks_radius"].to_numpy() == pytest.approx(0.25 * (width * height) ** 0.5)
        for row in table.itertuples():
            likely = max(row.gender_probability, 1 - row.gender_probability)
            expected = {row.gender} | ({"female", "male"} if likely <= 0.7 else set())
            assert set(row.gender_set.split("|")) == expected


def test_only_dropout_is_on_while_drawing(network):
    module = network.module
    module.backbone.trunk.append(torch.nn.Dropout(0.5))
    with dropout_drawn(module, 0):
        on = [type(m).__name__ for m in module.modules() if m.training]
    assert on == ["Dropout"]
    assert not any(m.training for m in module.modules())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "checkpoint= is missing"),
        (["ensemble={arm}", "checkpoint={arm}/seed=0"], "both are given"),
        (["ensemble={arm}/seed=0"], "two or more finished seeds"),
        (["ensemble={other}"], "differ in optimizer.lr"),
        (["checkpoint={arm}/seed=0", "mc_samples=1"], "2 draws of dropout or more"),
        (["checkpoint={plain}", "mc_samples=5"], "this one has none"),
        (["checkpoint={arm}/seed=0", "coverage=90"], "a share between 0 and 1"),
        (["checkpoint={arm}/seed=0", "min_group=0"], "expected 1 image"),
        (["checkpoint={arm}/seed=0", "intersections=race"], "two different columns"),
        (["checkpoint={arm}/seed=0", "intersections=race*sex"], "no groups by race"),
    ],
)
def test_what_cannot_be_is_one_clear_error(arm, trained, composed, tmp_path, words, message):
    other = tmp_path / "celeba"
    if any("{other}" in word for word in words):
        shutil.copytree(arm / "seed=0", other / "seed=0")
        run(
            composed("experiment=tiny", DROPOUT, "seed=1", "optimizer.lr=0.5"), other / "seed=1", []
        )
    named = [word.format(arm=arm, other=other, plain=trained) for word in words]
    with pytest.raises(MtlfaceError, match=message):
        evaluate([*named, f"output={tmp_path / 'out'}", "device=cpu"])


def test_predict_without_known_regions_says_where_they_come_from(arm, faces, tmp_path):
    images = faces / "img_align_celeba" / "img_align_celeba"
    words = [f"images={images}", f"output={tmp_path}", "coverage=0.9"]
    with pytest.raises(MtlfaceError, match=r"coverage=0\.9"):
        predict([f"checkpoint={arm / 'seed=0'}", *words])
