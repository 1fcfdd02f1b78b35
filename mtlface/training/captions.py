"""Predictions as people look at them: pictures with points drawn and words below."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtlface.data.schema import Binary, Category, Label, Multilabel, Number, Points
from mtlface.plots.panels import Caption, Panel
from mtlface.tasks import Task

Columns = Mapping[str, NDArray[Any]]
NAMED = 2  # lines for wrong attributes: what they are in truth


def prediction_panels(
    tasks: Iterable[Task[Any]], columns: Columns, images: NDArray[np.uint8], sizes: NDArray[Any]
) -> list[Panel]:
    """A panel a picture, with what every task says of it.

    Args:
        tasks: Whose predictions are shown.
        columns: Predictions, truth and errors in human units, as in `test_predictions.csv`, (n,).
        images: uint8 (n, H, W, 3), in the working frame.
        sizes: (width, height) of each picture as it lies on disk, (n, 2).
    """
    listed = list(tasks)
    truths = _points(listed, columns, sizes, "_true")
    founds = _points(listed, columns, sizes, "")
    return [
        Panel(
            image,
            float(size[0] / size[1]),
            [
                line
                for task in listed
                for line in _captions(task, {n: values[i] for n, values in columns.items()})
            ],
            None if truths is None else truths[i],
            None if founds is None else founds[i],
        )
        for i, (image, size) in enumerate(zip(images, sizes, strict=True))
    ]


def worst(task: Task[Any], columns: Columns, count: int) -> NDArray[np.int64]:
    """The rows with the largest errors, surest first among equals; without unlabelled ones."""
    error = np.asarray(columns[f"{task.name}/error"], dtype=float)
    sure = np.zeros(len(error))
    if (probability := columns.get(f"{task.label.name}_probability")) is not None:
        sure = np.abs(np.asarray(probability, dtype=float) - 0.5)
    order = np.lexsort((-sure, -np.nan_to_num(error, nan=-1.0)))
    return order[error[order] > 0][:count]


def _points(
    tasks: Sequence[Task[Any]], columns: Columns, sizes: NDArray[Any], suffix: str
) -> NDArray[np.float64] | None:
    """All points of all tasks as shares of the picture, (n, K, 2), or None if there are none."""
    names = [c for task in tasks if isinstance(task.label, Points) for c in task.label.columns]
    if not names:
        return None
    flat = np.stack([np.asarray(columns[f"{c}{suffix}"], dtype=float) for c in names], axis=1)
    pixels = flat.reshape(len(flat), -1, 2)
    shares: NDArray[np.float64] = (pixels + 0.5) / np.asarray(sizes, dtype=float)[:, None]
    return shares


def _captions(task: Task[Any], row: Mapping[str, Any]) -> list[Caption]:
    return CAPTIONS[type(task.label)](task, row)


def _class_captions(task: Task[Any], row: Mapping[str, Any]) -> list[Caption]:
    name = task.label.name
    found, truth = str(row[name]), row[f"{name}_true"]
    text = found
    if (probability := row.get(f"{name}_probability")) is not None:
        positive = not isinstance(task.label, Binary) or found == task.label.classes[1]
        text = f"{found} {probability if positive else 1 - probability:.0%}"
    if not isinstance(truth, str) or not truth:
        return [Caption(text)]
    return [Caption(text if truth == found else f"{text}, is {truth}", truth == found)]


def _number_captions(task: Task[Any], row: Mapping[str, Any]) -> list[Caption]:
    name, truth = task.label.name, float(row[f"{task.label.name}_true"])
    known = "" if np.isnan(truth) else f", is {truth:.0f}"
    return [Caption(f"{name} {float(row[name]):.0f}{known}")]


def _attributes_captions(task: Task[Any], row: Mapping[str, Any]) -> list[Caption]:
    known = [n for n in task.label.names if np.isfinite(float(row[f"{n}_true"]))]
    wrong = [n for n in known if int(row[n]) != int(row[f"{n}_true"])]
    named, more = wrong[:NAMED], len(wrong) - NAMED
    if more > 0:
        named = [*wrong[: NAMED - 1], f"{more + 1} more"]
    text = f"{len(known) - len(wrong)}/{len(known)} {task.name}"
    said = Caption(text, not wrong if known else None)
    return [said, *(Caption(f"not {name}" if name in row and row[f"{name}_true"] == 0 else name)
                    for name in named)]  # fmt: skip


def _points_captions(task: Task[Any], row: Mapping[str, Any]) -> list[Caption]:
    error = float(row[f"{task.name}/error"])
    return [Caption(task.name if np.isnan(error) else f"{task.name} error {error:.1%}")]


CAPTIONS: dict[type[Label], Callable[[Task[Any], Mapping[str, Any]], list[Caption]]] = {
    Binary: _class_captions,
    Category: _class_captions,
    Number: _number_captions,
    Multilabel: _attributes_captions,
    Points: _points_captions,
}
