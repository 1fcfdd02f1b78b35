import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.calibration import calibration_curve

from mtlface.analysis.curves import calibration, reliability_curves
from mtlface.analysis.images import Predictions, error_curve
from mtlface.analysis.protocol import Arm
from mtlface.analysis.results import Run
from mtlface.data.schema import Binary, Category, Labels, Multilabel, Number, Points
from mtlface.models.heads import linear_head
from mtlface.tasks import BinaryTask, IdentityTask, LandmarkTask, MultilabelTask, NumberTask
from mtlface.training.evaluation import task_columns

LABELS = Labels(
    [
        Binary("gender", ("female", "male")),
        Number("age", 0, 116, "years"),
        Points("landmarks", ("left_eye", "right_eye", "nose")),
        Multilabel("attributes", ("Smiling", "Male", "Young")),
        Category("identity", ("a", "b", "c", "None")),
        Category("person", ("a", "b", "c", "None")),
    ]
)
N = 60
KINDS = {
    "gender": BinaryTask,
    "age": NumberTask,
    "landmarks": LandmarkTask,
    "attributes": MultilabelTask,
    "identity": IdentityTask,
}


def run_with(folder, table, tasks=None, metrics=None, labels=LABELS):
    folder.mkdir(exist_ok=True)
    pd.DataFrame(table).to_csv(folder / "test_predictions.csv", index=False)
    content = {"tasks": tasks or {}, "metrics": metrics or {}, "labels": labels.to_dict()}
    return Run(folder, json.loads(json.dumps(content)))


def batch():
    """Labels of every kind, one in seven missing."""
    rng = torch.Generator().manual_seed(0)
    missing = torch.arange(N) % 7 == 3

    def codes(n, *shape):
        values = torch.randint(0, n, (N, *shape), generator=rng)
        values[missing] = -1
        return values

    age = 80 * torch.rand(N, generator=rng)
    points = 30 * torch.rand(N, 3, 2, generator=rng)
    age[missing], points[missing] = torch.nan, torch.nan
    return {
        "gender": codes(2),
        "age": age,
        "landmarks": points,
        "attributes": codes(2, 3),
        "identity": codes(4),
        "person": codes(4),
        "size": torch.full((N, 2), 32.0),
    }


def write(folder, name, primary=None):
    """A run with one task: what evaluation writes, and what the task's own metrics say."""
    targets = batch()
    torch.manual_seed(0)
    task = KINDS[name](
        name="mine", label=name, labels=LABELS, in_features=4, frame=(32, 32),
        head=linear_head, loss=torch.nn.MSELoss(reduction="none"), primary=primary,
    )  # fmt: skip
    output = task(torch.randn(N, 4)) * (20 if name == "age" else 1)
    metrics = task.metrics()
    task.update(metrics, output, targets)
    found = {f"test/{k}": float(v) for k, v in task.results(metrics.compute()).items()}
    table = {"image": [f"{i}.jpg" for i in range(N)], "person": ["p"] * N}
    table |= task_columns(task, output.detach(), targets)
    info = {"mine": {"label": name, "primary": task.primary}}
    return name, run_with(folder, table, info, found), targets


@pytest.fixture(scope="module", params=list(KINDS))
def written(request, tmp_path_factory):
    return write(tmp_path_factory.mktemp("runs"), request.param)


# What `test_predictions.csv` gives of the primary metric only: it has neither embeddings nor sizes.
ABSENT = {
    "landmarks": {"mae", "mse", "rmse", "nme_image"},
    "identity": {"verification_auc"},
}


def test_every_metric_is_rebuilt_from_the_file_as_the_task_computed_it(written):
    name, run, _ = written
    predictions = Predictions()
    for key, value in run.metrics.items():
        metric = key.removeprefix("test/mine/")
        if "/" in metric or metric in ABSENT.get(name, ()):
            continue
        if metric != run.tasks["mine"]["primary"] and metric == "gallery_top1":
            continue
        found = predictions.scores(run, "mine", metric)
        assert found is not None, metric
        assert found.metric.value == pytest.approx(value, rel=1e-5), metric
        assert found.contributions.mean() == pytest.approx(value, rel=1e-5), metric
    assert not predictions.notes


def test_unlabelled_images_are_left_out(written):
    _, run, _ = written
    found = Predictions().scores(run, "mine", run.tasks["mine"]["primary"])
    assert len(found.images) <= N - (np.arange(N) % 7 == 3).sum()


