"""A number as a distribution: each loss is its paper's formula, and no rank is out of order."""

import math

import numpy as np
import pytest
import torch
from coral_pytorch.losses import corn_loss
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from torch import nn

from mtlface.data.schema import Number
from mtlface.errors import MtlfaceError
from mtlface.models import coral_head, linear_head
from mtlface.tasks import (
    Coral,
    Corn,
    CrossEntropy,
    DistributionTask,
    LabelDistribution,
    MeanVariance,
)

AGE = Number("age", 0, 9, "years")
NAN = float("nan")
LOSSES = {
    "ce": CrossEntropy,
    "mean_variance": MeanVariance,
    "dldl": LabelDistribution,
    "coral": Coral,
    "corn": Corn,
}


@pytest.fixture(params=LOSSES)
def task(request, built):
    return built(DistributionTask, AGE, LOSSES[request.param]())


def some(task, n=40, missing=0.0):
    draw = torch.Generator().manual_seed(2)
    target = torch.randint(0, 10, (n,), generator=draw).float()
    output = 2 * torch.randn(n, task.outputs, generator=draw)
    target[torch.rand(n, generator=draw) < missing] = NAN
    return output, {"age": target}


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def by_hand(name, z, y):
    """The loss of one image by its paper's formula: outputs z, true value y."""
    z = z.double().numpy()
    if name == "coral":
        return -sum(math.log(sigmoid(zk) if y > k else 1 - sigmoid(zk)) for k, zk in enumerate(z))
    if name == "corn":  # over the questions that are put to it
        return [
            -math.log(sigmoid(zk) if y > k else 1 - sigmoid(zk))
            for k, zk in enumerate(z)
            if y > k - 1
        ]
    p = np.exp(z) / np.exp(z).sum()
    ages = np.arange(len(z))
    if name == "dldl":
        q = np.exp(-((ages - y) ** 2) / (2 * 2.0**2))
        q /= q.sum()
        return float((q * np.log(q / p)).sum())
    entropy = -math.log(p[y])
    if name == "ce":
        return entropy
    mean = (ages * p).sum()
    return entropy + 0.2 * (mean - y) ** 2 / 2 + 0.05 * ((ages - mean) ** 2 * p).sum()


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_is_the_papers_formula(built, name):
    task = built(DistributionTask, AGE, LOSSES[name](), weight=2.0)
    output, batch = some(task)
    each = [by_hand(name, z, int(y)) for z, y in zip(output, batch["age"], strict=True)]
    expected = np.mean(np.hstack(each))
    for whole in (False, True):
        found = task.losses(output, batch, whole=whole)[0]
        assert found.item() == pytest.approx(2 * expected, rel=1e-5)


def test_corn_with_every_age_known_is_the_librarys(built):
    task = built(DistributionTask, AGE, Corn())
    output, batch = some(task)
    library = corn_loss(output, batch["age"].long(), num_classes=10)
    assert task.losses(output, batch)[0].item() == pytest.approx(library.item(), rel=1e-6)


def test_missing_rows_cost_nothing(task, assert_missing_rows_cost_nothing):
    output, batch = some(task, missing=0.3)
    assert_missing_rows_cost_nothing(task, output, batch, batch["age"].isfinite())


def test_nothing_labelled_is_free(task, assert_nothing_labelled_is_free):
    output, batch = some(task, n=6)
    assert_nothing_labelled_is_free(task, output, {"age": torch.full_like(batch["age"], NAN)})


@given(st.lists(st.floats(-30, 30, width=32), min_size=10, max_size=10))
def test_probabilities_sum_to_one_and_no_rank_rises(outputs):
    for kind in LOSSES.values():
        distribution = kind()
        output = torch.tensor([outputs])[:, : distribution.outputs(10)]
        if kind is Coral:  # its head gives outputs in the order of the biases
            output = output.sort(descending=True).values
        probabilities = distribution.probabilities(output)
        assert probabilities.shape == (1, 10)
        assert (probabilities >= 0).all() and probabilities.sum().item() == pytest.approx(1, 1e-5)
        exceedance = distribution.exceedance(output)
        assert exceedance.shape == (1, 9) and (exceedance.diff() <= 1e-6).all()
        assert 0 <= distribution.position(output).item() <= 9 + 1e-5


def test_ranks_that_rise_are_counted_and_are_no_negative_probability(built, measured):
    task = built(DistributionTask, AGE, Coral())
    falling = torch.linspace(4, -4, 9)
    output = torch.stack([falling, falling.flip(0)])
    batch = {"age": torch.tensor([5.0, 5.0])}
    assert measured(task, output, batch, parts=1)["rank_consistency"] == 0.5
    assert (task.distribution.probabilities(output) >= 0).all()


