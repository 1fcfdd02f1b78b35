"""What a finished run leaves to look at: figures and pictures, as files and in its loggers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hydra.core.hydra_config import HydraConfig
from lightning import Trainer
from lightning.pytorch.loggers import Logger
from numpy.typing import NDArray
from omegaconf import DictConfig

from mtlface.atomic import atomic_write
from mtlface.data.batch import Split
from mtlface.data.datamodule import FaceDataModule
from mtlface.plots.panels import sheet
from mtlface.plots.raster import figure_png, pixels_png, png_pixels
from mtlface.plots.training import CurvePanel, training_curves
from mtlface.tasks import Task
from mtlface.training.callbacks import History
from mtlface.training.captions import Columns, prediction_panels, worst
from mtlface.training.dashboard import add_pr_curves, hparams_of, log_hparams, writer_of
from mtlface.training.evaluation import Evaluation
from mtlface.training.loggers import image_loggers, show_image
from mtlface.training.module import MultiTaskModule
from mtlface.training.task_figures import Drawing, task_figures

log = logging.getLogger(__name__)

PICTURES = 12  # of a sheet


def show_results(
    cfg: DictConfig,
    folder: Path,
    trainer: Trainer,
    module: MultiTaskModule,
    datamodule: FaceDataModule,
    found: Evaluation,
    result: Mapping[str, Any],
) -> None:
    """Draws what a run has found, as files and in its loggers; a failure is a warning, no more.

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
        writer = writer_of(trainer)
        if writer is not None:
            choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
            log_hparams(writer, hparams_of(cfg, result, choices))
        if cfg.figures:
            columns = {str(name): values.to_numpy() for name, values in found.predictions.items()}
            split, best_epoch = datamodule.split("test"), result["selection"]["epoch"]
            tasks = list(module.tasks.values())
            drawings = drawings_of(tasks, columns, split, history.rows, best_epoch)
            write_drawings(folder, drawings, image_loggers(trainer), trainer.global_step)
            if writer is not None:
                for task in tasks:
                    add_pr_curves(writer, "test", task, columns, trainer.global_step)
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
        *(drawing for task in tasks for drawing in task_figures(task, columns)),
    ]


def write_drawings(
    folder: Path, drawings: Iterable[Drawing], loggers: Sequence[Logger], step: int
) -> None:
    """Writes each drawing as `<name>.png` and to the loggers; one that fails is left out.

    Args:
        folder: The run folder.
        drawings: Name and how to draw it.
        loggers: Those that take images.
        step: The optimizer step that they are of.
    """
    for name, draw in drawings:
        try:
            content = draw()
            with atomic_write(folder / f"{name}.png") as file:
                file.write(content)
            tag = name if "/" in name else f"figures/{name}"
            for logger in loggers:
                show_image(logger, tag, png_pixels(content), step)
        except Exception as error:
            log.warning("%s/%s.png could not be drawn: %s", folder, name, error)


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
