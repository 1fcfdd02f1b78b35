"""Figures of what a task predicted, drawn from the plain arrays that the task gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import singledispatch
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_precision_recall_curve,
    binary_roc,
)

from mtlface.plots import decisions, matrices
from mtlface.plots.raster import figure_png
from mtlface.tasks import Task
from mtlface.tasks.evidence import Agreement, Confusion, Outcomes, Rankings
from mtlface.training.captions import Columns

MOST_CLASSES = 40  # of a confusion matrix that can still be read
MOST_CURVES = 8  # colours that can be told apart
MOST_POINTS = 400  # of a curve

Drawing = tuple[str, Callable[[], bytes]]
Drawn = tuple[str, Callable[[], Figure]]


def task_figures(task: Task[Any], columns: Columns) -> Iterator[Drawing]:
    """The figures of a task by the names of their files, not drawn yet; some have none.

    They are `confusion_<task>`, `roc_<task>` and `agreement_<task>`, by what the task can show.

    Args:
        task: What was learnt.
        columns: The test predictions, as in `test_predictions.csv`, (n,).
    """
    for evidence in task.evidence(columns):
        if (found := figure_of(evidence, f"{task.name} on the test split")) is not None:
            kind, draw = found
            yield f"{kind}_{task.name}", lambda draw=draw: figure_png(draw())  # type: ignore[misc]


@singledispatch
def figure_of(evidence: object, title: str) -> Drawn | None:
    """The kind of a figure and how to draw it; None where there is nothing to see.

    Args:
        evidence: What `Task.evidence` gives; another kind is added with `figure_of.register`.
        title: Of the figure.
    """
    raise TypeError(f"No figure shows {type(evidence).__name__}.")


@figure_of.register
def _(evidence: Confusion, title: str) -> Drawn | None:
    classes, counts = list(evidence.classes), evidence.counts
    if len(classes) > MOST_CLASSES:
        return None
    heading = f"{title} (n = {counts.sum():,.0f})"
    return "confusion", lambda: matrices.confusion_matrix(classes, counts, heading)


@figure_of.register
def _(evidence: Outcomes, title: str) -> Drawn | None:
    known, has, found = np.isfinite(evidence.truth), evidence.truth == 1, evidence.found
    parts = {
        "has it, found": has & found,
        "has it, missed": has & ~found,
        "has it not, false alarm": known & ~has & found,
        "has it not, right": known & ~has & ~found,
    }
    total = np.maximum(known.sum(axis=1), 1)
    shares = {outcome: (hits & known).sum(axis=1) / total for outcome, hits in parts.items()}
    heading = f"{title} (n = {known.shape[1]:,})"
    return "confusion", lambda: decisions.outcome_bars(evidence.names, shares, heading)


@figure_of.register
def _(evidence: Rankings, title: str) -> Drawn | None:
    curves = {
        name: curve
        for name, (scores, positive) in evidence.scores.items()
        if (curve := decision(scores, positive)) is not None
    }
    if not curves:
        return None
    hardest = sorted(curves, key=lambda name: curves[name].auroc)[:MOST_CURVES]
    shown = {name: curve for name, curve in curves.items() if name in hardest}
    more = f", the {MOST_CURVES} hardest of {len(curves)}" if len(curves) > MOST_CURVES else ""
    heading = f"{title} (n = {evidence.images:,}){more}"
    return "roc", lambda: decisions.roc_and_precision(shown, heading)


@figure_of.register
def _(evidence: Agreement, title: str) -> Drawn | None:
    truth, found, unit = evidence.truth, evidence.found, evidence.unit
    return "agreement", lambda: decisions.agreement(truth, found, title, unit)


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
