"""A number in its own unit: scikit-learn agrees, and missing ones cost nothing."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn
from torch import nn

from mtlface.data.schema import Number
from mtlface.tasks import NumberTask

AGE = Number("age", 0, 116, "years")
NAN = float("nan")


@pytest.fixture
def task(built):
    return built(NumberTask, AGE, nn.MSELoss(reduction="none"))


def some(n=83, missing=0.0):
    draw = torch.Generator().manual_seed(2)
    target = torch.rand(n, generator=draw) * 90
    output = target[:, None] + 6 * torch.randn(n, 1, generator=draw)
    target[torch.rand(n, generator=draw) < missing] = NAN
    return output, {"age": target}


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_metrics_are_those_of_scikit_learn_after_clipping_to_the_range(task, measured, missing):
    output, batch = some(missing=missing)
    known = batch["age"].isfinite()
    truth = batch["age"][known].double().numpy()
    said = output[known, 0].double().numpy().clip(0, 116)
    assert (said == 0).any()
    assert measured(task, output, batch) == pytest.approx(
        {
            "mae": sklearn.mean_absolute_error(truth, said),
            "rmse": sklearn.mean_squared_error(truth, said) ** 0.5,
            "cs5": np.mean(np.abs(truth - said) <= 5),
        },
        rel=1e-6,
    )


def test_the_loss_is_torchs_and_sees_what_lies_outside_the_range(task):
    output, batch = torch.tensor([[-10.0], [130.0]]), {"age": torch.tensor([0.0, 116.0])}
    assert task.losses(output, batch)[0].item() == pytest.approx((100 + 14**2) / 2)


def test_missing_rows_cost_nothing(task, assert_missing_rows_cost_nothing):
    output, batch = some(missing=0.3)
    assert_missing_rows_cost_nothing(task, output, batch, batch["age"].isfinite())


def test_nothing_labelled_is_free(task, assert_nothing_labelled_is_free):
    output, batch = some(n=6)
    assert_nothing_labelled_is_free(task, output, {"age": torch.full_like(batch["age"], NAN)})


def test_the_constant_predictor_says_the_mean(task):
    assert task.constant({"age": torch.tensor([10.0, 40.0, NAN])}).tolist() == [25]
    assert task.constant({"age": torch.tensor([NAN])}).tolist() == [58]


def test_columns_truth_and_error_are_in_years(task):
    output, batch = torch.tensor([[30.0], [-3.0]]), {"age": torch.tensor([33.5, NAN])}
    assert task.columns(output, torch.ones(2, 2))["age"].tolist() == [30, 0]
    assert task.truth(batch)["age_true"][0] == 33.5 and np.isnan(task.truth(batch)["age_true"][1])
    assert task.error(output, batch)[0] == 3.5 and task.error(output, batch)[1].isnan()
