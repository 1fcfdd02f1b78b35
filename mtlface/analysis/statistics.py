"""Small statistics of a report: relative benefits, ranks, and the interval of one arm's mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mtlface.analysis.crossed import Interval, over_seeds


@dataclass(frozen=True)
class Summary:
    """A metric of an arm over its seeds; `sd` is None for a single seed."""

    n: int
    mean: float
    sd: float | None


def summarise(values: Sequence[float]) -> Summary:
    """Mean and standard deviation (n − 1) over seeds."""
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Summary(len(values), float(np.mean(values)), sd)


def relative_benefit(
    difference: Sequence[float] | NDArray[np.float64],
    reference: Sequence[float],
    higher_is_better: bool,
) -> NDArray[np.float64] | None:
    """One task's term of Δm, by seed, in percent of the reference; **higher is better**.

    `100 · s · (M_seed − B_seed) / |mean(B)|` with s = +1 where higher is better, −1 where lower is.
    Dividing by the mean over seeds makes the mean of the result equal the ratio of the means.

    Returns:
        Shape (seeds,), or None where the reference is zero.
    """
    base = abs(float(np.mean(reference)))
    if base == 0.0:
        return None
    sign = 1.0 if higher_is_better else -1.0
    return 100.0 * sign * np.asarray(difference, dtype=np.float64) / base


def mean_ranks(
    scores: Mapping[str, Mapping[str, float]], higher: Mapping[str, bool]
) -> dict[str, float]:
    """Mean rank over tasks of every contestant; 1 is best, ties share the mean of their ranks.

    Args:
        scores: Contestant → task → metric. Who lacks a task is not ranked in it.
        higher: Task → whether a higher metric is better.
    """
    ranks: dict[str, list[float]] = {name: [] for name in scores}
    for task, good in higher.items():
        names = [name for name in scores if task in scores[name]]
        values = [(-1 if good else 1) * scores[name][task] for name in names]
        for name, rank in zip(names, stats.rankdata(values), strict=True):
            ranks[name].append(float(rank))
    return {name: float(np.mean(values)) for name, values in ranks.items() if values}


def mean_interval(values: Sequence[float]) -> Interval | None:
    """The 95 % t interval of a mean; None for fewer than two values or no spread."""
    found = over_seeds(values)
    return found.interval if found else None
