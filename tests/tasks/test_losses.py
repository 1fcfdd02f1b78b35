"""Wing follows its paper; a missing label costs nothing and moves nothing."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mtlface.tasks.losses import WingLoss, masked_mean

torch.set_num_threads(1)

NAN = math.nan


def wing(x: float, **settings: float) -> float:
    return WingLoss(**settings)(torch.tensor([x], dtype=torch.float64), torch.zeros(1)).item()


@pytest.mark.parametrize(
    ("error", "value"),
    # 10 ln(1 + x/2) below 10; x - C from there on, C = 10 - 10 ln 6 = -7.917594692...
    [
        (0.0, 0.0),
        (2.0, 6.931471805599453),
        (-2.0, 6.931471805599453),
        (6.0, 13.862943611198906),
        (10.0, 17.917594692280550),
        (30.0, 37.917594692280550),
    ],
)
def test_wing_has_the_papers_values(error, value):
    assert wing(error) == pytest.approx(value, abs=1e-9)


def test_wings_offset_is_the_published_one():
    assert WingLoss().offset == pytest.approx(-7.918, abs=5e-4)


@given(st.floats(0.5, 50), st.floats(0.1, 10))
def test_wing_is_continuous_where_its_two_parts_meet(width, curvature):
    inside = wing(width * (1 - 1e-9), width=width, curvature=curvature)
    outside = wing(width, width=width, curvature=curvature)
    assert inside == pytest.approx(outside, rel=1e-6)


def test_wing_pulls_hard_on_small_errors_and_evenly_on_large_ones():
    error = torch.tensor([0.0, 1e-3, 10.0, 1e4], requires_grad=True)
    WingLoss(reduction="sum")(error, torch.zeros(4)).backward()
    # w / (ε + |x|) near zero, 1 beyond w, and nothing at a hit.
    torch.testing.assert_close(error.grad, torch.tensor([0.0, 10 / 2.001, 1.0, 1.0]))


def test_wing_reduces_like_torchs_losses():
    prediction, target = torch.randn(4, 5, 2) * 20, torch.randn(4, 5, 2)
    each = WingLoss()(prediction, target)
    assert each.shape == (4, 5, 2)
    torch.testing.assert_close(WingLoss(reduction="mean")(prediction, target), each.mean())
    torch.testing.assert_close(WingLoss(reduction="sum")(prediction, target), each.sum())


def labelled(target):
    return ~target.isnan() if target.is_floating_point() else target >= 0


def masked_loss(criterion, prediction, target):
    mask = labelled(target)
    known = torch.where(mask, target, torch.zeros_like(target))
    return masked_mean(criterion(prediction, known), mask)


CASES = {
    "bce": (nn.BCEWithLogitsLoss(reduction="none"), (6,), torch.tensor([0, 1, NAN, 1, NAN, 0])),
    "ce": (nn.CrossEntropyLoss(reduction="none"), (6, 4), torch.tensor([0, 3, -1, 1, -1, 2])),
    "mse": (nn.MSELoss(reduction="none"), (6,), torch.tensor([1.0, 2, NAN, 3, NAN, 4])),
    "l1": (nn.L1Loss(reduction="none"), (6,), torch.tensor([1.0, 2, NAN, 3, NAN, 4])),
    "smooth_l1": (nn.SmoothL1Loss(reduction="none"), (6,), torch.tensor([1.0, 2, NAN, 3, NAN, 4])),
    "wing": (WingLoss(), (6,), torch.tensor([1.0, 2, NAN, 3, NAN, 4])),
}


@pytest.mark.parametrize("case", CASES)
def test_a_missing_label_is_as_if_the_row_were_not_there(case):
    criterion, shape, target = CASES[case]
    prediction = torch.randn(shape, requires_grad=True)
    loss = masked_loss(criterion, prediction, target)
    (gradient,) = torch.autograd.grad(loss, prediction)

    rows = labelled(target)
    kept = prediction.detach()[rows].requires_grad_()
    expected = criterion(kept, target[rows]).mean()
    (expected_gradient,) = torch.autograd.grad(expected, kept)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient[rows], expected_gradient)
    assert (gradient[~rows] == 0).all()


@pytest.mark.parametrize("case", CASES)
def test_no_label_at_all_is_a_loss_of_zero_with_a_gradient_of_zero(case):
    criterion, shape, target = CASES[case]
    prediction = torch.randn(shape, requires_grad=True)
    nothing = torch.full_like(target, NAN if target.is_floating_point() else -1)
    loss = masked_loss(criterion, prediction, nothing)
    loss.backward()
    assert loss.item() == 0
    assert (prediction.grad == 0).all()


def test_single_coordinates_may_be_missing():
    target = torch.tensor([[[1.0, NAN], [3.0, 4.0]]])
    loss = masked_loss(nn.MSELoss(reduction="none"), torch.zeros(1, 2, 2), target)
    assert loss.item() == pytest.approx((1 + 9 + 16) / 3)


def test_a_value_behind_the_mask_cannot_leak():
    values = torch.tensor([1.0, math.inf, NAN], requires_grad=True)
    mean = masked_mean(values, torch.tensor([True, False, False]))
    mean.backward()
    assert mean.item() == 1
    assert values.grad.tolist() == [1, 0, 0]


def test_a_mean_by_column_counts_each_columns_own_labels():
    values = torch.tensor([[1.0, 5.0, NAN], [3.0, NAN, NAN]])
    assert masked_mean(values, ~values.isnan(), dim=0).tolist() == [2, 5, 0]
