"""The meter's means are those over all labels, and it remembers where a loss went bad first."""

import pytest
import torch
from lightning.pytorch.strategies import SingleDeviceStrategy

from mtlface.training.loss_meter import LossMeter

STRATEGY = SingleDeviceStrategy("cpu")


def test_means_are_over_labels_and_their_sum_is_the_loss():
    meter = LossMeter(["a", "b"])
    meter.update(torch.tensor([1.0, 4.0]), torch.tensor([30, 1]), step=0)
    meter.update(torch.tensor([4.0, 0.0]), torch.tensor([10, 0]), step=1)
    found = {name: float(value) for name, value in meter.compute("val", STRATEGY).items()}
    assert found == pytest.approx({"val/loss": 5.75, "val/loss/a": 1.75, "val/loss/b": 4.0})


def test_each_computation_starts_anew():
    meter = LossMeter(["a"])
    meter.update(torch.tensor([3.0]), torch.tensor([2]), step=0)
    meter.compute("train", STRATEGY)
    meter.update(torch.tensor([5.0]), torch.tensor([1]), step=1)
    assert meter.compute("train", STRATEGY)["train/loss"] == 5


def test_a_loss_that_nothing_was_labelled_for_is_zero():
    assert LossMeter(["a"]).compute("val", STRATEGY)["val/loss/a"] == 0


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_the_first_bad_loss_is_remembered(bad):
    meter = LossMeter(["a", "b"])
    meter.update(torch.tensor([1.0, 1.0]), torch.tensor([1, 1]), step=6)
    assert meter.bad() is None
    meter.update(torch.tensor([1.0, bad]), torch.tensor([1, 1]), step=7)
    meter.update(torch.tensor([bad, bad]), torch.tensor([1, 1]), step=8)
    assert meter.bad() == ("b", 7)
