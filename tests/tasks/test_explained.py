"""What maps explain of each kind of task: it grows with the answer, and has a gradient."""

import pytest
import torch
from torch import nn

from mtlface.data.schema import Binary, Category, Multilabel, Number, Points
from mtlface.tasks import (
    BinaryTask,
    CategoryTask,
    Coral,
    Corn,
    CrossEntropy,
    DistributionTask,
    IdentityTask,
    LandmarkTask,
    MultilabelTask,
    NumberTask,
)

LOSS = nn.L1Loss(reduction="none")
AGE = Number("age", unit="years", low=0, high=9)
CLASSES = ("a", "b", "c")
POINTS = Points("points", ("eye", "nose"))


def explained(task, output):
    output = torch.tensor(output, requires_grad=True)
    found = task.explained(output)
    assert found.shape == (len(output),) and task.explains
    (gradient,) = torch.autograd.grad(found.sum(), output)
    return found.detach(), gradient


def test_yes_and_no_both_explain_their_own_answer(built):
    one = built(BinaryTask, Binary("gender", classes=("f", "m")), LOSS)
    found, gradient = explained(one, [[2.0], [-3.0], [0.0]])
    assert found.tolist() == [2, 3, 0] and gradient[:, 0].tolist() == [1, -1, -1]
    two = built(BinaryTask, Binary("gender", classes=("f", "m")), LOSS, logits=2)
    found, gradient = explained(two, [[1.0, 4.0], [4.0, 1.0]])
    assert found.tolist() == [3, 3] and gradient.tolist() == [[-1, 1], [1, -1]]


def test_a_class_explains_its_logit_and_a_person_the_likeness(built):
    found, gradient = explained(built(CategoryTask, Category("race", CLASSES), LOSS), [[0.1, 2, 1]])
    assert found.tolist() == [2] and gradient.tolist() == [[0, 1, 0]]
    who = built(IdentityTask, Category("person", CLASSES), LOSS, embedding=2)
    found, gradient = explained(who, [[0.1, 2, 1, 9, 9]])
    assert found.tolist() == [2] and gradient.tolist() == [[0, 1, 0, 0, 0]]
    assert "likeness" in who.explains


def test_a_number_explains_itself_even_beyond_its_range(built):
    found, gradient = explained(built(NumberTask, AGE, LOSS), [[4.0], [-7.0], [99.0]])
    assert found.tolist() == [4, -7, 99] and gradient[:, 0].tolist() == [1, 1, 1]


@pytest.mark.parametrize("distribution", [CrossEntropy, Coral, Corn])
def test_a_distribution_explains_its_expectation(built, distribution):
    task = built(DistributionTask, AGE, distribution())
    outputs = torch.randn(3, task.outputs, generator=torch.Generator().manual_seed(0))
    found, gradient = explained(task, outputs.tolist())
    by_hand = (task.probabilities(outputs) * torch.arange(10.0)).sum(dim=1)
    torch.testing.assert_close(found, by_hand)
    assert (gradient.abs().sum(dim=1) > 0).all()  # a count of ranks would have none


def test_points_explain_their_mean_and_attributes_their_answers(built):
    task = built(LandmarkTask, POINTS, LOSS)
    found, gradient = explained(task, [[0.0, 0.2, 0.4, 0.6]])
    assert found.tolist() == pytest.approx([0.3]) and gradient.tolist() == [[0.25] * 4]
    task = built(MultilabelTask, Multilabel("attributes", ("x", "y")), LOSS)
    found, gradient = explained(task, [[2.0, -4.0]])
    assert found.tolist() == [3] and gradient.tolist() == [[0.5, -0.5]]
