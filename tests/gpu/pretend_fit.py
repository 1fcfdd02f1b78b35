"""Trains a composed config on the pretend device, and notes what each step asks of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from lightning import Callback
from pretend_cuda import pretend_cuda

from mtlface.training.build import build_datamodule, build_module, build_trainer
from mtlface.training.callbacks import BestCheckpoint, LastCheckpoint


@dataclass
class Step:
    """What was asked between the start of a step and the start of the next."""

    waits: list[tuple[str, str, str]]
    launches: int


class Watch(Callback):
    """Notes the steps of the second epoch, in which everything is warm."""

    def __init__(self, log):
        self.seen, self.steps, self.on = log, [], False

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self._close()
        self.on = trainer.current_epoch == 1
        self.seen.clear()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx == trainer.num_training_batches - 1:
            self._close()

    def _close(self):
        if self.on:
            self.steps.append(Step(list(self.seen.waits), self.seen.launches.total()))
        self.on = False


def trained_on_the_device(composed, folder, *overrides, validates=False, **device):
    """Two epochs; returns the steps of the second one and the trainer.

    Nothing is written or drawn: what is measured is an ordinary step.
    """
    cfg = composed(
        "experiment=tiny", "backbone=cnn3_bn", "trainer=gpu", "trainer.enable_progress_bar=false",
        "trainer.log_every_n_steps=50", "data.batch_size=4", "scheduler=none", "patience=null",
        *overrides,
    )  # fmt: skip
    with pretend_cuda(**device) as log:
        datamodule = build_datamodule(cfg)
        torch.manual_seed(0)
        module = build_module(cfg, datamodule.table.labels)
        tasks = module.tasks.values()
        datamodule.batch_labels = tuple(dict.fromkeys(n for t in tasks for n in t.batch_labels))
        for task in tasks:
            task.initialise(datamodule.split("train").targets)
        trainer = build_trainer(cfg, folder, module.monitor, 0)
        watch = Watch(log)
        kept = [c for c in trainer.callbacks if not isinstance(c, BestCheckpoint | LastCheckpoint)]
        trainer.callbacks = [watch, *kept]
        if not validates:
            trainer.limit_val_batches = 0
        trainer.fit(module, datamodule)
    return watch.steps, trainer
