"""What TensorBoard shows beside the metrics: pictures, throughput, an overview, the config."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from mtlface.plots.panels import sheet
from mtlface.training.captions import prediction_panels
from mtlface.training.clock import Clock
from mtlface.training.evaluation import task_columns
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
    """Writes the config, the overview, learning rate, throughput and pictures to TensorBoard.

    The pictures come from the validation that takes place anyway, so they cost their drawing only.

    Args:
        config: The resolved config, as YAML.
        log_every_n_steps: Steps between two points of the learning rate.
        clock: Of the run.
        pictures: Whether to show validation pictures with their predictions.
    """

    def __init__(
        self, config: str, log_every_n_steps: int, clock: Clock, pictures: bool = True
    ) -> None:
        self.config, self.log_every, self.pictures = config, log_every_n_steps, pictures
        self.clock = clock
        self._logged = 0  # steps at the last point of the learning rate: one point a step
        self._wanted: dict[int, list[int]] = {}
        self._kept: list[Kept] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes what does not change; a resumed run has it already."""
        assert isinstance(pl_module, MultiTaskModule)
        self._logged = trainer.global_step
        writer = writer_of(trainer)
        if writer is not None and trainer.global_step == 0:
            writer.add_text("config", f"```yaml\n{self.config.rstrip()}\n```", 0)
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
        self._kept, self._wanted = [], {}
        if self.pictures and writer_of(trainer) is not None and _is_turn(trainer):
            data: Any = trainer.datamodule  # type: ignore[attr-defined]
            count = data.table.counts["val"]
            self._wanted = places(count, data.evaluation_batch_size, trainer.world_size)

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

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shows them."""
        assert isinstance(pl_module, MultiTaskModule)
        writer = writer_of(trainer)
        if writer is not None and self._kept:
            title = f"Validation pictures after epoch {trainer.current_epoch}"
            pixels = _draw(pl_module, self._kept, title)
            step = max(trainer.global_step - 1, 0)
            writer.add_image("panels/val", pixels, step, dataformats="HWC")
        self._kept = []

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


def log_hparams(
    folder: Path, settings: Mapping[str, str | float], metrics: Mapping[str, float]
) -> None:
    """Adds a finished run to the HParams tab.

    It is a TensorBoard run of its own: without a list of metrics that one run would have to give
    for all, the tab takes its columns from the scalars in there, and so shows the metrics
    of every arm, also where arms have different tasks.

    Args:
        folder: The folder of the events; replaced.
        settings: What the rows are told apart by.
        metrics: The columns.
    """
    shutil.rmtree(folder, ignore_errors=True)
    with SummaryWriter(str(folder)) as writer:
        _, start, end = hparams(dict(settings), {})  # type: ignore[no-untyped-call]
        writer._get_file_writer().add_summary(start)
        for name, value in metrics.items():
            writer.add_scalar(name, value, 0)
        writer._get_file_writer().add_summary(end)


def hparams_of(
    cfg: DictConfig, result: Mapping[str, Any]
) -> tuple[dict[str, str | float], dict[str, float]]:
    """A run's row of the HParams tab: its settings, and each task's primary test metric.

    Args:
        cfg: The composed config.
        result: What `result.json` holds.
    """
    settings: dict[str, str | float] = {
        "arm": result["arm"],
        "experiment": result["experiment"],
        "data": result["data"],
        "balancing": balancing_name(cfg.balancing),
        "backbone": result["model"]["backbone"],
        "lr": float(OmegaConf.select(cfg, "optimizer.lr", default=float("nan"))),
        "batch_size": int(cfg.data.batch_size),
        "seed": result["seed"],
    }
    wanted = [f"test/{name}/{task['primary']}" for name, task in result["tasks"].items()]
    wanted += [name for name in result["metrics"] if name.startswith("test/score/")]
    metrics = {name: result["metrics"][name] for name in wanted if "@" not in name}
    return settings, {name: value for name, value in metrics.items() if value is not None}


def balancing_name(cfg: DictConfig) -> str:
    """A balancing method in a word, from its config: the innermost class, and the level."""
    inner = [value for value in cfg.values() if isinstance(value, DictConfig)]
    target = next((value for value in [*inner, cfg] if "_target_" in value), cfg)
    name = str(target.get("_target_", "")).rsplit(".", 1)[-1]
    return f"{name}@{cfg.level}" if "level" in cfg else name


def _is_turn(trainer: Trainer) -> bool:
    every = -(-max(int(trainer.max_epochs or 0), 1) // SHEETS)
    return not trainer.sanity_checking and trainer.current_epoch % every == 0


def _draw(module: MultiTaskModule, kept: list[Kept], title: str) -> np.ndarray:
    images = torch.cat([images for images, _, _ in kept]).numpy()
    targets = {name: torch.cat([part[2][name] for part in kept]) for name in kept[0][2]}
    columns: dict[str, np.ndarray] = {}
    for name, task in module.tasks.items():
        output = torch.cat([found[name] for _, found, _ in kept])
        columns |= task_columns(task, output, targets)
    tasks = module.tasks.values()
    return sheet(prediction_panels(tasks, columns, images, targets["size"].numpy()), title)
