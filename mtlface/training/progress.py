"""The callback that tells how far training is: to a listener, or as a progress bar."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar

from mtlface.training import reports
from mtlface.training.clock import Clock
from mtlface.training.module import MultiTaskModule

SECONDS_BETWEEN_REPORTS = 1.0
SECONDS_BETWEEN_REFRESHES = 0.5  # of the bar
MOST_LOSSES = 4  # that a bar has room for, beside their sum


def progress_callbacks(monitor: str, mode: str, bar: bool, clock: Clock) -> list[Callback]:
    """Reports where someone listens; else a bar, for a run that has the terminal for itself.

    Args:
        monitor: The metric that picks the best epoch.
        mode: Whether `min` or `max` of it is best.
        bar: Whether a bar is wanted at all.
        clock: Of the run.
    """
    if (listener := reports.listener()) is not None:
        return [Reports(listener, monitor, mode, clock)]
    return [Bar()] if bar else []


class Bar(TQDMProgressBar):
    """Lightning's bar, moved twice a second: moving it takes longer than a small network's step.

    It shows the epoch's mean losses so far, of each task and in all. They are looked at as seldom
    as other things of a step are logged, for looking waits for the device.
    """

    _moved = 0.0

    def __init__(self) -> None:
        super().__init__(leave=False)
        self._losses: dict[str, str] = {}

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """What stands at the end of the bar: no logger's version, but losses."""
        return {**self._losses}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Moves it now and then, and at the end of the epoch."""
        assert isinstance(pl_module, MultiTaskModule)
        if trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            found = pl_module.train_losses.running()
            parts = found if 1 < len(found) <= MOST_LOSSES else {}
            shown = {"loss": sum(found.values())} | parts
            self._losses = {name: f"{value:.4g}" for name, value in shown.items()}
        if self._is_time(batch_idx, trainer.num_training_batches):
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any,
        batch_idx: int, dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """The same for validation."""
        if self._is_time(batch_idx, trainer.num_val_batches[dataloader_idx]):
            super().on_validation_batch_end(
                trainer, pl_module, outputs, batch, batch_idx, dataloader_idx
            )

    def _is_time(self, batch_idx: int, batches: float) -> bool:
        now = time.monotonic()
        if batch_idx + 1 < batches and now - self._moved < SECONDS_BETWEEN_REFRESHES:
            return False
        self._moved = now
        return True


class Reports(Callback):
    """Tells a listener how far training is, about every second and after every epoch.

    Args:
        listener: Who is told.
        monitor: The metric that picks the best epoch.
        mode: Whether `min` or `max` of it is best.
        clock: Of the run.
    """

    def __init__(self, listener: reports.Listener, monitor: str, mode: str, clock: Clock) -> None:
        self.listener, self.monitor, self.clock = listener, monitor, clock
        self.better = min if mode == "min" else max
        self.value: float | None = None
        self.best: float | None = None
        self._begun = self._told = 0.0
        self._first = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes the time; a resumed run begins at a later epoch."""
        self._begun, self._first = self.clock.fit_s, trainer.current_epoch
        self._tell(trainer, trainer.current_epoch)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tells now and then; no metric is looked at, so no step waits for the device."""
        if time.monotonic() - self._told >= SECONDS_BETWEEN_REPORTS:
            done = (batch_idx + 1) / (int(trainer.num_training_batches) + 1)
            self._tell(trainer, trainer.current_epoch + done)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tells the epoch's monitor."""
        if self.monitor in trainer.callback_metrics:
            self.value = float(trainer.callback_metrics[self.monitor])
            # On resuming, the checkpoint knows the best of the epochs before.
            before = getattr(trainer.checkpoint_callback, "best_model_score", None)
            known = [self.value, *([] if before is None else [float(before)])]
            self.best = self.better([*known, *([] if self.best is None else [self.best])])
        self._tell(trainer, trainer.current_epoch + 1)

    def _tell(self, trainer: Trainer, epoch: float) -> None:
        if not trainer.is_global_zero:
            return
        self._told = time.monotonic()
        epochs, since = int(trainer.max_epochs or 0), epoch - self._first
        spent = self.clock.fit_s - self._begun
        left = spent / since * (epochs - epoch) if since > 0 else None
        progress = reports.Progress(float(epoch), epochs, self.monitor, self.value, self.best, left)
        self.listener.went_on(Path(trainer.default_root_dir), progress)
