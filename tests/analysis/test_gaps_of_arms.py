"""Does sharing widen the gap between groups? From runs' files to the report, and by simulation."""

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import MetricFrame
from sklearn.metrics import accuracy_score, f1_score

from mtlface.analysis import image_metrics as im
from mtlface.analysis.comparison import compare
from mtlface.analysis.crossed import crossed
from mtlface.analysis.groups import gap_of
from mtlface.analysis.results import read_runs
from mtlface.compare import main

N, SMALL = 600, 7


def write(run_writer, arm, seed, right, race, extra=None):
    """A run whose file says who was recognised, and of which group each image is."""
    world, noise = np.random.default_rng(3), np.random.default_rng([seed, len(arm)])
    truth = world.integers(0, 2, N)
    hard = world.random(N) + 0.02 * noise.standard_normal(N)
    correct = hard < np.array([right[of] for of in race])
    classes = np.array(["female", "male"])
    found = {"test/gender/accuracy": float(correct.mean()), **(extra or {})}
    found |= {f"test/gender/accuracy@race={r}": float(correct[race == r].mean()) for r in right}
    folder = run_writer(arm, seed, found)
    pd.DataFrame(
        {
            "image": [f"{i:06}.jpg" for i in range(N)],
            "gender": classes[np.where(correct, truth, 1 - truth)],
            "gender_true": classes[truth],
            "gender/error": (~correct).astype(int),
            "race": race,
        }
    ).to_csv(folder / "test_predictions.csv", index=False)


@pytest.fixture
def race():
    found = np.array(["White"] * 350 + ["Black"] * 250)
    found[-SMALL:] = "Asian"
    return found


def arms(run_writer, race, black):
    for seed in range(4):
        alone = {"White": 0.9, "Black": 0.85, "Asian": 0.1}
        write(run_writer, "alone", seed, alone, race)
        extra = {"test/landmarks/nme": 0.1}
        write(run_writer, "shared", seed, alone | {"Black": black}, race, extra)


def test_the_report_says_that_sharing_widens_the_gap(tmp_path, run_writer, race, capsys):
    arms(run_writer, race, black=0.60)
    main([f"runs={tmp_path}"])
    assert "wider" in " ".join(capsys.readouterr().out.split())
    table = pd.read_csv(next(tmp_path.rglob("comparison.csv")))
    (row,) = table[table["metric"] == "accuracy gap by race"].to_dict("records")
    assert row["arm"] == "shared" and row["reference"] == "alone" and row["pairs"] == 4
    # 7 images of the third group, of which most are wrong, are not ranked.
    assert row["difference"] == pytest.approx(0.25, abs=0.06)
    assert 0 < row["low"] < row["difference"] < row["high"] and row["p_holm"] < 0.01
    assert row["units"] == N - SMALL and row["sample"] == "seeds and images"


def test_an_equal_gap_is_not_called_wider(tmp_path, run_writer, race):
    arms(run_writer, race, black=0.85)
    (gap,) = compare(read_runs([tmp_path])).gaps
    assert gap.answer in ("undecided", "shown equal")
    assert abs(gap.mean) < 0.05 and gap.estimate.interval[0] < 0 < gap.estimate.interval[1]


@pytest.mark.parametrize("metric", ["accuracy", "f1"])
def test_the_gap_is_fairlearns_difference(metric):
    rng = np.random.default_rng(0)
    truth, said, group = (rng.integers(0, k, 300) for k in (2, 2, 3))
    pair = (said[:, None].astype(float), truth[:, None].astype(float))
    ours, theirs = {
        "accuracy": (im.share_right(*pair), accuracy_score),
        "f1": (im.of_counts(*pair, im.f1), f1_score),
    }[metric]
    frame = MetricFrame(metrics=theirs, y_true=truth, y_pred=said, sensitive_features=group)
    found = gap_of(ours, group, 3)
    assert found.value == pytest.approx(frame.difference(), abs=1e-9)
    assert found.contributions().mean() == pytest.approx(found.value, abs=1e-9)


def test_equal_gaps_are_told_apart_as_often_as_said():
    """Images that differ by arm, two groups that are apart: 4.6 % of 1,000 experiments."""
    rng = np.random.default_rng(1)
    group, found = np.arange(240) % 2, []
    for _ in range(300):
        image = rng.normal(0, 0.3, (2, 240))
        rows = []
        for _ in range(5):
            arm, twin = (
                gap_of(
                    im.mean_of((of + 0.1 * rng.standard_normal(240) < level).astype(float)),
                    group,
                    2,
                )
                for of, level in zip(image, [0.35 - 0.2 * group] * 2, strict=True)
            )
            rows.append(arm.contributions() - twin.contributions())
        found.append(crossed(np.stack(rows)).p < 0.05)
    assert 0.02 < np.mean(found) < 0.08
