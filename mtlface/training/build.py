"""From a resolved config to objects."""

from __future__ import annotations

import inspect
import logging
from pathlib import Path
from typing import Any

import torch
from hydra.utils import get_class, instantiate
from lightning import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig, OmegaConf

from mtlface.data.datamodule import FaceDataModule
from mtlface.data.schema import Labels
from mtlface.errors import MtlfaceError
from mtlface.tasks.task import Task, require_label
from mtlface.training.callbacks import (
    EpochSeed,
    Finetuning,
    History,
    LastCheckpoint,
    StopOnBadLoss,
)
from mtlface.training.checkpoint import AtomicCheckpointIO
from mtlface.training.module import MultiTaskModule

log = logging.getLogger(__name__)


def build_datamodule(cfg: DictConfig) -> FaceDataModule:
    """The data module; keys of `data` that it does not know are quoted by the reader's settings."""
    known = inspect.signature(FaceDataModule).parameters
    settings: Any = OmegaConf.to_container(cfg.data, resolve=True)
    built = {
        "reader": instantiate(cfg.data.reader),
        "augment": instantiate(cfg.augment),
        "seed": cfg.seed,
    }
    return FaceDataModule(**{k: v for k, v in settings.items() if k in known} | built)


def check_tasks(cfg: DictConfig, labels: Labels) -> None:
    """Checks that the data will have what the tasks learn, before anything is read.

    Raises:
        MtlfaceError: There are no tasks, or a task's label is not there or of another kind.
    """
    if not cfg.tasks:
        raise MtlfaceError(
            "No task is chosen. Take an experiment (experiment=celeba_landmarks_gender), or name "
            "tasks: task=[gender,landmarks]. python -m mtlface.train --help lists both."
        )
    for name, task in cfg.tasks.items():
        kind: type[Task[Any]] = get_class(task._target_)
        require_label(labels, task.label, name, kind.label_type)


def build_module(cfg: DictConfig, labels: Labels) -> MultiTaskModule:
    """The network with its tasks, balancer, optimizer and schedule; needs no data."""
    frame = (int(cfg.data.image_size[0]), int(cfg.data.image_size[1]))
    backbone = instantiate(cfg.backbone)
    # Partial first: as arguments of instantiate, objects would be turned into configs.
    tasks = [
        instantiate(task, _partial_=True)(
            name=name, labels=labels, in_features=backbone.features, frame=frame
        )
        for name, task in cfg.tasks.items()
    ]
    names = [name for task in tasks for name in task.loss_names]
    return MultiTaskModule(
        backbone,
        tasks,
        balancer=instantiate(cfg.balancing, _partial_=True)(tasks=names),
        optimizer=instantiate(cfg.optimizer),
        schedule=instantiate(cfg.schedule),
        monitor=cfg.monitor.name,
        scores=instantiate(cfg.scores),
    )


def build_trainer(cfg: DictConfig, folder: Path, purge_step: int | None) -> Trainer:
    """The trainer with its callbacks and logger.

    Args:
        cfg: The resolved config.
        folder: The run folder.
        purge_step: On resuming, the step from which on TensorBoard forgets what it has seen.

    Raises:
        MtlfaceError: The accelerator asked for is not there.
    """
    checkpoints = folder / "checkpoints"
    best = ModelCheckpoint(
        dirpath=checkpoints,
        filename="best",
        monitor=cfg.monitor.name,
        mode=cfg.monitor.mode,
        save_weights_only=True,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    callbacks = [
        EpochSeed(cfg.seed),
        Finetuning(**cfg.finetune),
        History(folder / "metrics.csv"),
        StopOnBadLoss(every=cfg.trainer.log_every_n_steps),
        TQDMProgressBar(leave=False),
        best,
        LastCheckpoint(checkpoints / "last.ckpt"),
    ]
    if cfg.patience is not None:
        callbacks.append(
            EarlyStopping(
                cfg.monitor.name,
                mode=cfg.monitor.mode,
                patience=cfg.patience,
                check_on_train_epoch_end=True,
            )
        )
    logger = TensorBoardLogger(folder, name="", version="tensorboard", purge_step=purge_step)
    settings: dict[str, Any] = dict(cfg.trainer)
    settings["precision"] = choose_precision(settings["precision"], settings["accelerator"])
    try:
        trainer: Trainer = instantiate(
            settings,
            callbacks=callbacks,
            logger=logger,
            plugins=[AtomicCheckpointIO()],
            default_root_dir=str(folder),
        )
    except Exception as error:
        if "accelerator" not in str(error).lower() and "device" not in str(error).lower():
            raise
        raise MtlfaceError(
            f"trainer.accelerator={cfg.trainer.accelerator} with trainer.devices="
            f"{cfg.trainer.devices} is not to be had here: {error} Take trainer=auto or "
            "trainer=cpu."
        ) from error
    return trainer


def choose_precision(precision: str, accelerator: str) -> str:
    """`auto` is bf16 autocast on a GPU that has it, and fp32 elsewhere."""
    if precision != "auto":
        return precision
    gpu = accelerator in {"auto", "gpu", "cuda"} and torch.cuda.is_available()
    return "bf16-mixed" if gpu and torch.cuda.is_bf16_supported() else "32-true"
