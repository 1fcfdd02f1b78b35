"""Learning rate schedules as Lightning wants them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # a sweep looks into this package before there is a need for torch
    from torch.optim import Optimizer


@dataclass(frozen=True)
class Schedule:
    """A scheduler of torch, how often it steps, and whether it must know how long training is.

    Attributes:
        scheduler: Builds the scheduler from the optimizer.
        interval: Whether it steps every `epoch` or every optimizer `step`.
        horizon: The scheduler's argument that takes the number of intervals in training.
    """

    scheduler: Callable[..., Any]
    interval: Literal["epoch", "step"] = "epoch"
    horizon: str | None = None

    def configure(self, optimizer: Optimizer, steps: int, epochs: int) -> dict[str, Any]:
        """The `lr_scheduler` entry of `LightningModule.configure_optimizers`.

        Args:
            optimizer: What is scheduled.
            steps: Optimizer steps in training.
            epochs: Epochs in training.
        """
        length = {"epoch": epochs, "step": steps}[self.interval]
        known = {} if self.horizon is None else {self.horizon: length}
        return {"scheduler": self.scheduler(optimizer, **known), "interval": self.interval}
