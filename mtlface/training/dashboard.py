"""What loggers show beside the metrics: pictures, curves, throughput, an overview, the config."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import yaml  # type: ignore[import-untyped]
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from mtlface.plots.panels import sheet
from mtlface.tasks import Task
from mtlface.tasks.evidence import Rankings
from mtlface.training.captions import prediction_panels
from mtlface.training.clock import Clock
from mtlface.training.evaluation import task_columns
from mtlface.training.loggers import image_loggers, show_config, show_image
from mtlface.training.module import MultiTaskModule

PICTURES = 8  # of the validation split, always the same
SHEETS = 10  # about how often in a training they are shown: as many as TensorBoard keeps

Kept = tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]


def writer_of(trainer: Trainer) -> SummaryWriter | None:
    """TensorBoard's writer, on the first rank of a run that has one."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger) and trainer.is_global_zero:
            writer: SummaryWriter = logger.experiment
            return writer
    return None


class Dashboard(Callback):
    """Logs config, learning rate, throughput and pictures; to TensorBoard an overview and curves.

    Pictures and precision-recall curves come from the validation that takes place anyway, so they
    cost their drawing only. With several ranks none sees all of it, and there are no curves of it.

    Args:
        config: The resolved config, as YAML.
        log_every_n_steps: Steps between two points of the learning rate.
        clock: Of the run.
        pictures: Whether to show validation pictures with their predictions, and curves.
    """

    def __init__(
        self, config: str, log_every_n_steps: int, clock: Clock, pictures: bool = True
    ) -> None:
        self.config, self.log_every, self.pictures = config, log_every_n_steps, pictures
        self.clock = clock
        self._logged = 0  # steps at the last point of the learning rate: one point a step
        self._wanted: dict[int, list[int]] = {}
        self._kept: list[Kept] = []
        self._ranking: list[str] = []  # tasks whose curves are wanted of this validation
        self._ranked: list[tuple[dict[str, Tensor], dict[str, Tensor]]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes what does not change; a resumed run has it already."""
        assert isinstance(pl_module, MultiTaskModule)
        self._logged = trainer.global_step
        settings = yaml.safe_load(self.config)
        settings.pop("logger", None)
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                show_config(logger, self.config, settings, trainer.global_step > 0)
        writer = writer_of(trainer)
        if writer is not None and trainer.global_step == 0:
            writer.add_custom_scalars(overview(pl_module))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Logs the learning rate now and then."""
        if trainer.global_step > self._logged and trainer.global_step % self.log_every == 0:
            self._log(trainer, learning_rates(trainer))
            self._logged = trainer.global_step

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Chooses whose predictions to keep."""
        assert isinstance(pl_module, MultiTaskModule)
        self._kept, self._wanted, self._ranked, self._ranking = [], {}, [], []
        if not (self.pictures and _is_turn(trainer)):
            return
        if image_loggers(trainer):
            data: Any = trainer.datamodule  # type: ignore[attr-defined]
            count = data.table.counts["val"]
            self._wanted = places(count, data.evaluation_batch_size, trainer.world_size)
        if writer_of(trainer) is not None and trainer.world_size == 1:
            self._ranking = [name for name, task in pl_module.tasks.items() if task.yes_no]

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any,
        batch_idx: int, dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Keeps the chosen rows."""
        if rows := self._wanted.get(batch_idx):
            images = batch["image"][rows].permute(0, 2, 3, 1).cpu()
            found = {name: output[rows].float().cpu() for name, output in outputs.items()}
            targets = {name: v[rows].cpu() for name, v in batch.items() if name != "image"}
            self._kept.append((images, found, targets))
        if self._ranking:
            found = {name: outputs[name].float().cpu() for name in self._ranking}
            targets = {name: v.cpu() for name, v in batch.items() if name != "image"}
            self._ranked.append((found, targets))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shows them."""
        assert isinstance(pl_module, MultiTaskModule)
        step = max(trainer.global_step - 1, 0)
        if self._kept:
            title = f"Validation pictures after epoch {trainer.current_epoch}"
            pixels = _draw(pl_module, self._kept, title)
            for logger in image_loggers(trainer):
                show_image(logger, "panels/val", pixels, step)
        writer = writer_of(trainer)
        if writer is not None and self._ranked:
            tasks = [pl_module.tasks[name] for name in self._ranking]
            columns, _ = _columns(tasks, self._ranked)
            for task in tasks:
                add_pr_curves(writer, "val", task, columns, step)
        self._kept, self._ranked = [], []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the epoch's throughput and learning rate."""
        rate = self.clock.epoch_images / self.clock.epoch_s
        rates = learning_rates(trainer) if trainer.global_step > self._logged else {}
        self._log(trainer, {"run/pictures_per_s": rate} | rates)

    def _log(self, trainer: Trainer, found: Mapping[str, float]) -> None:
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.log_metrics(dict(found), step=trainer.global_step - 1)


def learning_rates(trainer: Trainer) -> dict[str, float]:
    """The optimizer's learning rate; with several parameter groups, those that differ too."""
    rates = [float(group["lr"]) for group in trainer.optimizers[0].param_groups]
    others = {f"run/lr_{i}": rate for i, rate in enumerate(rates) if rate != rates[0]}
    return {"run/lr": rates[0]} | others


def overview(module: MultiTaskModule) -> dict[str, dict[str, list[Any]]]:
    """The layout of the custom scalars tab: losses, what decides, balancing, the run."""

    def lines(*tags: str) -> list[Any]:
        return ["Multiline", [f"^{tag}$" for tag in tags]]

    many = len(module.tasks) > 1
    losses = {"loss": lines("train/loss", "val/loss")}
    for name in module.tasks if many else ():
        own = re.escape(name)
        losses[f"loss of {name}"] = lines(f"train/loss/{own}", f"val/loss/{own}")
    decides = {
        f"{name} {task.primary}": lines(f"val/{re.escape(name)}/{re.escape(task.primary)}")
        for name, task in module.tasks.items()
    }
    shown = {"losses": losses, "validation, primary metrics": decides}
    if many or len(module.loss_names) > 1:
        shown["balancing"] = {
            "weights": lines("balance/weight.*"),
            "gradient norms": lines("balance/norm.*"),
            "gradient cosines": lines("balance/cosine.*"),
            "share of conflicting steps": lines("balance/conflict.*"),
        }
    shown["run"] = {
        "learning rate": lines("run/lr.*"),
        "pictures per second": lines("run/pictures_per_s"),
    }
    return shown


def places(count: int, batch_size: int, world: int) -> dict[int, list[int]]:
    """Batch → rows of the first rank that hold a fixed choice from all over a split.

    Args:
        count: Pictures in the split.
        batch_size: Pictures in a batch, over all ranks.
        world: How many ranks share a batch, every one taking each `world`-th picture.
    """
    found: dict[int, list[int]] = {}
    for position in np.unique(np.linspace(0, count - 1, PICTURES).astype(int)).tolist():
        batch, row = divmod(position, batch_size)
        rows = found.setdefault(batch, [])
        if row // world not in rows:
            rows.append(row // world)
    return found


def log_hparams(writer: SummaryWriter, settings: Mapping[str, str | float]) -> None:
    """Adds a finished run to the HParams tab, in the run's own event file.

    It gives no list of metrics: TensorBoard would take that of one run for all, and arms have
    different tasks. Without one the tab has a column for every scalar of every run.

    Args:
        writer: Of the run.
        settings: What the rows are told apart by.
    """
    _, start, end = hparams(dict(settings), {})  # type: ignore[no-untyped-call]
    file: Any = writer._get_file_writer()  # type: ignore[no-untyped-call]
    file.add_summary(start)
    file.add_summary(end)


def hparams_of(
    cfg: DictConfig, result: Mapping[str, Any], choices: Mapping[str, Any]
) -> dict[str, str | float]:
    """A run's row of the HParams tab: what was chosen, by the names of the config groups' options.

    Args:
        cfg: The composed config.
        result: What `result.json` holds.
        choices: Hydra's, by group; without them parts go by the names of their classes.
    """

    def chosen(group: str, section: str) -> str:
        name = choices.get(group)
        return str(name) if isinstance(name, str) else target_name(cfg.get(section))

    level = cfg.balancing.get("level")
    return {
        "arm": result["arm"],
        "data": result["data"],
        "tasks": "+".join(cfg.tasks),
        "balancing": chosen("balancing", "balancing") + (f"@{level}" if level else ""),
        "optimizer": chosen("optimizer", "optimizer"),
        "schedule": chosen("scheduler", "schedule"),
        "augmentation": chosen("augment", "augment"),
        "backbone": result["model"]["backbone"],
        "lr": float(OmegaConf.select(cfg, "optimizer.lr", default=float("nan"))),
        "batch_size": int(cfg.data.batch_size),
        "seed": result["seed"],
    }


def target_name(section: Any) -> str:
    """A part in a word, from its config: the innermost class that it names; `none` for no part."""
    if not isinstance(section, Mapping | DictConfig):
        return "none"
    inner = [value for value in section.values() if isinstance(value, DictConfig)]
    target = next((value for value in [*inner, section] if "_target_" in value), section)
    return str(target.get("_target_", "none")).rsplit(".", 1)[-1]


def add_pr_curves(
    writer: SummaryWriter, split: str, task: Task[Any], columns: Mapping[str, np.ndarray], step: int
) -> None:
    """Adds the precision-recall curve of every yes/no question that a task answers.

    A question whose answer is always the same on this split has none.

    Args:
        writer: TensorBoard's.
        split: `val` or `test`.
        task: Whose.
        columns: Predictions and truth, as in `test_predictions.csv`, (n,).
        step: The optimizer step that they are of.
    """
    for evidence in task.evidence(columns):
        if isinstance(evidence, Rankings):
            for line, (scores, positive) in evidence.scores.items():
                if positive.any() and not positive.all():
                    own = f"/{line}" if len(evidence.scores) > 1 else ""
                    writer.add_pr_curve(f"{split}/{task.name}{own}", positive, scores, step)


def _is_turn(trainer: Trainer) -> bool:
    every = -(-max(int(trainer.max_epochs or 0), 1) // SHEETS)
    return not trainer.sanity_checking and trainer.current_epoch % every == 0


def _draw(module: MultiTaskModule, kept: list[Kept], title: str) -> np.ndarray:
    images = torch.cat([images for images, _, _ in kept]).numpy()
    tasks = module.tasks.values()
    columns, targets = _columns(tasks, [kept[1:] for kept in kept])
    return sheet(prediction_panels(tasks, columns, images, targets["size"].numpy()), title)


def _columns(
    tasks: Iterable[Task[Any]], kept: Sequence[tuple[dict[str, Tensor], dict[str, Tensor]]]
) -> tuple[dict[str, np.ndarray], dict[str, Tensor]]:
    """Predictions and truth of the rows of some batches, and their targets."""
    targets = {name: torch.cat([part[1][name] for part in kept]) for name in kept[0][1]}
    columns: dict[str, np.ndarray] = {}
    for task in tasks:
        output = torch.cat([found[task.name] for found, _ in kept])
        columns |= task_columns(task, output, targets)
    return columns, targets
