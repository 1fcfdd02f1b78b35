"""What a trained network says about a split, and how good that is."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mtlface.data.batch import Batch, Split
from mtlface.data.datamodule import FaceDataModule
from mtlface.data.people import PERSON
from mtlface.data.schema import Category
from mtlface.data.table import FaceTable
from mtlface.tasks import Task
from mtlface.training.module import MultiTaskModule


@dataclass(frozen=True)
class Predictions:
    """The raw outputs of every task for the pictures of a split, on the CPU.

    Attributes:
        outputs: By task, (N, outputs).
        targets: The split's labels, sizes and indices, (N, …).
    """

    outputs: Mapping[str, Tensor]
    targets: Batch


@torch.inference_mode()
def predict_split(
    module: MultiTaskModule, split: Split, batch_size: int, device: torch.device
) -> Predictions:
    """Runs the network over a split in fp32, so that results do not depend on the precision.

    Args:
        module: The network; it is left in eval mode on `device`.
        split: The pictures.
        batch_size: Pictures at a time.
        device: Where to run.
    """
    module.eval().to(device)
    found: dict[str, list[Tensor]] = {name: [] for name in module.tasks}
    for positions in np.array_split(np.arange(len(split)), -(-len(split) // batch_size)):
        for name, output in module(split.batch(positions)["image"].to(device)).items():
            found[name].append(output.float().cpu())
    return Predictions({name: torch.cat(parts) for name, parts in found.items()}, split.targets)


def constant_predictions(module: MultiTaskModule, train: Split, split: Split) -> Predictions:
    """What predictors that look at no picture say: the majority class, the mean."""
    targets = train.targets
    outputs = {
        name: task.constant(targets).cpu().expand(len(split), -1)
        for name, task in module.tasks.items()
    }
    return Predictions(outputs, split.targets)


def score(
    module: MultiTaskModule, found: Predictions, rows: np.ndarray | None = None
) -> dict[str, float]:
    """All metrics by `<task>/<metric>`, and scores across tasks by `score/<name>`.

    A metric without anything to count (no labels, one class only) is NaN.

    Args:
        module: The network with its tasks and scores.
        found: Its predictions for a split.
        rows: The positions of a group of pictures to score instead of all, int64 (n,).
    """
    metrics: dict[str, float] = {}
    for name, task in module.tasks.items():
        output, targets = found.outputs[name], found.targets
        if rows is not None:
            output, targets = task.of_group(output, targets, torch.from_numpy(rows))
        metrics |= _results(task, output, targets)
    for name, function in module.scores.items():
        if (value := function(metrics)) is not None:
            metrics[f"score/{name}"] = value
    return metrics


def score_groups(module: MultiTaskModule, found: Predictions, table: FaceTable) -> dict[str, float]:
    """The metrics of each group of pictures by `<task>/<metric>@<column>=<group>`."""
    metrics: dict[str, float] = {}
    for suffix, rows in groups(table, found.targets["index"].numpy()):
        scored = score(module, found, rows)
        metrics |= {f"{metric}@{suffix}": value for metric, value in scored.items()}
    return metrics


def groups(table: FaceTable, index: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """`<column>=<group>` and the positions of its pictures, for every group label of the data."""
    for label in table.labels.values():
        if isinstance(label, Category) and label.group:
            codes = label.values(table.frame.iloc[index])
            for code, name in enumerate(label.classes):
                if len(rows := np.flatnonzero(codes == code)):
                    yield f"{label.name}={name}", rows


@dataclass(frozen=True)
class Evaluation:
    """What is measured of a trained network.

    Attributes:
        metrics: By `<split>/<task>/<metric>`, with `@<column>=<group>` for groups of test
            pictures.
        trivial: The same metrics of predictors that look at no picture.
        predictions: The test split's predictions, see `prediction_table`.
    """

    metrics: dict[str, float]
    trivial: dict[str, float]
    predictions: pd.DataFrame


def evaluate(
    module: MultiTaskModule, datamodule: FaceDataModule, device: torch.device
) -> Evaluation:
    """Measures a network on the validation and test splits, each picture once."""
    train, batch_size = datamodule.split("train"), datamodule.evaluation_batch_size
    metrics: dict[str, float] = {}
    trivial: dict[str, float] = {}
    for name in ("val", "test"):
        split = datamodule.split(name)
        found = predict_split(module, split, batch_size, device)
        metrics |= _prefixed(name, score(module, found))
        trivial |= _prefixed(name, score(module, constant_predictions(module, train, split)))
    metrics |= _prefixed("test", score_groups(module, found, datamodule.table))
    return Evaluation(metrics, trivial, prediction_table(module, found, datamodule.table))


def _prefixed(split: str, metrics: Mapping[str, float]) -> dict[str, float]:
    return {f"{split}/{name}": value for name, value in metrics.items()}


def _results(task: Task[Any], output: Tensor, targets: Batch) -> dict[str, float]:
    metrics = task.metrics()
    with warnings.catch_warnings():
        # torchmetrics warns of splits with one class only; the metric's value says the same.
        warnings.simplefilter("ignore")
        task.update(metrics, output, targets)
        computed = task.results(metrics.compute())
    return {name: float(value) for name, value in computed.items()}


def prediction_table(module: MultiTaskModule, found: Predictions, table: FaceTable) -> pd.DataFrame:
    """One row per image: predictions and truth in human units, errors, groups, who is on it."""
    rows = table.frame.iloc[found.targets["index"].numpy()]
    columns: dict[str, Any] = {"image": rows["image"].to_numpy()}
    for name, task in module.tasks.items():
        columns |= task_columns(task, found.outputs[name], found.targets)
    for label in table.labels.values():
        if isinstance(label, Category) and (label.group or label.name == PERSON.name):
            names = np.array([*label.classes, ""], dtype=object)
            columns[label.name] = names[label.values(rows)]
    return pd.DataFrame(columns)


def task_columns(task: Task[Any], output: Tensor, targets: Batch) -> dict[str, np.ndarray]:
    """A task's predictions, truth and errors in human units, a column each, (N,)."""
    columns = task.columns(output, targets["size"]) | task.truth(targets)
    by_image = {"error": task.error(output, targets)} | task.image_metrics(output, targets)
    return columns | {f"{task.name}/{name}": values.numpy() for name, values in by_image.items()}
