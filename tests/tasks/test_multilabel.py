"""Many attributes at once: macro means of scikit-learn's, an attribute without labels left out."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn
from torch import nn

from mtlface.data.schema import Multilabel
from mtlface.errors import MtlfaceError
from mtlface.tasks import MultilabelTask

NAMES = ("Bald", "Smiling", "Young")
LABEL = Multilabel("attributes", NAMES)
LOSS = nn.BCEWithLogitsLoss(reduction="none")


@pytest.fixture
def task(built):
    return built(MultilabelTask, LABEL, LOSS)


def some(n=97, missing=0.0):
    draw = torch.Generator().manual_seed(1)
    output = torch.randn(n, 3, generator=draw)
    target = (output + torch.randn(n, 3, generator=draw) > torch.tensor([1.0, 0, -0.5])).long()
    target[torch.rand(n, 3, generator=draw) < missing] = -1
    return output, {"attributes": target}


def column(function, output, target, k, of=lambda scores: scores > 0):
    known = target[:, k] >= 0
    return function(target[known, k].numpy(), of(output[known, k]).numpy())


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_metrics_are_means_over_attributes_of_scikit_learns(task, measured, missing):
    output, batch = some(missing=missing)
    functions = {
        "accuracy": sklearn.accuracy_score,
        "precision": sklearn.precision_score,
        "recall": sklearn.recall_score,
        "f1": sklearn.f1_score,
    }
    each = {
        name: [column(function, output, batch["attributes"], k) for k in range(3)]
        for name, function in functions.items()
    }
    each["auroc"] = [
        column(sklearn.roc_auc_score, output, batch["attributes"], k, of=torch.sigmoid)
        for k in range(3)
    ]
    expected = {name: np.mean(values) for name, values in each.items()}
    for name in ("accuracy", "f1"):
        expected |= {f"{name}/{a}": v for a, v in zip(NAMES, each[name], strict=True)}
    assert measured(task, output, batch) == pytest.approx(expected, abs=1e-6)


def test_an_attribute_that_nobody_labelled_is_no_zero_in_the_mean(built, task, measured):
    output, batch = some()
    batch["attributes"][:, 2] = -1
    found = measured(task, output, batch)
    two = built(MultilabelTask, Multilabel("attributes", NAMES[:2]), LOSS)
    expected = measured(two, output[:, :2], {"attributes": batch["attributes"][:, :2]})
    assert np.isnan(found.pop("accuracy/Young")) and np.isnan(found.pop("f1/Young"))
    assert found == pytest.approx(expected, abs=1e-6)


def test_an_attribute_that_all_share_has_no_auroc_but_an_accuracy(task, measured):
    output, batch = some()
    batch["attributes"][:, 0] = 0
    found = measured(task, output, batch)
    areas = [
        column(sklearn.roc_auc_score, output, batch["attributes"], k, of=torch.sigmoid)
        for k in (1, 2)
    ]
    assert found["auroc"] == pytest.approx(np.mean(areas), abs=1e-6)
    assert 0 < found["accuracy/Bald"] < 1


def test_missing_rows_cost_nothing(task, assert_missing_rows_cost_nothing):
    output, batch = some()
    batch["attributes"][::3] = -1
    known = batch["attributes"][:, 0] >= 0
    assert_missing_rows_cost_nothing(task, output, batch, known)


def test_missing_rows_cost_nothing_to_each_attribute(built, assert_missing_rows_cost_nothing):
    task = built(MultilabelTask, LABEL, LOSS, per_attribute=True)
    output, batch = some()
    batch["attributes"][::3] = -1
    assert_missing_rows_cost_nothing(task, output, batch, batch["attributes"][:, 0] >= 0)


def test_a_missing_cell_has_no_gradient(task):
    output, batch = some(missing=0.4)
    output.requires_grad_()
    task.losses(output, batch)[0].sum().backward()
    assert torch.equal(output.grad == 0, batch["attributes"] < 0)


def test_nothing_labelled_is_free(task, assert_nothing_labelled_is_free):
    output, batch = some(n=6)
    empty = {"attributes": torch.full_like(batch["attributes"], -1)}
    assert_nothing_labelled_is_free(task, output, empty)


def test_an_attribute_can_be_a_loss_of_its_own(built, task):
    each = built(MultilabelTask, LABEL, LOSS, per_attribute=True)
    output, batch = some()
    losses, counts = each.losses(output, batch)
    assert each.loss_names == NAMES and task.loss_names == ("task",)
    assert losses.mean().item() == pytest.approx(task.losses(output, batch)[0].item(), rel=1e-6)
    assert counts.tolist() == [97, 97, 97]


def test_the_constant_predictor_says_each_attributes_share(task):
    target = torch.tensor([[1, 0, -1], [1, 1, -1], [0, -1, -1], [1, 0, -1]])
    found = task.constant({"attributes": target}).sigmoid()
    assert found[:2].tolist() == pytest.approx([0.75, 1 / 3], abs=1e-6)
    assert found.isfinite().all()


def test_columns_truth_and_error_are_in_human_terms(task):
    output = torch.tensor([[2.0, -2.0, 1.0], [0.5, 0.5, -0.5]])
    batch = {"attributes": torch.tensor([[1, 1, -1], [-1, -1, -1]])}
    columns = task.columns(output, torch.ones(2, 2))
    assert tuple(columns) == task.prediction_columns
    assert [columns[name].tolist() for name in NAMES] == [[1, 1], [0, 1], [1, 0]]
    assert columns["Bald_probability"][0] == pytest.approx(0.880797, abs=1e-6)
    truth = task.truth(batch)
    assert truth["Bald_true"][0] == 1 and np.isnan(truth["Young_true"]).all()
    assert task.error(output, batch)[0] == 0.5 and task.error(output, batch)[1].isnan()


def test_every_scalar_that_has_a_better_end_says_which(task, measured):
    assert set(task.directions) == set(measured(task, *some()))
    assert all(task.directions.values())


def test_no_attribute_at_all_is_an_error(built):
    with pytest.raises(MtlfaceError, match=r"data\.attributes"):
        built(MultilabelTask, Multilabel("attributes", ()), LOSS)


def test_a_single_attribute_is_measured_like_the_same_attribute_among_others(built):
    torch.manual_seed(0)
    names = ("Smiling", "Male", "Young")
    output, target = torch.randn(40, 3), torch.randint(-1, 2, (40, 3))

    def measured(names, columns):
        task = built(MultilabelTask, Multilabel("attributes", names), LOSS, per_attribute=True)
        metrics = task.metrics()
        task.update(metrics, output[:, columns], {"attributes": target[:, columns]})
        return task.results(metrics.compute())

    alone, among = measured(names[:1], [0]), measured(names, [0, 1, 2])
    assert alone["Smiling/f1"] == among["Smiling/f1"]
    assert set(among) >= {"Male/f1", "Young/accuracy"}


def test_an_attribute_that_is_never_found_is_left_out_of_precision_alone(task, measured):
    output, batch = some()
    output[:, 0] = -30.0 + output[:, 0] / 100
    found = measured(task, output, batch)
    rest = [column(sklearn.precision_score, output, batch["attributes"], k) for k in (1, 2)]
    assert found["precision"] == pytest.approx(np.mean(rest), abs=1e-6)
    assert found["f1/Bald"] == 0


def test_auroc_ranks_the_logits_of_each_attribute(task, measured):
    output = torch.tensor([[18.0, -18.0, 0.0], [19.0, -19.0, 1.0], [20.0, -20.0, 2.0]])
    batch = {"attributes": torch.tensor([[0, 1, 0], [1, 0, 0], [1, 0, 1]])}
    assert measured(task, output, batch)["auroc"] == 1
