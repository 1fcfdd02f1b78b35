"""Metrics agree with their definitions worked out by hand, in numpy and by scikit-learn."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from torchmetrics import MetricCollection
from torchmetrics.classification import BinaryAUROC, BinaryF1Score, MultilabelF1Score
from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError
from torchmetrics.utilities import dim_zero_sum

from mtlface.tasks.metrics import (
    CumulativeErrorAUC,
    CumulativeScore,
    FailureRate,
    NormalizedMeanError,
    picture_nme,
)

torch.set_num_threads(1)

NAN = math.nan
EYES = (0, 1)


def faces(n: int = 200, noise: float = 3.0, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions and truths (n, 5, 2) in pixels around CelebA's mean face."""
    generator = torch.Generator().manual_seed(seed)
    mean = torch.tensor([[69.0, 111], [107, 111], [88, 136], [72, 152], [104, 152]])
    target = mean + torch.randn(n, 5, 2, generator=generator)
    return target + noise * torch.randn(n, 5, 2, generator=generator), target


def nme_by_hand(prediction, target, eyes=EYES) -> np.ndarray:
    p, q = prediction.numpy().astype(np.float64), target.numpy().astype(np.float64)
    out = []
    for a, b in zip(p, q, strict=True):
        error = np.mean([math.dist(x, y) for x, y in zip(a, b, strict=True)])
        out.append(error / math.dist(b[eyes[0]], b[eyes[1]]))
    return np.array(out)


def test_nme_of_one_face_worked_out_on_paper():
    # Eyes 40 px apart; errors of 5 (a 3-4-5 triangle), 0 and 10 px: mean 5, over 40.
    target = torch.tensor([[[60.0, 100], [100, 100], [80, 130]]])
    prediction = torch.tensor([[[63.0, 104], [100, 100], [80, 140]]])
    assert picture_nme(prediction, target, EYES).item() == pytest.approx(0.125)
    assert picture_nme(prediction, target, 224).item() == pytest.approx(5 / 224)


