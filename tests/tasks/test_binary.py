"""Yes or no: scikit-learn agrees, missing labels cost nothing, the constant is the majority."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn
from torch import nn

from mtlface.data.schema import Binary, Category, Labels
from mtlface.errors import MtlfaceError
from mtlface.models import linear_head
from mtlface.tasks import BinaryTask

GENDER = Binary("gender", ("female", "male"))
SIZE = torch.tensor([[178.0, 218.0]])


@pytest.fixture
def task(built):
    return built(BinaryTask, GENDER, nn.BCEWithLogitsLoss(reduction="none"))


@pytest.fixture
def two(built):
    return built(BinaryTask, GENDER, nn.BCEWithLogitsLoss(reduction="none"), logits=2)


def some(n=101, outputs=1, seed=0, missing=0.0):
    draw = torch.Generator().manual_seed(seed)
    output = torch.randn(n, outputs, generator=draw)
    target = (output[:, -1] + torch.randn(n, generator=draw) > 0.3).long()
    target[torch.rand(n, generator=draw) < missing] = -1
    return output, {"gender": target}


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_metrics_are_those_of_scikit_learn(task, measured, missing):
    output, batch = some(missing=missing)
    known = batch["gender"] >= 0
    truth = batch["gender"][known].numpy()
    probability = 1 / (1 + np.exp(-output[known, 0].double().numpy()))
    said = probability > 0.5
    assert measured(task, output, batch) == pytest.approx(
        {
            "accuracy": sklearn.accuracy_score(truth, said),
            "precision": sklearn.precision_score(truth, said),
            "recall": sklearn.recall_score(truth, said),
            "f1": sklearn.f1_score(truth, said),
            "f1_macro": sklearn.f1_score(truth, said, average="macro"),
            "auroc": sklearn.roc_auc_score(truth, probability),
        },
        abs=1e-6,
    )


def test_the_confusion_matrix_is_that_of_scikit_learn(task):
    output, batch = some(missing=0.2)
    metrics, known = task.metrics(), batch["gender"] >= 0
    task.update(metrics, output, batch)
    expected = sklearn.confusion_matrix(batch["gender"][known], output[known, 0] > 0)
    assert metrics.compute()["confusion"].tolist() == expected.tolist()


def test_auroc_of_one_class_is_unknown_and_not_zero(task, measured):
    output, batch = some()
    found = measured(task, output, {"gender": torch.ones_like(batch["gender"])})
    assert np.isnan(found["auroc"]) and found["accuracy"] > 0


def test_a_batch_without_labels_leaves_the_others_metrics_as_they_are(task, measured):
    output, batch = some(n=30)
    batch["gender"][10:20] = -1
    known = batch["gender"] >= 0
    whole = measured(task, output, batch, parts=3)
    assert whole == measured(task, output[known], {"gender": batch["gender"][known]}, parts=2)


@pytest.mark.parametrize("outputs", [1, 2])
def test_missing_rows_cost_nothing(task, two, assert_missing_rows_cost_nothing, outputs):
    output, batch = some(outputs=outputs, missing=0.3)
    known = batch["gender"] >= 0
    assert_missing_rows_cost_nothing({1: task, 2: two}[outputs], output, batch, known)


def test_nothing_labelled_is_free(task, assert_nothing_labelled_is_free):
    output, batch = some(n=6)
    assert_nothing_labelled_is_free(task, output, {"gender": torch.full_like(batch["gender"], -1)})


def test_the_loss_is_torchs_times_the_weight(built):
    task = built(BinaryTask, GENDER, nn.BCEWithLogitsLoss(reduction="none"), weight=2.5)
    output, batch = some()
    expected = nn.functional.binary_cross_entropy_with_logits(output[:, 0], batch["gender"].float())
    assert task.losses(output, batch)[0].item() == pytest.approx(2.5 * expected.item(), rel=1e-6)


def test_two_logits_are_the_two_class_cross_entropy(two):
    output, batch = some(outputs=2)
    expected = nn.functional.cross_entropy(output, batch["gender"])
    assert two.losses(output, batch)[0].item() == pytest.approx(expected.item(), rel=1e-6)
    share = output.softmax(dim=1)[:, 1].numpy()
    np.testing.assert_allclose(two.columns(output, SIZE)["gender_probability"], share, rtol=1e-5)


@pytest.mark.parametrize("which", ["task", "two"])
def test_the_constant_predictor_says_the_majority_at_its_share(request, which):
    task = request.getfixturevalue(which)
    constant = task.constant({"gender": torch.tensor([1, 1, 1, 0, -1, -1, -1])})
    assert task.logit(constant[None]).sigmoid().item() == pytest.approx(0.75, abs=1e-6)
    assert constant.shape == (task.outputs,)


@pytest.mark.parametrize("targets", [[1, 1], [0, 0], [-1, -1]])
def test_the_constant_predictor_is_finite_whatever_the_labels(task, targets):
    assert task.constant({"gender": torch.tensor(targets)}).isfinite().all()


def test_start_at_mean_starts_the_head_there(built):
    loss = nn.BCEWithLogitsLoss(reduction="none")
    task = built(BinaryTask, GENDER, loss, start_at_mean=True)
    task.initialise({"gender": torch.tensor([1, 1, 1, 0])})
    assert task(torch.zeros(1, 4)).sigmoid().item() == pytest.approx(0.75, abs=1e-6)


def test_columns_truth_and_error_are_in_human_terms(task):
    output = torch.tensor([[2.0], [-2.0], [1.0]])
    batch = {"gender": torch.tensor([1, 1, -1])}
    columns = task.columns(output, SIZE.expand(3, 2))
    assert columns["gender"].tolist() == ["male", "female", "male"]
    assert columns["gender_probability"] == pytest.approx([0.880797, 0.119203, 0.731059], abs=1e-6)
    assert tuple(columns) == task.prediction_columns
    assert task.truth(batch)["gender_true"].tolist() == ["male", "male", ""]
    assert task.error(output, batch).tolist()[:2] == [0, 1]
    assert task.error(output, batch)[2].isnan()


def test_a_label_of_another_kind_or_none_at_all_is_an_error():
    def build(label):
        return BinaryTask(
            name="gender", label=label, in_features=4, frame=(8, 8), head=linear_head,
            loss=nn.BCEWithLogitsLoss(reduction="none"), labels=Labels([GENDER, Category("race")]),
        )  # fmt: skip

    with pytest.raises(MtlfaceError, match="'race' is a category label"):
        build("race")
    with pytest.raises(MtlfaceError, match="Did you mean 'gender'"):
        build("gander")


def test_auroc_ranks_logits_that_no_probability_tells_apart(task, measured):
    logits = torch.tensor([18.0, 19.0, 20.0, 21.0, -19.0, -18.0])
    batch = {"gender": torch.tensor([0, 0, 1, 1, 0, 0])}
    assert torch.sigmoid(logits[:4]).unique().numel() == 1
    assert measured(task, logits[:, None], batch)["auroc"] == 1
    # The file that comparisons read keeps the order too.
    size = torch.ones(6, 2)
    probability = task.columns(logits[:, None], size)["gender_probability"]
    assert sklearn.roc_auc_score(batch["gender"], probability) == 1


def test_a_metric_of_nothing_is_unknown_and_not_zero(task, measured):
    output, batch = some()
    never = measured(task, -output.abs() - 0.1, batch)  # nobody is found positive
    assert np.isnan(never["precision"]) and never["recall"] == never["f1"] == 0
    none = measured(task, output, {"gender": torch.zeros_like(batch["gender"])})
    assert np.isnan(none["recall"]) and none["precision"] == none["f1"] == 0
    neither = measured(task, -output.abs() - 0.1, {"gender": torch.zeros_like(batch["gender"])})
    assert all(np.isnan(neither[name]) for name in ("precision", "recall", "f1"))
    assert neither["accuracy"] == 1
