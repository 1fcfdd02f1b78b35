"""How many seeds a sweep needs, asked before it runs.

A pilot of a few seeds gives the spread; the size of the effect comes from what matters, never from
what the pilot happened to show. "Power after the fact" is the p-value in other words (Hoenig &
Heisey 2001), which is why no report says how many seeds its own difference would have needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from mtlface.analysis.crossed import MeanSquares
from mtlface.analysis.decisions import ALPHA

POWER = 0.80
MOST_SEEDS = 1000  # beyond this the answer is "more than anyone runs"


@dataclass(frozen=True)
class Plan:
    """What one comparison of a pilot says about the sweep to come, in the metric's unit.

    Attributes:
        sd: Standard deviation of the paired difference over seeds.
        sd_interval: Its 95 % interval: with few pilot seeds it is wide.
        effect: The smallest effect of interest.
        tests: The verdicts of the sweep, arms × tasks.
        one: Seeds to see the effect in one test; None for more than `MOST_SEEDS`.
        family: The same in the first step of Holm's correction over all tests.
        equal: Seeds to show equality within ±effect where there is no difference.
        floor: The standard error that the test images alone leave, None without predictions.
    """

    sd: float
    sd_interval: tuple[float, float]
    effect: float
    tests: int
    one: int | None
    family: int | None
    equal: int | None
    floor: float | None

    @property
    def out_of_reach(self) -> bool:
        """Whether the images alone hide the effect (80 % power, one test), whatever the seeds."""
        quantiles = stats.norm.ppf(1 - ALPHA / 2) + stats.norm.ppf(POWER)
        return self.floor is not None and bool(self.floor * quantiles > self.effect)


def plan(sd: float, n: int, effect: float, tests: int, squares: MeanSquares | None = None) -> Plan:
    """Plans a sweep from a pilot.

    Args:
        sd: Standard deviation of the paired difference over the pilot's seeds.
        n: The pilot's seeds, at least 2.
        effect: The smallest effect of interest, positive.
        tests: The verdicts of the sweep to come.
        squares: The pilot's two-way table, where it has predictions by image.
    """
    low, high = (sd * float(np.sqrt((n - 1) / stats.chi2.ppf(q, n - 1))) for q in (0.975, 0.025))
    return Plan(
        sd=sd,
        sd_interval=(low, high),
        effect=effect,
        tests=tests,
        one=seeds_to_detect(effect / sd),
        family=seeds_to_detect(effect / sd, ALPHA / tests),
        equal=seeds_for_equality(effect / sd),
        floor=squares.floor if squares else None,
    )


def seeds_to_detect(effect: float, alpha: float = ALPHA) -> int | None:
    """The fewest seeds with which a paired two-sided t test sees an effect with 80 % power.

    Args:
        effect: In standard deviations of the paired difference.
        alpha: The level of the test.

    Returns:
        At least 2, or None for more than `MOST_SEEDS`.
    """

    def power(n: int) -> float:
        critical = stats.t.isf(alpha / 2, n - 1)
        # The other tail has next to no chance. Far out scipy gives NaN, where power is 1.
        return float(np.nan_to_num(stats.nct.sf(critical, n - 1, effect * np.sqrt(n)), nan=1.0))

    return _fewest(power)


def seeds_for_equality(effect: float, alpha: float = ALPHA) -> int | None:
    """The fewest seeds with which two one-sided t tests show equality, if it holds, with 80 %.

    The chance that the mean of n differences without a true one has its (1 − 2α) interval within
    ±effect, integrated over their standard deviation.

    Args:
        effect: The margin, in standard deviations of the paired difference.
        alpha: The level of each one-sided test.
    """
    grid = (np.arange(400) + 0.5) / 400

    def power(n: int) -> float:
        found = np.sqrt(stats.chi2.ppf(grid, n - 1) / (n - 1))  # observed sd / true sd
        room = effect * np.sqrt(n) - stats.t.isf(alpha, n - 1) * found
        return float(np.mean(2 * stats.norm.cdf(np.maximum(room, 0.0)) - 1))

    return _fewest(power)


def _fewest(power: Callable[[int], float]) -> int | None:
    high = 2
    while power(high) < POWER:
        if high > MOST_SEEDS:
            return None
        high *= 2
    low = max(1, high // 2)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if power(middle) < POWER else (low, middle)
    return high if high <= MOST_SEEDS else None
