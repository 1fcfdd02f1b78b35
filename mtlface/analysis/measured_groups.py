"""What a grouping of tasks gained where all its networks were trained, seed by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mtlface.analysis.comparison import Comparison
from mtlface.analysis.crossed import over_seeds
from mtlface.analysis.wording import number

Groups = Sequence[Sequence[str]]


def measured(comparison: Comparison, groups: Groups) -> dict[int, float] | None:
    """The mean gain over tasks against each one alone, in percent on test, by seed.

    Args:
        comparison: Of arms that share a recipe; a group's arm is the one with just its tasks.
        groups: Every task once; one alone gains nothing.

    Returns:
        The seeds that all networks have; None where a network of several tasks was not trained.
    """
    arms = {arm.label: arm for arm in comparison.arms}
    shared = [frozenset(group) for group in groups if len(group) > 1]
    found: dict[tuple[frozenset[str], str], Mapping[int, float]] = {}
    for d in comparison.verdicts:
        if d.kind == "sharing" and not d.matched and d.benefit is not None:
            key = frozenset(arms[d.arm].tasks), d.metric.task
            found[key] = dict(zip(d.seeds, d.benefit, strict=True))
    needed = [(group, task) for group in shared for task in group]
    if not needed or any(key not in found for key in needed):
        return None
    seeds = set.intersection(*(set(found[key]) for key in needed))
    tasks = sum(len(group) for group in groups)
    return {s: sum(found[key][s] for key in needed) / tasks for s in sorted(seeds)} or None


def with_interval(
    gains: Mapping[int, float] | None, less: Mapping[int, float] | None = None
) -> str:
    """The mean over seeds with its 95 % interval, paired by seed where something is subtracted."""
    if gains is None:
        return ""
    if less is not None:
        gains = {s: gains[s] - less[s] for s in gains.keys() & less.keys()}
    if not gains:
        return ""
    values = [gains[s] for s in sorted(gains)]
    text = number(float(np.mean(values)), 1, signed=True)
    estimate = over_seeds(values) if len(values) > 1 else None
    if estimate is None:
        return text
    low, high = (number(end, 1, signed=True) for end in estimate.interval)
    return f"{text} [{low}, {high}]"
