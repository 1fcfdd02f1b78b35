"""Calibration, conformal regions and risk by coverage: against formulas and simulation."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch import nn
from torchmetrics.functional.classification import multiclass_calibration_error

from mtlface.data.schema import Category, Labels
from mtlface.inference.uncertainty import (
    best_temperature,
    calibration,
    disagreement,
    risk_coverage,
)
from mtlface.models import linear_head
from mtlface.tasks import CategoryTask
from mtlface.training.conformal import conformal_quantile


@pytest.fixture
def task():
    label = Category("race", tuple("abcd"))
    return CategoryTask(
        name="race", label="race", labels=Labels([label]), in_features=4, frame=(8, 8),
        head=linear_head, loss=nn.CrossEntropyLoss(reduction="none"),
    )  # fmt: skip


def calibrated(n=4000, sharpness=2.0):
    """Logits, and labels drawn from exactly their probabilities."""
    draw = torch.Generator().manual_seed(0)
    logits = sharpness * torch.randn(n, 4, generator=draw)
    return logits, torch.multinomial(logits.softmax(dim=1), 1, generator=draw)[:, 0]


def test_calibration_is_that_of_scikit_learn_and_torchmetrics():
    logits, labels = calibrated(500)
    labels[::7] = -1
    known = labels >= 0
    p, y = logits.softmax(dim=1)[known], labels[known]
    found = calibration(logits.softmax(dim=1), labels)
    assert found.nll == pytest.approx(log_loss(y, p, labels=range(4)), rel=1e-5)
    assert found.brier == pytest.approx(
        float((p - nn.functional.one_hot(y)).square().sum(1).mean())
    )
    theirs = multiclass_calibration_error(p, y, num_classes=4, n_bins=15, norm="l1")
    assert found.ece == pytest.approx(float(theirs), abs=1e-4)
    assert calibration(p, torch.full_like(y, -1)) is None


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_the_temperature_undoes_logits_that_are_too_large_or_too_small(task, factor):
    logits, labels = calibrated()
    found = best_temperature(task, factor * logits, {"race": labels})
    assert found == pytest.approx(factor, rel=0.06)
    assert best_temperature(task, logits, {"race": torch.full_like(labels, -1)}) is None


def test_the_conformal_quantile_is_the_papers_order_statistic():
    scores = torch.tensor([float("nan"), *torch.arange(1.0, 100)[torch.randperm(99)]])
    assert conformal_quantile(scores, 0.9) == (90.0, 99)
    assert conformal_quantile(torch.arange(8.0), 0.9) == (math.inf, 8)
    assert conformal_quantile(torch.arange(9.0), 0.9) == (8.0, 9)


def test_regions_cover_new_images_as_often_as_they_say():
    rng = np.random.default_rng(0)
    held = []
    for _ in range(200):
        scores = torch.from_numpy(rng.gamma(2, 3, 200 + 500))
        quantile, _ = conformal_quantile(scores[:200], 0.9)
        held.append(float((scores[200:] <= quantile).double().mean()))
    assert np.mean(held) == pytest.approx(0.9, abs=0.02)


def test_risk_rises_with_doubt_and_no_order_beats_the_ideal():
    error = torch.tensor([0.0, 1.0, 0.0, 1.0, float("nan")])
    curve, area, best = risk_coverage(torch.tensor([0.1, 0.9, 0.2, 0.8, 0.0]), error)
    assert curve == pytest.approx([0, 0, 1 / 3, 1 / 2])
    assert area == best == pytest.approx((1 / 3 + 1 / 2) / 4)
    _, worse, same = risk_coverage(torch.tensor([0.9, 0.1, 0.8, 0.2, 0.0]), error)
    assert worse > same == best
    assert risk_coverage(error, torch.full((5,), float("nan"))) is None


def test_members_that_agree_do_not_disagree(task):
    logits, _ = calibrated(50)
    assert disagreement(task, [logits, logits]) == pytest.approx(0, abs=1e-9)
    sure = torch.tensor([[50.0, 0, 0, 0]]), torch.tensor([[0, 50.0, 0, 0]])
    assert disagreement(task, list(sure)) == pytest.approx(math.log(2), rel=1e-6)
