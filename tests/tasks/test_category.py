"""One of several classes: scikit-learn agrees, and missing ones cost nothing."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn
from torch import nn

from mtlface.data.schema import Binary, Category, Multilabel
from mtlface.errors import MtlfaceError
from mtlface.tasks import BinaryTask, CategoryTask, MultilabelTask
from mtlface.tasks.evidence import Confusion
from mtlface.tasks.prediction import Remark

RACE = Category("race", ("White", "Black", "Asian", "Indian", "Other"))
LOSS = nn.CrossEntropyLoss(reduction="none")


@pytest.fixture
def task(built):
    return built(CategoryTask, RACE, LOSS)


def some(n=83, missing=0.0):
    draw = torch.Generator().manual_seed(2)
    target = torch.randint(0, 4, (n,), generator=draw)  # nobody is of the last class
    output = torch.randn(n, 5, generator=draw) + 2 * nn.functional.one_hot(target, 5)
    target[torch.rand(n, generator=draw) < missing] = -1
    return output, {"race": target}


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_metrics_are_those_of_scikit_learn(task, measured, missing):
    output, batch = some(missing=missing)
    known = batch["race"] >= 0
    truth, logits = batch["race"][known].numpy(), output[known]
    said, sure = logits.argmax(dim=1).numpy(), logits.softmax(dim=1).max(dim=1).values.numpy()
    bins = np.minimum((sure * 15).astype(int), 14)
    gaps = [
        (bins == b).mean() * abs(sure[bins == b].mean() - (said == truth)[bins == b].mean())
        for b in np.unique(bins)
    ]
    assert measured(task, output, batch) == pytest.approx(
        {
            "accuracy": sklearn.accuracy_score(truth, said),
            "f1_macro": sklearn.f1_score(truth, said, average="macro"),
            "top3": sklearn.top_k_accuracy_score(truth, logits.numpy(), k=3, labels=range(5)),
            "ece": sum(gaps),
        },
        rel=1e-5,
    )


def test_missing_rows_cost_nothing(task, assert_missing_rows_cost_nothing):
    output, batch = some(missing=0.3)
    assert_missing_rows_cost_nothing(task, output, batch, batch["race"] >= 0)


def test_nothing_labelled_is_free(task, assert_nothing_labelled_is_free):
    output, batch = some(n=6)
    assert_nothing_labelled_is_free(task, output, {"race": torch.full_like(batch["race"], -1)})


def test_a_top_k_of_all_classes_is_no_metric(built):
    few = built(CategoryTask, Category("race", ("a", "b", "c")), LOSS)
    assert "top3" not in few.directions and "top2" in built(
        CategoryTask, Category("race", ("a", "b", "c")), LOSS, top_k=2
    ).directions  # fmt: skip


def test_it_says_the_likeliest_class_and_how_likely_it_is(task):
    output = torch.tensor([[0.0, 3.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0]])
    batch = {"race": torch.tensor([1, -1])}
    columns = task.columns(output, torch.ones(2, 2)) | task.truth(batch)
    rows = [{name: values[i] for name, values in columns.items()} for i in range(2)]
    assert task.prediction(rows[0]).words == "race Black 0.83"
    assert task.remarks(rows[0]) == [Remark("Black 83%", True)]
    assert task.remarks(rows[1]) == [Remark("White 40%")]
    (shown,) = task.evidence(columns)
    assert isinstance(shown, Confusion) and shown.counts.sum() == shown.counts[1, 1] == 1


@pytest.mark.parametrize("labels", [("one",)])
def test_a_label_without_classes_to_tell_apart_is_an_error(built, labels):
    with pytest.raises(MtlfaceError, match=f"needs two classes or more.*has {len(labels)}"):
        built(CategoryTask, Category("race", labels), LOSS)


def test_balanced_weights_are_scikit_learns(built):
    from sklearn.utils.class_weight import compute_class_weight

    task = built(CategoryTask, RACE, LOSS, class_weights="balanced")
    target = torch.tensor([0] * 7 + [1] * 2 + [3] + [-1] * 4)
    task.initialise({"race": target})
    known = target[target >= 0].numpy()
    expected = compute_class_weight("balanced", classes=np.unique(known), y=known)
    weights = task.class_weights.weights
    assert weights[[0, 1, 3]].tolist() == pytest.approx(expected)
    assert weights[[2, 4]].tolist() == [1, 1]
    # Equal logits cost each image ln 5; the weights average 1.
    losses, _ = task.losses(torch.zeros(14, 5), {"race": target})
    assert losses.item() == pytest.approx(np.log(5), rel=1e-6)


def test_balanced_weights_of_two_classes_are_pos_weight(built):
    target = torch.tensor([1, 0, 0, 0, -1])
    output = torch.randn(5, 1)
    task = built(
        BinaryTask, Binary("g"), nn.BCEWithLogitsLoss(reduction="none"), class_weights="balanced"
    )
    task.initialise({"g": target})
    theirs = nn.BCEWithLogitsLoss(reduction="none", pos_weight=torch.tensor(3.0))
    expected = theirs(output[:4, 0], target[:4].float()).mean() * (4 / 2 / 3)
    assert task.losses(output, {"g": target})[0].item() == pytest.approx(expected.item(), rel=1e-6)


def test_each_attribute_has_weights_of_its_own(built):
    label = Multilabel("many", ("a", "b"))
    loss = nn.BCEWithLogitsLoss(reduction="none")
    task = built(MultilabelTask, label, loss, class_weights="balanced")
    task.initialise({"many": torch.tensor([[1, 0], [0, 0], [0, -1], [0, 1]])})
    assert task.class_weights.weights.tolist() == [
        pytest.approx([4 / 6, 2]), pytest.approx([3 / 4, 3 / 2])
    ]  # fmt: skip


def test_weights_travel_with_the_weights_of_the_network(built):
    task = built(CategoryTask, RACE, LOSS, class_weights="balanced")
    task.initialise({"race": torch.tensor([0, 0, 0, 1])})
    again = built(CategoryTask, RACE, LOSS, class_weights="balanced")
    again.load_state_dict(task.state_dict())
    assert torch.equal(again.class_weights.weights, task.class_weights.weights)


def test_an_unknown_word_for_weights_is_an_error(built):
    with pytest.raises(MtlfaceError, match="class_weights=inverse: expected balanced"):
        built(CategoryTask, RACE, LOSS, class_weights="inverse")
