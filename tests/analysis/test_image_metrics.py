"""Each metric against scikit-learn, each contribution against leaving that image out."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from sklearn import metrics as sk

from mtlface.analysis import image_metrics as im

N = 40
RNG = np.random.default_rng(3)
TRUTH = RNG.integers(0, 2, (N, 1)).astype(float)
SCORE = (RNG.random((N, 1)) + 0.4 * TRUTH).round(1)  # with ties
GUESS = (SCORE > 0.7).astype(float)
CODES, WRONG = RNG.integers(0, 4, N).astype(float), RNG.integers(0, 4, N).astype(float)
VALUES = RNG.gamma(2, 1, N)

# name → (how it is built from the rows given, what scikit-learn says of them)
CASES = {
    "mean": (lambda r: im.mean_of(VALUES[r]), lambda r: VALUES[r].mean()),
    "rmse": (
        lambda r: im.OfSums(np.stack([VALUES[r] ** 2, np.ones(len(r))], 1), im.root_of_ratio),
        lambda r: sk.root_mean_squared_error(VALUES[r], np.zeros(len(r))),
    ),
    "accuracy": (
        lambda r: im.share_right(GUESS[r], TRUTH[r]),
        lambda r: sk.accuracy_score(TRUTH[r, 0], GUESS[r, 0]),
    ),
    "precision": (
        lambda r: im.of_counts(GUESS[r], TRUTH[r], im.precision),
        lambda r: sk.precision_score(TRUTH[r, 0], GUESS[r, 0]),
    ),
    "recall": (
        lambda r: im.of_counts(GUESS[r], TRUTH[r], im.recall),
        lambda r: sk.recall_score(TRUTH[r, 0], GUESS[r, 0]),
    ),
    "f1": (
        lambda r: im.of_counts(GUESS[r], TRUTH[r], im.f1),
        lambda r: sk.f1_score(TRUTH[r, 0], GUESS[r, 0]),
    ),
    "f1_macro": (
        lambda r: im.macro_f1(WRONG[r], CODES[r]),
        lambda r: sk.f1_score(CODES[r], WRONG[r], average="macro"),
    ),
    "auroc": (
        lambda r: im.RankArea(SCORE[r], TRUTH[r]),
        lambda r: sk.roc_auc_score(TRUTH[r, 0], SCORE[r, 0]),
    ),
}
ALL = np.arange(N)


@pytest.mark.parametrize("name", CASES)
def test_the_metric_is_scikit_learns(name):
    build, expected = CASES[name]
    assert build(ALL).value == pytest.approx(expected(ALL), rel=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_contributions_are_the_jackknife_of_the_metric_itself(name):
    build, metric = CASES[name]
    without = np.array([metric(np.delete(ALL, i)) for i in ALL])
    expected = metric(ALL) + (N - 1) * (without.mean() - without)
    assert build(ALL).contributions() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_a_resample_is_the_metric_of_the_images_drawn(name):
    build, metric = CASES[name]
    rng = np.random.default_rng(0)
    drawn = [rng.integers(0, N, N) for _ in range(20)]
    weights = np.stack([np.bincount(rows, minlength=N) for rows in drawn]).astype(float)
    assert build(ALL).resampled(weights) == pytest.approx([metric(r) for r in drawn], rel=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_another_order_of_images_changes_only_the_order(name):
    build, _ = CASES[name]
    rows = np.random.default_rng(1).permutation(N)
    assert build(ALL).take(rows).contributions() == pytest.approx(
        build(ALL).contributions()[rows], rel=1e-9
    )


@settings(max_examples=50)
@given(some.lists(some.booleans(), min_size=4, max_size=30), some.integers(0, 99))
def test_area_contributions_average_to_the_area(truth, seed):
    truth = np.array(truth, dtype=float)
    found = im.RankArea(np.random.default_rng(seed).random((len(truth), 1)), truth[:, None])
    contributions = found.contributions()
    if min(truth.sum(), (1 - truth).sum()) >= 2:
        assert contributions.mean() == pytest.approx(found.value)
    else:
        assert contributions is None  # without one image there is no area


def test_columns_without_labels_or_with_one_class_are_left_out():
    truth = np.array([[1, np.nan, 1], [0, np.nan, 1], [1, np.nan, 1], [0, np.nan, 1]], dtype=float)
    score = np.tile(np.array([[0.9], [0.8], [0.7], [0.1]]), 3)
    assert im.RankArea(score, truth).value == pytest.approx(0.75)
    assert im.share_right((score > 0.5).astype(float), truth).value == pytest.approx(0.75)
    assert np.isnan(im.of_counts(0 * score, 0 * truth, im.precision).value)


def test_an_area_of_200_000_images_takes_seconds_and_no_square():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (200_000, 1)).astype(float)
    start = time.process_time()
    im.RankArea(rng.random((200_000, 1)), truth).contributions()
    assert time.process_time() - start < 2
