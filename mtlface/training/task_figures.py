"""Figures of what a task predicted, by the kind of its label."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_precision_recall_curve,
    binary_roc,
)

from mtlface.data.schema import Binary, Category, Label, Multilabel, Number
from mtlface.plots import decisions, matrices
from mtlface.plots.raster import figure_png
from mtlface.tasks import Task
from mtlface.training.captions import Columns

MOST_CLASSES = 40  # of a confusion matrix that can still be read
MOST_CURVES = 8  # colours that can be told apart
MOST_POINTS = 400  # of a curve

Drawing = tuple[str, Callable[[], bytes]]


def task_figures(task: Task[Any], columns: Columns) -> Iterator[Drawing]:
    """The figures of a task by the names of their files, not drawn yet; none for some labels.

    They are `confusion_<task>`, `roc_<task>` and `agreement_<task>`, by kind of label.

    Args:
        task: What was learnt.
        columns: The test predictions, as in `test_predictions.csv`, (n,).
    """
    draw = FIGURES.get(type(task.label))
    return iter(()) if draw is None else draw(task, columns)


def _binary_figures(task: Task[Any], columns: Columns) -> Iterator[Drawing]:
    name, classes = task.label.name, task.label.classes
    yield from _class_figures(task, columns)
    truth = columns[f"{name}_true"]
    known = np.isin(truth, classes)
    positive = np.asarray(truth)[known] == classes[1]
    curve = decision(np.asarray(columns[f"{name}_probability"])[known], positive)
    if curve is not None:
        title = f"{task.name} on the test split (n = {known.sum():,})"
        shown = {f"{classes[1]} against {classes[0]}": curve}
        yield f"roc_{task.name}", lambda: figure_png(decisions.roc_and_precision(shown, title))


def _class_figures(task: Task[Any], columns: Columns) -> Iterator[Drawing]:
    name, classes = task.label.name, list(task.label.classes)
    if len(classes) > MOST_CLASSES:
        return
    codes = {c: i for i, c in enumerate(classes)}
    pairs = zip(columns[f"{name}_true"], columns[name], strict=True)
    counts = np.zeros((len(classes), len(classes)))
    for truth, found in pairs:
        if truth in codes:
            counts[codes[truth], codes[found]] += 1
    if counts.any():
        title = f"{task.name} on the test split (n = {counts.sum():,.0f})"
        yield (
            f"confusion_{task.name}",
            lambda: figure_png(matrices.confusion_matrix(classes, counts, title)),
        )


def _attribute_figures(task: Task[Any], columns: Columns) -> Iterator[Drawing]:
    names = list(task.label.names)
    truth = np.stack([np.asarray(columns[f"{n}_true"], dtype=float) for n in names])
    found = np.stack([np.asarray(columns[n]) == 1 for n in names])
    known = np.isfinite(truth)
    has = truth == 1
    parts = {
        "has it, found": has & found,
        "has it, missed": has & ~found,
        "has it not, false alarm": known & ~has & found,
        "has it not, right": known & ~has & ~found,
    }
    total = np.maximum(known.sum(axis=1), 1)
    shares = {outcome: (hits & known).sum(axis=1) / total for outcome, hits in parts.items()}
    title = f"{task.name} on the test split (n = {truth.shape[1]:,})"
    yield f"confusion_{task.name}", lambda: figure_png(decisions.outcome_bars(names, shares, title))
    curves = {}
    for k, name in enumerate(names):
        scores = np.asarray(columns[f"{name}_probability"], dtype=float)[known[k]]
        if (curve := decision(scores, has[k][known[k]])) is not None:
            curves[name] = curve
    if curves:
        hardest = sorted(curves, key=lambda name: curves[name].auroc)[:MOST_CURVES]
        shown = {name: curve for name, curve in curves.items() if name in hardest}
        more = f", the {MOST_CURVES} hardest of {len(curves)}" if len(curves) > MOST_CURVES else ""
        heading = f"{title}{more}"
        yield f"roc_{task.name}", lambda: figure_png(decisions.roc_and_precision(shown, heading))


def _number_figures(task: Task[Any], columns: Columns) -> Iterator[Drawing]:
    truth = np.asarray(columns[f"{task.label.name}_true"], dtype=float)
    found = np.asarray(columns[task.label.name], dtype=float)
    if np.isfinite(truth).any():
        title = f"{task.name} on the test split"
        yield (
            f"agreement_{task.name}",
            lambda: figure_png(decisions.agreement(truth, found, title, task.label.unit)),
        )


def decision(scores: NDArray[Any], positive: NDArray[np.bool_]) -> decisions.Decision | None:
    """ROC and precision-recall curves, or None where there is one class only.

    Args:
        scores: Probabilities of the positive class, (n,).
        positive: The truth, (n,).
    """
    if not positive.any() or positive.all():
        return None
    found = torch.from_numpy(np.ascontiguousarray(scores, dtype=np.float64))
    target = torch.from_numpy(np.ascontiguousarray(positive, dtype=np.int64))
    fpr, tpr, _ = binary_roc(found, target)
    precision, recall, _ = binary_precision_recall_curve(found, target)
    return decisions.Decision(
        fpr=_thinned(fpr),
        tpr=_thinned(tpr),
        recall=_thinned(recall.flip(0)),
        precision=_thinned(precision.flip(0)),
        auroc=float(binary_auroc(found, target)),
        positives=float(positive.mean()),
    )


def _thinned(values: torch.Tensor) -> NDArray[np.float64]:
    kept = np.unique(np.linspace(0, len(values) - 1, MOST_POINTS).astype(int))
    thinned: NDArray[np.float64] = values.numpy()[kept].astype(np.float64)
    return thinned


FIGURES: dict[type[Label], Callable[[Task[Any], Columns], Iterator[Drawing]]] = {
    Binary: _binary_figures,
    Category: _class_figures,
    Multilabel: _attribute_figures,
    Number: _number_figures,
}