def test_gallery_top1_is_written_image_by_image_and_not_the_classifiers_error(tmp_path):
    labels, targets = LABELS, batch()
    torch.manual_seed(0)
    task = IdentityTask(
        name="who", label="identity", labels=labels, in_features=4, frame=(32, 32),
        head=linear_head, loss=torch.nn.CrossEntropyLoss(reduction="none"), primary="gallery_top1",
    )  # fmt: skip
    output = task(torch.randn(N, 4)).detach()
    metrics = task.metrics()
    task.update(metrics, output, targets)
    value = float(task.results(metrics.compute())["who/gallery_top1"])
    table = {"image": [f"{i}.jpg" for i in range(N)], **task_columns(task, output, targets)}
    info = {"who": {"label": "identity", "primary": "gallery_top1"}}
    run = run_with(tmp_path, table, info, {"test/who/gallery_top1": value})
    found = Predictions().scores(run, "who", "gallery_top1")
    assert found.contributions.mean() == pytest.approx(value)
    assert set(found.contributions.round(9)) <= {0.0, 1.0}
    assert value != pytest.approx(1 - np.nanmean(table["who/error"]), abs=0.02)


def test_an_attribute_that_is_a_task_of_its_own_has_its_own_images(tmp_path):
    table = {
        "image": list("abcd"),
        "Smiling": [1, 0, 1, 0],
        "Smiling_true": [1, 1, None, 0],
        "Male": [0, 0, 0, 0],
        "Male_true": [1, 1, 1, 1],
    }
    tasks = {"Smiling": {"label": "attributes", "primary": "accuracy"}}
    run = run_with(tmp_path, table, tasks, {"test/Smiling/accuracy": 2 / 3})
    found = Predictions().scores(run, "Smiling", "accuracy")
    assert list(found.contributions) == pytest.approx([1, 0, 1])


def test_a_file_that_contradicts_the_result_is_said_and_not_used(tmp_path):
    table = {"image": list("ab"), "gender": ["male", "male"], "gender_true": ["male", "female"]}
    tasks = {"gender": {"label": "gender", "primary": "accuracy"}}
    run = run_with(tmp_path, table, tasks, {"test/gender/accuracy": 0.9})
    predictions = Predictions()
    assert predictions.scores(run, "gender", "accuracy") is None
    assert "accuracy 0.5, and result.json says 0.9" in next(iter(predictions.notes))


def test_missing_predictions_or_labels_are_none(tmp_path):
    tasks = {"gender": {"label": "gender", "primary": "accuracy"}}
    metrics = {"test/gender/accuracy": 1.0}
    nothing = Run(tmp_path, {"tasks": tasks, "metrics": metrics})
    assert Predictions().scores(nothing, "gender", "accuracy") is None
    table = {"image": ["a"], "gender": ["male"], "gender_true": ["male"]}
    without = run_with(tmp_path, table, tasks, metrics, labels=Labels([]))
    assert Predictions().scores(without, "gender", "accuracy") is None


def test_runs_pair_by_the_name_of_an_image_and_not_by_its_row(tmp_path):
    tasks = {"age": {"label": "age", "primary": "mae"}}
    runs = []
    for k, order in enumerate(("0123", "3120")):
        rows = {"image": list(order), "age": [float(i) for i in order], "age_true": [0.0] * 4}
        runs.append(run_with(tmp_path / str(k), rows, tasks, {"test/age/mae": 1.5}))
    ours, theirs = (Predictions().scores(run, "age", "mae") for run in runs)
    assert list(theirs.contributions) == pytest.approx([3, 1, 2, 0])
    assert list(theirs.in_order_of(ours.images).contributions) == pytest.approx([0, 1, 2, 3])
    assert theirs.in_order_of(np.array(["0", "1", "2", "x"])) is None


@pytest.mark.parametrize(
    ("name", "primary"),
    [(name, metric) for name, metrics in ABSENT.items() for metric in sorted(metrics)],
)
def test_whatever_stands_for_a_task_is_in_the_file(tmp_path, name, primary):
    _, run, _ = write(tmp_path, name, primary)
    predictions = Predictions()
    found = predictions.scores(run, "mine", primary)
    assert found.metric.value == pytest.approx(run.metrics[f"test/mine/{primary}"], rel=1e-4)
    assert not predictions.notes