def test_nme_agrees_with_a_loop_over_faces():
    prediction, target = faces()
    expected = nme_by_hand(prediction, target)
    metric = NormalizedMeanError(EYES)
    for rows in torch.arange(200).split(37):
        metric.update(prediction[rows], target[rows])
    assert metric.compute().item() == pytest.approx(expected.mean(), abs=1e-6)
    torch.testing.assert_close(
        picture_nme(prediction, target, EYES).double(), torch.tensor(expected), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("noise", [1.0, 3.0, 10.0])
def test_auc_and_failure_rate_agree_with_the_curve_drawn_out(noise):
    prediction, target = faces(noise=noise)
    nme = nme_by_hand(prediction, target)
    # The area under a staircase, step by step: np.interp-free and exact.
    steps = np.sort(nme[nme <= 0.08])
    edges = np.append(steps, 0.08)
    heights = np.arange(1, len(steps) + 1) / len(nme)
    area = (np.diff(edges) * heights).sum() / 0.08

    auc, failures = CumulativeErrorAUC(EYES), FailureRate(EYES)
    auc.update(prediction, target)
    failures.update(prediction, target)
    assert auc.compute().item() == pytest.approx(area, abs=1e-6)
    assert failures.compute().item() == pytest.approx((nme > 0.08).mean(), abs=1e-6)


def test_a_perfect_prediction_scores_perfectly():
    _, target = faces()
    collection = MetricCollection(
        {"nme": NormalizedMeanError(EYES), "auc": CumulativeErrorAUC(EYES), "fr": FailureRate(EYES)}
    )
    collection.update(target, target)
    assert {k: v.item() for k, v in collection.compute().items()} == {"nme": 0, "auc": 1, "fr": 0}


@given(st.floats(0.25, 8), st.floats(-50, 50))
@settings(max_examples=20, deadline=None)
def test_inter_ocular_nme_knows_neither_scale_nor_place(scale, shift):
    prediction, target = faces(n=8)
    moved = picture_nme(prediction * scale + shift, target * scale + shift, EYES)
    torch.testing.assert_close(moved, picture_nme(prediction, target, EYES), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "metric",
    [NormalizedMeanError, CumulativeErrorAUC, FailureRate],
)
def test_pictures_that_cannot_be_measured_are_counted_nowhere(metric):
    prediction, target = faces(n=6)
    whole = metric(EYES)
    whole.update(prediction[:3], target[:3])
    target[3] = NAN  # no label at all
    target[4, 0] = NAN  # no normaliser
    target[5, 0] = target[5, 1]  # both eyes in one place
    partial = metric(EYES)
    partial.update(prediction, target)
    assert partial.compute() == whole.compute()
    assert partial.count == 3


def test_a_face_with_some_points_is_measured_on_these():
    prediction, target = faces(n=1)
    target[0, 4] = NAN
    expected = nme_by_hand(prediction[:, :4], target[:, :4]).item()
    assert picture_nme(prediction, target, EYES).item() == pytest.approx(expected, abs=1e-6)


def test_nothing_measured_is_nan():
    for metric in (NormalizedMeanError(EYES), CumulativeErrorAUC(EYES), FailureRate(EYES)):
        metric.update(torch.zeros(2, 5, 2), torch.full((2, 5, 2), NAN))
        assert metric.compute().isnan()
    ages = CumulativeScore()
    ages.update(torch.zeros(2), torch.full((2,), NAN))
    assert ages.compute().isnan()


def test_a_size_for_each_picture_takes_the_normalisers_place():
    prediction, target = faces(n=2)
    metric = NormalizedMeanError(224.0)
    metric.update(prediction, target, size=torch.tensor([100.0, 50.0]))
    pixels = picture_nme(prediction, target, 1.0)
    assert metric.compute().item() == pytest.approx((pixels[0] / 100 + pixels[1] / 50).item() / 2)


def test_a_normaliser_from_a_config_is_a_list():
    prediction, target = faces(n=4)
    metric = NormalizedMeanError([0, 1])
    metric.update(prediction, target)
    assert metric.compute().item() == picture_nme(prediction, target, EYES).mean().item()


@pytest.mark.parametrize("metric", [NormalizedMeanError, CumulativeErrorAUC, FailureRate])
def test_states_of_two_processes_merge_into_the_whole(metric):
    prediction, target = faces(n=30)
    whole, first, second = metric(EYES), metric(EYES), metric(EYES)
    whole.update(prediction, target)
    first.update(prediction[:11], target[:11])
    second.update(prediction[11:], target[11:])
    for state, reduction in first._reductions.items():
        assert reduction is dim_zero_sum
        setattr(first, state, getattr(first, state) + getattr(second, state))
    assert first.compute().item() == pytest.approx(whole.compute().item(), abs=1e-6)


@pytest.mark.parametrize("first_batch", ["labelled", "unlabelled", "perfect"])
def test_a_collection_computes_what_its_metrics_do_alone(first_batch):
    # torchmetrics merges metrics whose states agree after the first batch, by chance or not.
    prediction, target = faces()
    if first_batch == "unlabelled":
        target[:64] = NAN
    if first_batch == "perfect":
        target[:64] = prediction[:64]
    metrics = {
        "nme": NormalizedMeanError(EYES),
        "nme_image": NormalizedMeanError(224),
        "auc": CumulativeErrorAUC(EYES),
        "auc_image": CumulativeErrorAUC(224),
        "fr": FailureRate(EYES),
        "fr_at_10": FailureRate(EYES, threshold=0.1),
        "fr_image": FailureRate(224),
    }
    collection = MetricCollection({name: metric.clone() for name, metric in metrics.items()})
    for rows in torch.arange(200).split(64):
        collection.update(prediction[rows], target[rows])
        for metric in metrics.values():
            metric.update(prediction[rows], target[rows])
    assert collection.compute() == {name: metric.compute() for name, metric in metrics.items()}
    assert len(set(collection.compute().values())) > 3


def test_cumulative_score_counts_five_years_as_a_hit():
    metric = CumulativeScore()
    metric.update(
        torch.tensor([30.0, 35.0, 35.1, 90.0, 1.0]), torch.tensor([30.0, 30.0, 30.0, NAN, 40.0])
    )
    assert metric.compute().item() == 0.5


def test_every_metric_says_which_way_is_better():
    assert not NormalizedMeanError.higher_is_better
    assert CumulativeErrorAUC.higher_is_better
    assert not FailureRate.higher_is_better
    assert CumulativeScore.higher_is_better


def test_torchmetrics_own_agree_with_scikit_learn():
    prediction, target = faces()
    flat_p, flat_q = prediction.flatten(), target.flatten()
    mse, mae = MeanSquaredError(), MeanAbsoluteError()
    rmse = MeanSquaredError(squared=False)
    for metric in (mse, mae, rmse):
        metric.update(flat_p, flat_q)
    expected = sk.mean_squared_error(flat_q.double(), flat_p.double())
    assert mse.compute().item() == pytest.approx(expected, rel=1e-6)
    assert rmse.compute().item() == pytest.approx(math.sqrt(expected), rel=1e-6)
    expected = sk.mean_absolute_error(flat_q.double(), flat_p.double())
    assert mae.compute().item() == pytest.approx(expected, rel=1e-6)

    generator = torch.Generator().manual_seed(0)
    probability = torch.rand(300, 3, generator=generator)
    label = (probability + 0.5 * torch.rand(300, 3, generator=generator) > 0.7).int()
    assert BinaryAUROC()(probability[:, 0], label[:, 0]).item() == pytest.approx(
        sk.roc_auc_score(label[:, 0], probability[:, 0]), abs=1e-6
    )
    assert BinaryF1Score()(probability[:, 0], label[:, 0]).item() == pytest.approx(
        sk.f1_score(label[:, 0], probability[:, 0] > 0.5), abs=1e-6
    )
    assert MultilabelF1Score(3, average="macro")(probability, label).item() == pytest.approx(
        sk.f1_score(label, probability > 0.5, average="macro"), abs=1e-6
    )
