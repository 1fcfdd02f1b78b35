"""Groups of people: fairlearn's figures, intervals by person, and no rank for a handful."""

import numpy as np
import pandas as pd
import pytest
import torch
from fairlearn.metrics import MetricFrame
from sklearn.metrics import accuracy_score, mean_absolute_error
from torch import nn

from mtlface.data.schema import Binary, Labels, Number
from mtlface.inference.gaps import clusters_of, crossed_groups, gap_between
from mtlface.models import linear_head
from mtlface.tasks import BinaryTask, NumberTask
from mtlface.training.evaluation import Predictions

N = 400


class Module:
    """What `score` needs of a network."""

    def __init__(self, *tasks):
        self.tasks = {task.name: task for task in tasks}
        self.scores = {}


def task_of(kind, label, loss, **settings):
    return kind(
        name=label.name, label=label.name, labels=Labels([label]), in_features=4, frame=(8, 8),
        head=linear_head, loss=loss, **settings,
    )  # fmt: skip


@pytest.fixture
def measured():
    rng = np.random.default_rng(0)
    race = rng.choice(["White", "Black", "Asian"], N, p=[0.6, 0.395, 0.005])
    gender, age = rng.integers(0, 2, N), rng.uniform(0, 90, N).astype(np.float32)
    logit = (gender * 2 - 1) * rng.normal(0.7 + (race == "White"), 1, N)
    said = age + rng.normal(0, 5 + 3 * (race == "Black"), N).astype(np.float32)
    module = Module(
        task_of(BinaryTask, Binary("gender", ("f", "m")), nn.BCEWithLogitsLoss(reduction="none")),
        task_of(NumberTask, Number("age", 0, 116, "years"), nn.MSELoss(reduction="none")),
    )
    outputs = {
        "gender": torch.tensor(logit, dtype=torch.float32)[:, None],
        "age": torch.tensor(said, dtype=torch.float32)[:, None],
    }
    targets = {"gender": torch.from_numpy(gender), "age": torch.from_numpy(age)}
    groups = {name: np.flatnonzero(race == name) for name in ("White", "Black", "Asian")}
    return module, Predictions(outputs, targets), groups, race


@pytest.mark.parametrize(
    ("task", "higher", "metric"),
    [("gender", True, accuracy_score), ("age", False, mean_absolute_error)],
)
def test_values_and_gap_are_fairlearns(measured, task, higher, metric):
    module, found, groups, race = measured
    ages = {part: getattr(found, part)["age"].double() for part in ("outputs", "targets")}
    exact = Predictions(
        {**found.outputs, "age": ages["outputs"]}, {**found.targets, "age": ages["targets"]}
    )
    gap = gap_between(module, exact, task, higher, groups, np.arange(N), min_group=1)
    truth, said = exact.targets[task].numpy(), exact.outputs[task][:, 0]
    said = (said > 0).double().numpy() if task == "gender" else said.clamp(0, 116).numpy()
    frame = MetricFrame(metrics=metric, y_true=truth, y_pred=said, sensitive_features=race)
    for name, value in frame.by_group.items():
        assert gap.values[name] == pytest.approx(value, abs=1e-9)
    assert gap.gap == pytest.approx(frame.difference(), abs=1e-9)


def test_a_group_of_a_few_images_is_shown_and_not_ranked(measured):
    module, found, groups, _ = measured
    assert 0 < len(groups["Asian"]) < 5
    gap = gap_between(module, found, "gender", True, groups, np.arange(N), min_group=20)
    assert gap.unranked == ("Asian",) and "Asian" in gap.values
    assert gap.worst == "Black" and "Asian" not in gap.intervals
    one = gap_between(module, found, "gender", True, groups, np.arange(N), min_group=10_000)
    assert one.worst is None and one.gap is None and one.gap_interval is None


def test_intervals_are_those_of_the_normal_approximation_and_wider_by_person(measured):
    module, found, groups, _ = measured
    rows = groups["White"]
    alone = gap_between(module, found, "gender", True, groups, np.arange(N), 20)
    p = alone.values["White"]
    half = 1.96 * np.sqrt(p * (1 - p) / len(rows))
    low, high = alone.intervals["White"]
    assert (p - low, high - p) == pytest.approx((half, half), rel=0.25)
    assert alone.gap_interval[0] <= alone.gap <= alone.gap_interval[1]
    # Ten images of each person that are right or wrong together are a tenth of the images.
    wrong = np.repeat(np.arange(N // 10) % 3 == 0, 10)
    signs = torch.where(torch.from_numpy(wrong), -1.0, 1.0)
    outputs = {"gender": ((found.targets["gender"] * 2 - 1) * signs)[:, None].float()}
    same = Predictions({**found.outputs, **outputs}, found.targets)
    halves = {"a": np.arange(0, N, 2), "b": np.arange(1, N, 2)}
    people = np.repeat(np.arange(N // 10), 10)
    single = gap_between(module, same, "gender", True, halves, np.arange(N), 20)
    person = gap_between(module, same, "gender", True, halves, people, 20)
    widths = [np.diff(g.intervals["a"])[0] for g in (single, person)]
    assert widths[1] / widths[0] == pytest.approx(np.sqrt(5), rel=0.3)


def test_a_metric_that_is_no_mean_is_computed_anew_for_each_draw(measured):
    module, found, groups, _ = measured
    module.tasks["gender"].primary = "auroc"
    two = {name: groups[name] for name in ("White", "Black")}
    gap = gap_between(module, found, "gender", True, two, np.arange(N), 20)
    for name, (low, high) in gap.intervals.items():
        assert low < gap.values[name] < high < 1


def test_who_is_on_an_image_and_who_belongs_to_two_groups():
    people = pd.DataFrame({"person": ["ann", "", "bob", "ann", ""]})
    found = clusters_of(people)
    assert found[0] == found[3] and len(set(found.tolist())) == 4
    assert clusters_of(people.drop(columns="person")).tolist() == [0, 1, 2, 3, 4]
    groups = {"race": {"x": np.array([0, 1]), "y": np.array([2])}, "sex": {"m": np.array([1, 2])}}
    both = crossed_groups(groups, ("race", "sex"))
    assert {name: rows.tolist() for name, rows in both.items()} == {"x & m": [1], "y & m": [2]}
