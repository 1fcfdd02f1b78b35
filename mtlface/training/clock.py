"""The one clock of a run, for `result.json`, TensorBoard and the console."""

from __future__ import annotations

import time
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer


class Clock(Callback):
    """Counts images and seconds of training, apart from validation, drawing and checkpoints.

    It belongs behind the other callbacks: what they do at the start of an epoch is then over. On a
    GPU it waits at the end of an epoch's training until the device has done it.

    Attributes:
        images: Training images seen, over all ranks.
        training_s: Seconds of training steps, with the loading of their batches.
        epoch_images: Images of this epoch so far.
    """

    def __init__(self) -> None:
        self.images = self.epoch_images = 0
        self.training_s = self._epoch_s = self._fit_s = 0.0
        self._mark: float | None = None
        self._running: float | None = None

    @property
    def fit_s(self) -> float:
        """Seconds of fitting so far, whatever they went into; finished epochs of a resumed run."""
        return self._fit_s + (0.0 if self._mark is None else time.perf_counter() - self._mark)

    @property
    def epoch_s(self) -> float:
        """Seconds of training in this epoch so far."""
        return self._epoch_s if self._running is None else time.perf_counter() - self._running

    @property
    def images_per_s(self) -> float:
        """Training images a second of training."""
        return self.images / self.training_s

    def state_dict(self) -> dict[str, Any]:
        """Plain data for the checkpoint."""
        return {"images": self.images, "training_s": self.training_s, "fit_s": self.fit_s}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self.images, self.training_s, self._fit_s = (
            state["images"],
            state["training_s"],
            state["fit_s"],
        )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the count of all seconds."""
        self._mark = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the epoch's count."""
        self.epoch_images, self._running = 0, time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts the images of the batch."""
        count = len(batch["index"]) * trainer.world_size
        self.images += count
        self.epoch_images += count

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the count of training."""
        self._stop(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the count of training, if nothing was validated."""
        self._stop(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the count of all seconds."""
        self._fit_s, self._mark = self.fit_s, None

    def _stop(self, trainer: Trainer) -> None:
        if self._running is None:
            return
        device = trainer.strategy.root_device
        if device.type == "cuda":
            torch.cuda.synchronize(device)  # the host is ahead of what it has asked for
        self._epoch_s, self._running = self.epoch_s, None
        self.training_s += self._epoch_s
