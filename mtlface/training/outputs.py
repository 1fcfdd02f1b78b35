"""What a finished run leaves to look at: figures and pictures, as files and in TensorBoard."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Trainer
from numpy.typing import NDArray
from omegaconf import DictConfig
from torch.utils.tensorboard import SummaryWriter
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_precision_recall_curve,
    binary_roc,
)

from mtlface.atomic import atomic_write
from mtlface.data.batch import Split
from mtlface.data.datamodule import FaceDataModule
from mtlface.data.schema import Binary, Category, Label, Multilabel, Number
from mtlface.plots import decisions, matrices
from mtlface.plots.panels import sheet
from mtlface.plots.raster import figure_png, pixels_png, png_pixels
from mtlface.plots.training import CurvePanel, training_curves
from mtlface.tasks import Task
from mtlface.training.callbacks import History
from mtlface.training.captions import Columns, prediction_panels, worst
from mtlface.training.dashboard import hparams_of, log_hparams, writer_of
from mtlface.training.evaluation import Evaluation
from mtlface.training.module import MultiTaskModule

log = logging.getLogger(__name__)

PICTURES = 12  # of a sheet
MOST_CLASSES = 40  # of a confusion matrix that can still be read
MOST_CURVES = 8  # colours that can be told apart
MOST_POINTS = 400  # of a curve

Drawing = tuple[str, Callable[[], bytes]]


def show_results(
    cfg: DictConfig,
    folder: Path,
    trainer: Trainer,
    module: MultiTaskModule,
    datamodule: FaceDataModule,
    found: Evaluation,
    result: Mapping[str, Any],
) -> None:
    """Draws what a run has found, as files and in TensorBoard; a failure is a warning, no more.

    Args:
        cfg: The composed config.
        folder: The run folder.
        trainer: After fitting.
        module: The network with its tasks.
        datamodule: Its data.
        found: Its test predictions.
        result: What `result.json` will hold.
    """
    history = next(c for c in trainer.callbacks if isinstance(c, History))  # type: ignore[attr-defined]
    try:
        settings, metrics = hparams_of(cfg, result)
        log_hparams(folder / "tensorboard" / "hparams", settings, metrics)
        if cfg.figures:
            columns = {str(name): values.to_numpy() for name, values in found.predictions.items()}
            split, best_epoch = datamodule.split("test"), result["monitor"]["epoch"]
            tasks = list(module.tasks.values())
            drawings = drawings_of(tasks, columns, split, history.rows, best_epoch)
            write_drawings(folder, drawings, writer_of(trainer), trainer.global_step)
    except Exception as error:
        log.warning("The results in %s could not be drawn: %s", folder, error, exc_info=cfg.debug)


def drawings_of(
    tasks: Sequence[Task[Any]],
    columns: Columns,
    split: Split,
    history: Sequence[Mapping[str, float]],
    best_epoch: int,
) -> list[Drawing]:
    """The figures of a run by the names of their files, not drawn yet.

    They are `training_metrics`, `panels/test`, `panels/test_worst_<task>`, `confusion_<task>` and
    others by kind of label.

    Args:
        tasks: What was learnt.
        columns: The test predictions, as in `test_predictions.csv`, (n,).
        split: The test split.
        history: The rows of `metrics.csv`.
        best_epoch: The epoch, from 0, that validation chose.
    """
    return [
        ("training_metrics", lambda: curves_png(history, tasks, best_epoch)),
        *_pictures(tasks, columns, split),
        *(drawing for task in tasks for drawing in _figures(task, columns)),
    ]


def write_drawings(
    folder: Path, drawings: Iterable[Drawing], writer: SummaryWriter | None, step: int
) -> None:
    """Writes each drawing as `<name>.png` and to TensorBoard; one that fails is left out.

    Args:
        folder: The run folder.
        drawings: Name and how to draw it.
        writer: TensorBoard's, or None.
        step: The optimizer step that they are of.
    """
    for name, draw in drawings:
        try:
            content = draw()
            with atomic_write(folder / f"{name}.png") as file:
                file.write(content)
            if writer is not None:
                tag = name if "/" in name else f"figures/{name}"
                writer.add_image(tag, png_pixels(content), step, dataformats="HWC")
        except Exception as error:
            log.warning("%s/%s.png could not be drawn: %s", folder, name, error)
    if writer is not None:
        writer.flush()


def curves_png(
    history: Sequence[Mapping[str, float]], tasks: Sequence[Task[Any]], best_epoch: int
) -> bytes:
    """`training_metrics.png`: losses and primary metrics by epoch, in training and validation."""

    def values(name: str) -> NDArray[np.float64]:
        return np.array([row.get(name, np.nan) for row in history], dtype=float)

    def panel(title: str, metric: str) -> CurvePanel:
        lines = {split: values(f"{split}/{metric}") for split in ("train", "val")}
        return CurvePanel(title, {k: v for k, v in lines.items() if np.isfinite(v).any()})

    panels = []
    for task in tasks:
        higher = task.directions.get(task.primary)
        arrow = {True: " ↑", False: " ↓", None: ""}[higher]
        panels.append(panel(f"{task.name} loss", f"loss/{task.name}"))
        panels.append(panel(f"{task.name} {task.primary}{arrow}", f"{task.name}/{task.primary}"))
    if len(tasks) > 1:
        panels.append(panel("loss of all tasks", "loss"))
    drawn = [panel for panel in panels if panel.lines]
    return figure_png(training_curves(drawn, values("epoch"), best_epoch))


def _pictures(
    tasks: Sequence[Task[Any]], columns: Columns, split: Split
) -> Iterator[tuple[str, Callable[[], bytes]]]:
    def drawing(rows: NDArray[np.int64], title: str) -> Callable[[], bytes]:
        def draw() -> bytes:
            chosen = {name: np.asarray(values)[rows] for name, values in columns.items()}
            sizes = split.labels_at(rows)["size"].numpy()
            panels = prediction_panels(tasks, chosen, split.images(rows), sizes)
            return pixels_png(sheet(panels, title))

        return draw

    some = np.unique(np.linspace(0, len(split) - 1, PICTURES).astype(int))
    yield "panels/test", drawing(some, "Test pictures")
    for task in tasks:
        if len(rows := worst(task, columns, PICTURES)):
            title = f"Test pictures with the largest {task.name} errors"
            yield f"panels/test_worst_{task.name}", drawing(rows, title)


def _figures(task: Task[Any], columns: Columns) -> Iterator[Drawing]:
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
