"""What arms cost, and one network against the several that it replaces."""

from mtlface.analysis import wording as w
from mtlface.analysis.comparison import Comparison
from mtlface.analysis.cost import Cost
from mtlface.analysis.table import Table


def cost_table(comparison: Comparison) -> Table:
    """What each arm costs."""
    rows = [
        (
            c.arm,
            _millions(c.parameters),
            _duration(c.fit_s),
            w.number(c.epochs, 1),
            _count(c.images_per_s),
            _count(c.peak_memory_mb),
        )
        for c in comparison.costs
        if _measured(c)
    ]
    return Table(
        "Cost, mean over seeds",
        ("arm", "parameters", "training", "epochs", "pictures/s", "peak MB"),
        tuple(rows),
    )


def cost_against_single_table(comparison: Comparison) -> Table:
    """One multi-task network divided by the single-task networks that it replaces."""
    rows = [
        (
            c.arm,
            " + ".join(c.singles),
            *(_times(v) for v in (c.parameters, c.fit_s, c.peak_memory_mb)),
        )
        for c in comparison.costs_against_single
    ]
    return Table(
        "One multi-task network against its single-task networks together",
        ("arm", "instead of", "parameters", "training", "peak memory"),
        tuple(rows),
        "×1.00 = the same. Parameters and time against the sum; memory against the largest, since "
        "single-task networks train one after another.",
    )


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