def test_a_coral_head_gives_ordered_outputs_from_the_start():
    output = coral_head(4, 9)(torch.randn(7, 4))
    assert output.shape == (7, 9) and (output.diff(dim=1) < 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_the_constant_has_the_least_loss(built, name):
    task = built(DistributionTask, AGE, LOSSES[name]())
    _, batch = some(task, n=60)
    constant = task.constant(batch)

    def loss(output):
        many = torch.as_tensor(output, dtype=torch.float32).expand(60, -1)
        return task.losses(many, batch)[0].item()

    tried = [constant + 0.3 * torch.randn_like(constant) for _ in range(30)]
    best = optimize.minimize(loss, constant.numpy(), method="Powell", options={"maxiter": 3})
    assert loss(constant) <= min(loss(output) for output in tried)
    assert loss(constant) == pytest.approx(best.fun, rel=0.01)


def test_the_number_said_is_the_papers(built):
    ce = built(DistributionTask, AGE, CrossEntropy())
    p = np.array([0.5, 0, 0, 0, 0.5, 0, 0, 0, 0, 0]).clip(1e-30)
    assert ce.value(torch.tensor(p).log()[None].float()).item() == pytest.approx(2.0)
    assert ce.std(torch.tensor(p).log()[None].float()).item() == pytest.approx(2.0)
    z = torch.tensor([[3.0, 2, 1, -0.1, -1, -2, -3, -4, -5]])
    assert built(DistributionTask, AGE, Coral()).value(z).item() == 3
    # The products .95, .84, .61, .29, … have three above a half.
    assert built(DistributionTask, AGE, Corn()).value(z).item() == 3


def test_what_is_shown_has_the_spread_and_what_is_exported_the_probabilities(task):
    output, _ = some(task, n=3)
    columns = task.columns(output, torch.ones(3, 2))
    assert list(columns) == list(task.prediction_columns) == ["age", "age_std"]
    row = {name: values[0] for name, values in columns.items()}
    shown = task.prediction(row)
    assert shown.words == f"age {row['age']:.0f} ± {row['age_std']:.0f} years"
    assert shown.std == pytest.approx(float(row["age_std"]))
    exported = task.exported(output)
    assert exported.keys() == task.described().keys() == {"age", "age_probabilities"}
    assert exported["age_probabilities"].shape == (3, 10)
    spread = exported["age_probabilities"].double().numpy()
    ages = np.arange(10)
    mean = (spread * ages).sum(axis=1)
    std = np.sqrt((spread * (ages - mean[:, None]) ** 2).sum(axis=1))
    assert columns["age_std"] == pytest.approx(std, abs=1e-3)


def test_the_likelihood_is_that_of_the_true_age(built, measured):
    task = built(DistributionTask, AGE, CrossEntropy())
    output, batch = some(task)
    expected = nn.CrossEntropyLoss()(output, batch["age"].long())
    assert measured(task, output, batch)["nll"] == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.0, 10.5), (0.0, 5000.0)])
def test_a_range_without_whole_values_is_an_error(built, low, high):
    with pytest.raises(MtlfaceError, match="3 to 1000 whole values"):
        built(DistributionTask, Number("x", low, high), CrossEntropy())


def test_another_loss_is_an_error(built):
    with pytest.raises(MtlfaceError, match="learns a distribution, and its loss should be one of"):
        built(DistributionTask, AGE, nn.MSELoss(reduction="none"))


@pytest.mark.parametrize("name", LOSSES)
def test_a_head_can_start_at_the_constant(built, name):
    head = coral_head if name == "coral" else linear_head
    task = built(DistributionTask, AGE, LOSSES[name](), start_at_mean=True, head=head)
    _, batch = some(task, n=200, missing=0.1)
    task.initialise(batch)
    said = task(torch.zeros(1, 4))[0]
    assert said.tolist() == pytest.approx(task.constant(batch).tolist(), abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_learns_ages_that_the_features_tell(built, name):
    head = coral_head if name == "coral" else linear_head
    task = built(DistributionTask, AGE, LOSSES[name](), start_at_mean=True, head=head)
    draw = torch.Generator().manual_seed(0)
    ages = torch.randint(0, 10, (64,), generator=draw).float()
    turn = ages * (math.pi / 10)
    features = torch.stack([ages / 9, turn.cos(), turn.sin(), (2 * turn).cos()], dim=1)
    batch = {"age": ages}
    task.initialise(batch)
    before = task.error(task(features), batch).mean()
    optimizer = torch.optim.Adam(task.parameters(), lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        task.losses(task(features), batch)[0].sum().backward()
        optimizer.step()
    assert before > 2 and task.error(task(features), batch).mean() < 0.6
