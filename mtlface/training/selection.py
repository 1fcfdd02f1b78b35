"""How the best epoch is chosen: what is watched on validation, and in which direction.

The default is the mean over the losses of validation skill, 1 − L / L(constant predictor): 0 is
what a predictor that looks at no image reaches, 1 is perfect. It has no unit and no task weight, so
it asks the same of a single-task arm and of a multi-task one, whatever the balancer does.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from mtlface.data.batch import Split
from mtlface.errors import MtlfaceError, did_you_mean

if TYPE_CHECKING:
    from mtlface.training.module import MultiTaskModule

SKILL = "val/skill"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Monitor:
    """The quantity that chooses the best epoch, stops training and drives a plateau schedule.

    Attributes:
        name: A validation quantity, such as `val/skill` or `val/gender/accuracy`.
        mode: Whether the best value is the smallest or the largest.
    """

    name: str
    mode: Literal["min", "max"]


def monitor_of(name: str, mode: str | None, known: Mapping[str, bool]) -> Monitor:
    """The monitor of this name, in the direction that the quantity itself has.

    Args:
        name: As the config has it.
        mode: `min` or `max` where the config insists, or None.
        known: What validation measures, and whether higher is better.

    Raises:
        MtlfaceError: Validation measures no such thing, or its better end is the other one.
    """
    if name not in known:
        hint = (
            " An epoch is chosen on validation only." if name.startswith(("train", "test")) else ""
        )
        raise MtlfaceError(
            f"monitor.name={name} is nothing that validation measures.{hint}"
            f"{did_you_mean(name, list(known))} Known: {', '.join(sorted(known))}."
        )
    own: Literal["min", "max"] = "max" if known[name] else "min"
    if mode not in (None, own):
        raise MtlfaceError(
            f"monitor.mode={mode}: the better end of {name} is the other one. Leave monitor.mode "
            f"out, or take monitor.mode={own}."
        )
    return Monitor(name, own)


def constant_losses(module: MultiTaskModule, train: Split, split: Split, batch_size: int) -> Tensor:
    """The losses (T,) of the constant predictor of the training labels; NaN without labels.

    Args:
        module: The network with its tasks, on the CPU.
        train: The split that the constants come from.
        split: The split that they are measured on.
        batch_size: Images at a time.
    """
    constants = {name: task.constant(train.targets) for name, task in module.tasks.items()}
    targets = split.targets
    sums = torch.zeros(2, len(module.loss_names), dtype=torch.float64)
    with torch.no_grad():
        for rows in np.array_split(np.arange(len(split)), -(-len(split) // batch_size)):
            batch = {name: values[rows] for name, values in targets.items()}
            outputs = {name: value.expand(len(rows), -1) for name, value in constants.items()}
            losses, counts = module.losses(outputs, batch)
            sums += torch.stack((losses * counts, counts)).double()
    return (sums[0] / sums[1]).float()


def check_skill(names: Sequence[str], losses: Tensor, monitor: Monitor) -> None:
    """Says which losses the skill leaves out because validation has no label of theirs.

    Raises:
        MtlfaceError: It is the monitor, and nothing is left.
    """
    absent = [name for name, known in zip(names, losses.isfinite(), strict=True) if not known]
    if not absent or monitor.name != SKILL:
        return
    if len(absent) == len(names):
        raise MtlfaceError(
            f"The validation split has no label of {', '.join(absent)}, so {SKILL} cannot choose "
            "an epoch. Add labels to the split, or name a metric that it can measure, such as "
            "monitor.name=val/identity/gallery_top1."
        )
    log.warning(
        "The validation split has no label of %s: %s is the mean over the other losses.",
        ", ".join(absent),
        SKILL,
    )


class CheckMonitor(Callback):
    """Ends a run whose monitor is undefined, where early stopping would end it in silence.

    Args:
        monitor: What chooses the best epoch.
    """

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks at the latest value."""
        value = float(trainer.callback_metrics.get(self.monitor.name, 0.0))
        if not math.isfinite(value):
            raise MtlfaceError(
                f"{self.monitor.name} is {value} after epoch {trainer.current_epoch + 1} and "
                "cannot choose an epoch. The validation split may lack a class, or the label that "
                f"it is computed from; check the split, or choose another monitor, such as "
                f"monitor.name={SKILL}."
            )


def each_task_best(
    history: Sequence[Mapping[str, float]],
    tasks: Mapping[str, Mapping[str, Any]],
    chosen: int,
) -> dict[str, dict[str, float | int]]:
    """What one checkpoint for all tasks costs: each task at its own best epoch, and at the chosen.

    Args:
        history: A row of validation quantities an epoch, with `epoch`.
        tasks: By name, their `primary` metric and whether `higher_is_better`.
        chosen: The epoch whose weights are kept.

    Returns:
        By task, the `epoch` of its best primary validation metric, that `value`, and the value
        `at_chosen`; a task whose metric was never measured is left out.
    """
    found: dict[str, dict[str, float | int]] = {}
    for name, task in tasks.items():
        key, sign = f"val/{name}/{task['primary']}", 1.0 if task["higher_is_better"] else -1.0
        values = ((int(row["epoch"]), row.get(key, math.nan)) for row in history)
        known = [(epoch, value) for epoch, value in values if math.isfinite(value)]
        if known:
            epoch, value = max(known, key=lambda pair: sign * pair[1])
            at = dict(known).get(chosen, math.nan)
            found[name] = {"epoch": epoch, "value": value, "at_chosen": at}
    return found
