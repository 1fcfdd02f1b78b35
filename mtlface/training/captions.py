"""Predictions as people look at them: images with points drawn and words below."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtlface.plots.panels import Caption, Panel
from mtlface.tasks import Task

Columns = Mapping[str, NDArray[Any]]


def prediction_panels(
    tasks: Iterable[Task[Any]], columns: Columns, images: NDArray[np.uint8], sizes: NDArray[Any]
) -> list[Panel]:
    """A panel for each image, with what every task says of it.

    Args:
        tasks: Whose predictions are shown.
        columns: Predictions, truth and errors in human units, as in `test_predictions.csv`, (n,).
        images: uint8 (n, H, W, 3), in the working size.
        sizes: (width, height) of each image on disk, (n, 2).
    """
    listed, panels = list(tasks), []
    for i, (image, size) in enumerate(zip(images, sizes, strict=True)):
        row = {name: values[i] for name, values in columns.items()}
        remarks = [remark for task in listed for remark in task.remarks(row)]
        panels.append(
            Panel(
                image,
                float(size[0] / size[1]),
                [Caption(remark.text, remark.right) for remark in remarks],
                _shares([task.true_points(row) for task in listed], size),
                _shares([task.prediction(row).points for task in listed], size),
            )
        )
    return panels


def worst(task: Task[Any], columns: Columns, count: int) -> NDArray[np.int64]:
    """The rows with the largest errors, surest first among equals; without unlabelled ones."""
    error = np.nan_to_num(np.asarray(columns[f"{task.name}/error"], dtype=float), nan=-1.0)
    rows = np.flatnonzero(error > 0)
    if len(rows) > count:  # of these alone the probability decides
        rows = rows[error[rows] >= np.partition(error[rows], -count)[-count]]
    said = {name: columns[name][rows] for name in task.prediction_columns}
    sure = [
        task.prediction({name: values[i] for name, values in said.items()}).probability or 0.0
        for i in range(len(rows))
    ]
    order = np.lexsort((-np.array(sure), -error[rows]))
    found: NDArray[np.int64] = rows[order][:count]
    return found


def _shares(points: Iterable[NDArray[Any] | None], size: NDArray[Any]) -> NDArray[Any] | None:
    """All points as shares of the image, (K, 2); None where no task has any."""
    drawn = [some for some in points if some is not None]
    return (np.concatenate(drawn) + 0.5) / np.asarray(size, dtype=float) if drawn else None
