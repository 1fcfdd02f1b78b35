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
from mtlface.data.people import REPEATED
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
    module: MultiTaskModule,
    split: Split,
    batch_size: int,
    device: torch.device,
    *,
    evaluating: bool = True,
) -> Predictions:
    """Runs the network over a split in fp32, so that results do not depend on the precision.

    Args:
        module: The network; it is left on `device`, and in eval mode.
        split: The pictures.
        batch_size: Pictures at a time.
        device: Where to run.
        evaluating: Whether to set eval mode; False leaves the layers in the modes they are in.
    """
    module.to(device)
    if evaluating:
        module.eval()
    found: dict[str, list[Tensor]] = {name: [] for name in module.tasks}
    for positions in np.array_split(np.arange(len(split)), -(-len(split) // batch_size)):
        for name, output in module(split.batch(positions)["image"].to(device)).items():
            found[name].append(output.float().cpu())
    return Predictions({name: torch.cat(parts) for name, parts in found.items()}, split.targets)


def constant_predictions(module: MultiTaskModule, train: Split, split: Split) -> Predictions:
    """What predictors that look at no picture say: the majority class, the mean."""
    return _constants(module, train.targets, split.targets)


def _constants(module: MultiTaskModule, train: Batch, targets: Batch) -> Predictions:
    outputs = {
        name: task.constant(train).cpu().expand(len(targets["index"]), -1)
        for name, task in module.tasks.items()
    }
    return Predictions(outputs, targets)


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
        if label.groups:
            codes = label.values(table.frame.iloc[index])
            for code, name in enumerate(label.groups):
                if len(rows := np.flatnonzero(codes == code)):
                    yield f"{label.name}={name}", rows


@dataclass(frozen=True)
class SourceEvaluation:
    """What is measured on the test images of one source.

    Attributes:
        metrics: By `<task>/<metric>`, with `@<column>=<group>` for groups of its images.
        trivial: The same metrics of predictors that look at no image, and know its training split.
    """

    metrics: dict[str, float]
    trivial: dict[str, float]


@dataclass(frozen=True)
class Evaluation:
    """What is measured of a trained network.

    Attributes:
        metrics: By `<split>/<task>/<metric>`, with `@<column>=<group>` for groups of test
            pictures.
        trivial: The same metrics of predictors that look at no picture.
        predictions: The test split's predictions, see `prediction_table`.
        sources: What is measured on the test images of each source, as of a run on it alone.
        held_out: What the network says of the validation split.
        tested: What it says of the test split.
    """

    metrics: dict[str, float]
    trivial: dict[str, float]
    predictions: pd.DataFrame
    sources: dict[str, SourceEvaluation]
    held_out: Predictions
    tested: Predictions


def evaluate(
    module: MultiTaskModule, datamodule: FaceDataModule, device: torch.device
) -> Evaluation:
    """Measures a network on the validation and test splits, each picture once."""
    train, batch_size = datamodule.split("train"), datamodule.evaluation_batch_size
    metrics: dict[str, float] = {}
    trivial: dict[str, float] = {}
    of_splits: dict[str, Predictions] = {}
    for name in ("val", "test"):
        split = datamodule.split(name)
        of_splits[name] = predict_split(module, split, batch_size, device)
        metrics |= _prefixed(name, score(module, of_splits[name]))
        trivial |= _prefixed(name, score(module, constant_predictions(module, train, split)))
    found = of_splits["test"]
    metrics |= _prefixed("test", score_groups(module, found, datamodule.table))
    if datamodule.mix is None:
        whole = SourceEvaluation(_of_test(metrics), _of_test(trivial))
        sources = {datamodule.source_name: whole}
    else:
        sources = {
            name: _on_source(module, found, train, datamodule.table, number)
            for number, name in enumerate(datamodule.sources)
        }
    table = prediction_table(module, found, datamodule.table)
    return Evaluation(metrics, trivial, table, sources, of_splits["val"], found)


def _on_source(
    module: MultiTaskModule, found: Predictions, train: Split, table: FaceTable, number: int
) -> SourceEvaluation:
    """What `found` is worth on one source of a joined table."""
    index = found.targets["index"].numpy()
    source = table.frame["source"].to_numpy()
    rows = np.flatnonzero(source[index] == number)
    metrics = score(module, found, rows)
    for suffix, positions in groups(table, index[rows]):
        if not suffix.startswith("source="):
            scored = score(module, found, rows[positions])
            metrics |= {f"{metric}@{suffix}": value for metric, value in scored.items()}
    known = torch.from_numpy(source[train.rows] == number)
    # Of a source without a weight, no training image is left.
    chosen = known if known.any() else torch.ones_like(known)
    own = {name: values[chosen] for name, values in train.targets.items()}
    trivial = score(module, _constants(module, own, found.targets), rows)
    return SourceEvaluation(_without_labels(metrics), _without_labels(trivial))


def _without_labels(metrics: Mapping[str, float]) -> dict[str, float]:
    """Leaves out the tasks of which a source has no label: none of their metrics is a number."""
    tasks = {key.partition("/")[0] for key, value in metrics.items() if np.isfinite(value)}
    return {key: value for key, value in metrics.items() if key.partition("/")[0] in tasks}


def _of_test(metrics: Mapping[str, float]) -> dict[str, float]:
    return {k.removeprefix("test/"): v for k, v in metrics.items() if k.startswith("test/")}


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
    for name in table.labels:
        label = table.labels.find(name, Category)
        if label is not None and (label.groups or name in REPEATED):
            columns.setdefault(name, label.names(rows))
    return pd.DataFrame(columns)


def task_columns(task: Task[Any], output: Tensor, targets: Batch) -> dict[str, np.ndarray]:
    """A task's predictions, truth and errors in human units, a column each, (N,)."""
    columns = task.columns(output, targets["size"]) | task.truth(targets)
    by_image = {"error": task.error(output, targets)} | task.image_metrics(output, targets)
    return columns | {f"{task.name}/{name}": values.numpy() for name, values in by_image.items()}