def test_copies_of_one_image_are_one_cluster_where_nobody_is_named(tmp_path):
    table = {
        "image": list("abcde"), "person": ["p", "", "p", "", ""],
        "original": ["", "x", "", "x", ""], "age": [1.0] * 5, "age_true": [0.0] * 5,
    }  # fmt: skip
    tasks = {"age": {"label": "age", "primary": "mae"}}
    run = run_with(tmp_path, table, tasks, {"test/age/mae": 1})
    a, b, c, d, e = Predictions().scores(run, "age", "mae").clusters
    assert a == c and b == d
    assert len({a, b, e}) == 3


def test_images_of_one_person_are_one_cluster_and_nobody_known_is_his_own(tmp_path):
    table = {
        "image": list("abcd"), "person": ["p", "", "p", ""],
        "age": [1.0] * 4, "age_true": [0.0] * 4,
    }  # fmt: skip
    tasks = {"age": {"label": "age", "primary": "mae"}}
    found = Predictions().scores(
        run_with(tmp_path, table, tasks, {"test/age/mae": 1}), "age", "mae"
    )
    a, b, c, d = found.clusters
    assert a == c
    assert len({a, b, d}) == 3


def test_cumulative_error_curve_counts_images():
    found = error_curve(np.array([0.3, 0.1, 0.2]), np.array([0, 0.1, 0.25, 1]))
    assert list(found) == [0, 1 / 3, 2 / 3, 1]


def arm_with(folder, table, label):
    tasks = {"task": {"label": label.name, "primary": "accuracy"}}
    return Arm("a", "a", "g", {0: run_with(folder, table, tasks, labels=Labels([label]))})


def test_a_calibrated_head_of_five_classes_has_next_to_no_calibration_error(tmp_path):
    rng = np.random.default_rng(0)
    n, classes = 20_000, list("vwxyz")
    confidence = rng.uniform(0.3, 1.0, n)
    right = rng.random(n) < confidence
    truth = rng.integers(0, 5, n)
    guess = np.where(right, truth, (truth + rng.integers(1, 5, n)) % 5)
    table = {
        "image": np.arange(n),
        "kind": np.array(classes)[guess],
        "kind_probability": confidence,
        "kind_true": np.array(classes)[truth],
    }
    arm = arm_with(tmp_path, table, Category("kind", tuple(classes)))
    ((_, ece),) = reliability_curves([arm], Predictions())["kind"]
    assert ece < 0.012


@pytest.mark.parametrize("classes", [("female", "male"), ("male", "female")])
def test_the_positive_class_is_the_schemas_and_not_guessed(tmp_path, classes):
    rng = np.random.default_rng(0)
    probability = rng.random(4000)
    truth = rng.random(4000) < probability
    names = np.array(classes)
    table = {
        "image": np.arange(4000),
        "gender": names[(probability > 0.5).astype(int)],
        "gender_probability": probability,
        "gender_true": names[truth.astype(int)],
    }
    arm = arm_with(tmp_path, table, Binary("gender", classes))
    ((_, ece),) = reliability_curves([arm], Predictions())["gender"]
    assert ece < 0.03


def test_attributes_are_pooled_and_unlabelled_rows_left_out(tmp_path):
    table = {
        "image": ["a", "b"],
        "Smiling": [1, 0], "Smiling_probability": [0.9, 0.1], "Smiling_true": [1, None],
        "Male": [0, 1], "Male_probability": [0.2, 0.8], "Male_true": [1, 1],
    }  # fmt: skip
    arm = arm_with(tmp_path, table, Multilabel("attributes", ("Smiling", "Male")))
    ((curve, _),) = reliability_curves([arm], Predictions())["attributes"]
    assert list(curve.x) == pytest.approx([0.2, 0.85])
    assert list(curve.y) == [1, 1]


def test_calibration_curve_is_sklearns():
    rng = np.random.default_rng(0)
    probability = rng.random(2000)
    truth = (rng.random(2000) < probability**2).astype(float)
    x, y, share, ece = calibration(probability, truth)
    frequency, mean = calibration_curve(truth, probability, n_bins=15)
    assert x == pytest.approx(mean)
    assert y == pytest.approx(frequency)
    assert share.sum() == pytest.approx(1)
    assert ece == pytest.approx(np.sum(share * np.abs(mean - frequency)))


@pytest.mark.parametrize(("images", "bins"), [(5, 2), (75, 3), (299, 14), (300, 15), (20_000, 15)])
def test_there_are_as_many_bins_as_the_images_carry(images, bins):
    rng = np.random.default_rng(0)
    x, *_ = calibration(np.linspace(0, 1, images), (rng.random(images) < 0.5).astype(float))
    assert len(x) == bins
