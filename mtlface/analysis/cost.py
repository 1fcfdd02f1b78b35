"""What an arm costs, and one multi-task network against the sum of its single-task ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mtlface.analysis import wording as w
from mtlface.analysis.protocol import Arm
from mtlface.analysis.table import Table


@dataclass(frozen=True)
class Cost:
    """Means over the seeds of an arm; None where no run measured it.

    Attributes:
        fit_s: Training time in seconds.
        images_per_s: Images per second in training.
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
        fit_s=_mean(arm, "budget.fit_s"),
        images_per_s=_mean(arm, "budget.images_per_s"),
        epochs=_mean(arm, "budget.epochs"),
        peak_memory_mb=_mean(arm, "budget.peak_memory_mb"),
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


def cost_table(costs: Sequence[Cost], names: Mapping[str, str]) -> Table:
    """What each arm costs."""
    rows = [
        (
            names[c.arm],
            _millions(c.parameters),
            _duration(c.fit_s),
            w.number(c.epochs, 1),
            _count(c.images_per_s),
            _count(c.peak_memory_mb),
        )
        for c in costs
        if _measured(c)
    ]
    return Table(
        "Cost, mean over seeds",
        ("arm", "parameters", "training", "epochs", "images/s", "peak MB"),
        tuple(rows),
    )


def cost_against_single_table(
    costs: Sequence[CostAgainstSingle], names: Mapping[str, str]
) -> Table:
    """One multi-task network divided by the single-task networks that it replaces."""
    rows = [
        (
            names[c.arm],
            " + ".join(names[single] for single in c.singles),
            *(_times(v) for v in (c.parameters, c.fit_s, c.peak_memory_mb)),
        )
        for c in costs
    ]
    return Table(
        "One multi-task network against its single-task networks together",
        ("arm", "instead of", "parameters", "training", "peak memory"),
        tuple(rows),
        "×1.00 = the same. Parameters and time against the sum; memory against the largest, since "
        "single-task networks train one after another.",
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


def _measured(cost: Cost) -> bool:
    return any(v is not None for v in (cost.parameters, cost.fit_s, cost.images_per_s))


def _millions(value: float | None) -> str:
    return w.ABSENT if value is None else f"{value / 1e6:.2f} M"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return w.ABSENT
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _count(value: float | None) -> str:
    return w.ABSENT if value is None else f"{value:,.0f}"


def _times(value: float | None) -> str:
    return w.ABSENT if value is None else f"×{value:.2f}"
