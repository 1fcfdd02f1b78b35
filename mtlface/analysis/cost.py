"""What an arm costs, and one multi-task network against the sum of its single-task ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mtlface.analysis.protocol import Arm


@dataclass(frozen=True)
class Cost:
    """Means over the seeds of an arm; None where no run measured it.

    Attributes:
        fit_s: Training time in seconds.
        images_per_s: Pictures a second in training.
        peak_memory_mb: Highest memory in MB.
    """

    arm: str
    parameters: float | None
    fit_s: float | None
    images_per_s: float | None
    epochs: float | None
    peak_memory_mb: float | None


@dataclass(frozen=True)
class CostAgainstSingle:
    """An arm's cost divided by that of the single-task networks it replaces.

    Parameters and training time are divided by the sum; memory by the largest, because single-task
    networks train one after another.
    """

    arm: str
    singles: tuple[str, ...]
    parameters: float | None
    fit_s: float | None
    peak_memory_mb: float | None


def cost_of(arm: Arm) -> Cost:
    """Averages the cost of an arm's runs."""
    return Cost(
        arm=arm.label,
        parameters=_mean(arm, "model.parameters"),
        fit_s=_mean(arm, "timing.fit_s"),
        images_per_s=_mean(arm, "timing.images_per_s"),
        epochs=_mean(arm, "timing.epochs"),
        peak_memory_mb=_mean(arm, "timing.peak_memory_mb"),
    )


def cost_against_single(
    arm: str, references: Mapping[str, str], costs: Mapping[str, Cost]
) -> CostAgainstSingle:
    """Compares an arm with its single-task references (task → arm)."""
    singles = tuple(dict.fromkeys(references.values()))
    own, others = costs[arm], [costs[name] for name in singles]
    return CostAgainstSingle(
        arm=arm,
        singles=singles,
        parameters=_ratio(own.parameters, [c.parameters for c in others], largest=False),
        fit_s=_ratio(own.fit_s, [c.fit_s for c in others], largest=False),
        peak_memory_mb=_ratio(own.peak_memory_mb, [c.peak_memory_mb for c in others], largest=True),
    )


def _mean(arm: Arm, path: str) -> float | None:
    values = [arm.runs[seed].lookup(path) for seed in arm.seeds]
    known = [float(v) for v in values if isinstance(v, int | float)]
    return float(np.mean(known)) if known else None


def _ratio(own: float | None, others: Sequence[float | None], *, largest: bool) -> float | None:
    known = [value for value in others if value is not None]
    if own is None or not known or len(known) < len(others):
        return None
    total = max(known) if largest else sum(known)
    return own / total if total else None
