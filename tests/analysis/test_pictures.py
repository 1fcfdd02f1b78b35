import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import calibration_curve

from mtlface.analysis.curves import calibration
from mtlface.analysis.pictures import error_curve, paired_errors, picture_errors, probabilities
from mtlface.analysis.results import Run


def run_with(folder, table):
    folder.mkdir()
    pd.DataFrame(table).to_csv(folder / "test_predictions.csv", index=False)
    return Run(folder, {})


def test_pictures_are_paired_by_name_and_unlabelled_ones_left_out(tmp_path):
    ours = run_with(tmp_path / "a", {"image": list("abcd"), "age/error": [1, 2, None, 4]})
    theirs = run_with(tmp_path / "b", {"image": list("dcbe"), "age/error": [40, 30, 20, 50]})
    ours_errors, theirs_errors = paired_errors(ours, theirs, "age")
    assert sorted(zip(ours_errors, theirs_errors, strict=True)) == [(2, 20), (4, 40)]
    assert paired_errors(ours, theirs, "gender") is None


def test_names_that_look_like_numbers_pair_too(tmp_path):
    ours = run_with(tmp_path / "a", {"image": ["1", "2"], "age/error": [1, 2]})
    theirs = run_with(tmp_path / "b", {"image": ["2", "x"], "age/error": [20, 50]})
    assert [list(e) for e in paired_errors(ours, theirs, "age")] == [[2], [20]]


def test_missing_predictions_are_none(tmp_path):
    assert paired_errors(Run(tmp_path, {}), Run(tmp_path, {}), "age") is None
    assert picture_errors(pd.DataFrame({"image": ["a"]}), "age").empty


def test_cumulative_error_curve_counts_pictures():
    assert list(error_curve(np.array([0.3, 0.1, 0.2]), np.array([0, 0.1, 0.25, 1]))) == [
        0,
        1 / 3,
        2 / 3,
        1,
    ]


@pytest.mark.parametrize("sure", [True, False])
def test_positive_class_is_what_a_probability_above_half_predicts(sure):
    table = pd.DataFrame(
        {
            "gender": ["male" if sure else "female", "female", "female"],
            "gender_probability": [0.9 if sure else 0.4, 0.2, 0.3],
            "gender_true": ["male", "male", "female"],
        }
    )
    _, truth = probabilities(table, ["gender"])["gender"]
    assert list(truth) == [1, 1, 0]


def test_attributes_are_pooled_and_unlabelled_rows_left_out():
    table = pd.DataFrame(
        {
            "Smiling_probability": [0.9, 0.1],
            "Smiling": [1, 0],
            "Smiling_true": [1, None],
            "Male_probability": [0.2, 0.8],
            "Male": [0, 1],
            "Male_true": [1, 1],
        }
    )
    probability, truth = probabilities(table, ["attributes"])["attributes"]
    assert list(probability) == [0.9, 0.2, 0.8]
    assert list(truth) == [1, 1, 1]


def test_calibration_curve_is_sklearns():
    rng = np.random.default_rng(0)
    probability = rng.random(2000)
    truth = (rng.random(2000) < probability**2).astype(float)
    x, y, share, ece = calibration(probability, truth)
    frequency, mean = calibration_curve(truth, probability, n_bins=15)
    assert x == pytest.approx(mean)
    assert y == pytest.approx(frequency)
    assert share.sum() == pytest.approx(1)
    assert ece == pytest.approx(np.sum(share * np.abs(mean - frequency)))
