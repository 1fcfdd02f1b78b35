"""Learning rate schedules as Lightning wants them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
        direction: The scheduler's argument that takes `min` or `max`, the monitor's better end.
    """

    scheduler: Callable[..., Any]
    interval: Literal["epoch", "step"] = "epoch"
    horizon: str | None = None
    direction: str | None = None

    def configure(self, optimizer: Optimizer, steps: int, epochs: int, mode: str) -> dict[str, Any]:
        """The `lr_scheduler` entry of `LightningModule.configure_optimizers`.

        Args:
            optimizer: What is scheduled.
            steps: Optimizer steps in training.
            epochs: Epochs in training.
            mode: `min` or `max`, the better end of the monitor.
        """
        length = {"epoch": epochs, "step": steps}[self.interval]
        known: dict[str, Any] = {} if self.horizon is None else {self.horizon: length}
        known |= {} if self.direction is None else {self.direction: mode}
        return {"scheduler": self.scheduler(optimizer, **known), "interval": self.interval}


def rescale(group: dict[str, Any], before: float, after: float) -> None:
    """Multiplies a schedule by after / before from here on, for one group of parameters.

    A scheduler knows nothing of it: the group keeps the rate that the scheduler gave it, and
    the optimizer and its checkpoints hold both.

    Args:
        group: A parameter group of an optimizer.
        before: The learning rate that the schedule was made for.
        after: The one in its place.
    """
    scheduled = group.setdefault("scheduled_lr", group["lr"])
    group["rescaled"] = (before, after)
    group["lr"] = after * (scheduled / before)


@contextmanager
def as_scheduled(optimizer: Optimizer) -> Iterator[None]:
    """Within the block the rates are the scheduler's own; after it they are rescaled again."""
    groups = [group for group in optimizer.param_groups if "rescaled" in group]
    for group in groups:
        group["lr"] = group["scheduled_lr"]
    try:
        yield
    finally:
        for group in groups:
            group["scheduled_lr"] = group["lr"]
            rescale(group, *group["rescaled"])
