"""Watching the balancing: whose gradient is how large, and which ones pull against each other."""

from __future__ import annotations

import logging
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from mtlface.balancing.balancer import Balanced
from mtlface.balancing.jacobian import feature_jacobian, gramian
from mtlface.training.gradients import GradientMeans
from mtlface.training.module import MultiTaskModule

log = logging.getLogger(__name__)


class BalancingWatch(Callback):
    """Logs every loss's weight and the norms, cosines and conflicts of the task gradients.

    `balance/weight/<loss>` is the balancer's weight, on top of the task's own; `balance/norm/…` is
    the norm of the weighted loss's gradient at the balancer's level (the shared features, unless
    the method works on parameters); `balance/cosine/<a>/<b>` and `balance/conflict/<a>/<b>` are
    the cosine of two gradients and the share of steps in which it is negative. Means of some steps
    go to the logger, means of all steps to `result.json`. With many losses it is their extremes.

    It only looks: what training does is the same without it, bit for bit. Nothing waits for the
    device but the logging itself.

    Args:
        every_n_steps: Steps between two looks at the gradients of a method that needs none itself;
            a look costs a backward pass through the heads. 0 switches the watch off.
        log_every_n_steps: Steps between two points in the log.
    """

    def __init__(self, every_n_steps: int, log_every_n_steps: int) -> None:
        self.every, self.log_every = every_n_steps, log_every_n_steps
        self.total: GradientMeans | None = None
        self.report: dict[str, int] = {}  # of the balancer, at the end of training
        self._saved: dict[str, Any] = {}
        self._pending: list[tuple[Tensor, Tensor, Tensor | None]] = []
        self._handle: RemovableHandle | None = None
        self._batch = self._step = 0

    def state_dict(self) -> dict[str, Any]:
        """The sums so far, for the checkpoint."""
        return {} if self.total is None else self.total.state()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self._saved = state

    def averages(self) -> dict[str, float]:
        """The means over all steps of the run, by `balance/…`."""
        return {} if self.total is None else self.total.named()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins to look at the balancer's arguments and answers."""
        names: tuple[str, ...] = pl_module.loss_names  # type: ignore[assignment]
        if self.every and len(names) > 1:
            self.total = GradientMeans(names, self._saved)
            balancer: torch.nn.Module = pl_module.balancer  # type: ignore[assignment]
            self._handle = balancer.register_forward_hook(self._look)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Notes which batch and which step it is."""
        self._batch, self._step = trainer.fit_loop.total_batch_idx, trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Logs now and then, and only where the batch ended a step: it may be accumulated."""
        if trainer.global_step > self._step and trainer.global_step % self.log_every == 0:
            self._log(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the rest, so that short epochs have their point and a checkpoint has all steps."""
        self._log(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops looking, and notes how the method fared in the whole of training."""
        assert isinstance(pl_module, MultiTaskModule)
        self.report = pl_module.balancer.report()
        if self._handle is not None:
            self._handle.remove()

    def _look(self, _: Any, arguments: tuple[Any, ...], balanced: Balanced) -> None:
        losses, present, features, _ = arguments
        found = balanced.gramian
        if found is None and self._batch % self.every == 0:
            found = self._gramian(losses, present, features)
        self._pending.append((balanced.weights.detach(), present.detach(), found))

    def _gramian(self, losses: Tensor, present: Tensor, features: Tensor) -> Tensor | None:
        if not (features.requires_grad and losses.requires_grad):
            return None  # a frozen trunk: no gradient reaches it
        try:
            with torch.autocast(losses.device.type, enabled=False):
                found = gramian(feature_jacobian(losses, features)).float()
        except Exception as error:
            # Compiled heads allow one backward pass only; training must go on all the same.
            log.warning("The tasks' gradients cannot be watched here: %s", error)
            self.every = 2**62
            return None
        if present.is_cpu and bool(present.all()):
            return found
        here = present.to(found.device)
        return torch.where(here[:, None] & here, found, torch.nan)

    def _log(self, trainer: Trainer) -> None:
        if not self._pending or self.total is None:
            return
        # To the host at once, not row by row.
        weights = torch.stack([weights.float() for weights, _, _ in self._pending]).cpu()
        present = torch.stack([present for _, present, _ in self._pending]).cpu()
        gramians = [found for _, _, found in self._pending if found is not None]
        self._pending = []
        window = GradientMeans(self.total.names)
        window.add(weights, present, torch.stack(gramians) if gramians else None)
        self.total.merge(window)
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.log_metrics(window.named(), step=trainer.global_step - 1)
