"""Several networks' answers as one: the mean of what they say, and never a worse likelihood."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mtlface.data.schema import Binary, Category, Multilabel, Number, Points
from mtlface.tasks import (
    BinaryTask,
    CategoryTask,
    Coral,
    Corn,
    CrossEntropy,
    DistributionTask,
    LandmarkTask,
    MultilabelTask,
    NumberTask,
)

AGE = Number("age", 0, 9, "years")
BCE = nn.BCEWithLogitsLoss(reduction="none")
CE = nn.CrossEntropyLoss(reduction="none")
GENDER = Binary("gender", ("female", "male"))
KINDS = {
    "binary": (BinaryTask, GENDER, BCE, {}),
    "two logits": (BinaryTask, GENDER, BCE, {"logits": 2}),
    "category": (CategoryTask, Category("race", tuple("abc")), CE, {}),
    "classes of ages": (DistributionTask, AGE, CrossEntropy(), {}),
    "coral": (DistributionTask, AGE, Coral(), {}),
    "corn": (DistributionTask, AGE, Corn(), {}),
}  # fmt: skip


@pytest.fixture(params=KINDS)
def task(request, built):
    kind, label, loss, settings = KINDS[request.param]
    return built(kind, label, loss, **settings)


def members(task, n=20, count=4, scale=3.0):
    draw = torch.Generator().manual_seed(1)
    output = scale * torch.randn(count, n, task.outputs, generator=draw)
    # P(y > k) in order, as a CORAL head gives them.
    return output.sort(dim=2, descending=True).values if "Coral" in repr(task) else output


def test_the_combined_probability_is_the_mean_of_the_members(task):
    outputs = members(task)
    mean = torch.stack([task.probabilities(output) for output in outputs]).mean(dim=0)
    found = task.probabilities(task.combined(outputs))
    torch.testing.assert_close(found, mean, rtol=1e-4, atol=1e-5)


def test_of_equal_members_it_is_the_member(task):
    (output,) = members(task, count=1)
    found = task.probabilities(task.combined(output.expand(3, -1, -1)))
    torch.testing.assert_close(found, task.probabilities(output), rtol=1e-4, atol=1e-5)


@given(st.integers(0, 10_000), st.integers(2, 6))
def test_an_ensembles_likelihood_is_no_worse_than_the_mean_members(seed, count):
    draw = torch.Generator().manual_seed(seed)
    task = CategoryTask.__new__(CategoryTask)  # its arithmetic alone
    outputs = 4 * torch.randn(count, 9, 5, generator=draw)
    truth = torch.randint(0, 5, (9, 1), generator=draw)

    def nll(output):
        return float(-output.log_softmax(dim=1).gather(1, truth).mean())

    together = nll(CategoryTask.combined(task, outputs))
    assert together <= np.mean([nll(output) for output in outputs]) + 1e-5


def test_sure_members_that_agree_stay_sure_and_finite(built):
    task = built(BinaryTask, GENDER, BCE)
    found = task.combined(torch.tensor([[[80.0], [-80.0]], [[80.0], [-80.0]]]))
    assert found[:, 0].tolist() == pytest.approx([80, -80], rel=1e-3)


def test_numbers_points_and_attributes_are_averaged(built):
    number = built(NumberTask, AGE, nn.MSELoss(reduction="none"))
    assert number.combined(torch.tensor([[[2.0]], [[4.0]]])).tolist() == [[3.0]]
    points = Points("landmarks", ("left_eye", "right_eye"), ())
    landmarks = built(LandmarkTask, points, nn.MSELoss(reduction="none"))
    outputs = torch.rand(3, 5, 4)
    assert torch.equal(landmarks.combined(outputs), outputs.mean(dim=0))
    many = built(MultilabelTask, Multilabel("attributes", ("Bald", "Young")), BCE)
    outputs = torch.randn(3, 5, 2)
    assert many.combined(outputs).sigmoid() == pytest.approx(
        outputs.sigmoid().mean(dim=0), abs=1e-6
    )


def test_a_region_holds_what_is_no_further_off_than_the_quantile(task):
    output = members(task, n=200, count=1)[0]
    size = torch.full((200, 2), 100.0)
    draw = torch.Generator().manual_seed(3)
    values = task.probabilities(output).shape[1]
    codes = torch.randint(0, values, (200,), generator=draw)
    batch = {
        task.label.name: codes.float() if "Distribution" in repr(task) else codes,
        "size": size,
    }
    scores = task.nonconformity(output, batch)
    quantile = float(scores.sort().values[150])
    columns, sizes = task.region(output, size, quantile)
    if "age_low" in columns:
        held = (columns["age_low"] <= codes.numpy()) & (codes.numpy() <= columns["age_high"])
        assert sizes == pytest.approx(columns["age_high"] - columns["age_low"])
    else:
        (names,) = columns.values()
        classes = task.label.classes
        held = np.array([classes[c] in s.split("|") for c, s in zip(codes, names, strict=True)])
        assert sizes.tolist() == [len(s.split("|")) if s else 0 for s in names]
    assert held.tolist() == (scores <= quantile).tolist()


def test_points_lie_within_the_radius_in_pixels_of_the_image(built):
    points = Points("landmarks", ("left_eye", "right_eye"), ())
    task = built(LandmarkTask, points, nn.MSELoss(reduction="none"))
    output = torch.tensor([[0.5, 0.5, 0.25, 0.25]])
    truth = torch.tensor([[[0.5 * 48 - 0.5 + 4.8, 0.5 * 32 - 0.5], [float("nan")] * 2]])
    batch = {"landmarks": truth, "size": torch.tensor([[400.0, 100.0]])}
    # .1 of a width of 400 px, in sides of √(400 · 100) = 200 px
    score = task.nonconformity(output, batch)
    assert score.tolist() == pytest.approx([40 / 200], rel=1e-5)
    columns, _ = task.region(output, batch["size"], float(score))
    assert columns["landmarks_radius"].tolist() == pytest.approx([40], rel=1e-5)
