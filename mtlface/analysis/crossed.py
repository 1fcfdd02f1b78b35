"""The interval that counts seeds and images as samples, both at once.

An interval over seeds alone takes the test images for the whole world: it covers other seeds on
*these* images. A paper's claim is about other faces too. With d_sp the difference (arm − reference)
of image p under seed s, the table d of shape (n, N) is a two-way layout without replication, both
factors random (Searle, Casella & McCulloch 1992, ch. 4), and the variance of its grand mean is
σ²_s/n + σ²_p/N + σ²_e/(nN). The degrees of freedom are Satterthwaite's (1946).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
Interval = tuple[float, float]

CONFIDENCE = 0.95
EQUIVALENCE = 0.90  # two one-sided tests at 5 % are one 90 % interval (Schuirmann 1987)


@dataclass(frozen=True)
class Estimate:
    """A difference with what is known about it, in the metric's own unit.

    Attributes:
        mean: The difference.
        se: Its standard error.
        interval: The 95 % interval.
        inner: The 90 % interval, which decides whether two arms are shown equal.
        p: Two-sided, against no difference.
        df: Degrees of freedom; None for a bootstrap.
        seeds: n.
        units: N, the images, or the people where images repeat them; 0 where images play no part.
    """

    mean: float
    se: float
    interval: Interval
    inner: Interval
    p: float
    df: float | None
    seeds: int
    units: int = 0


@dataclass(frozen=True)
class MeanSquares:
    """The two-way table of differences, taken apart: shape (n, N) into its mean squares."""

    seeds: float
    images: float
    rest: float
    n: int
    units: int

    @property
    def floor(self) -> float:
        """The standard error that stays however many seeds are run: √(MS_p / nN)."""
        return float(np.sqrt(self.images / (self.n * self.units)))

    @property
    def variance(self) -> float:
        """Of the grand mean; at least what either factor has alone."""
        total = self.seeds + self.images - self.rest
        return max(total, self.seeds, self.images) / (self.n * self.units)

    @property
    def df(self) -> float:
        """Satterthwaite's degrees of freedom, at least n − 1."""
        least = float(self.n - 1)
        parts = (
            self.seeds**2 / least
            + self.images**2 / (self.units - 1)
            + self.rest**2 / (least * (self.units - 1))
        )
        total = self.seeds + self.images - self.rest
        return max(least, total**2 / parts) if parts > 0 else least


def mean_squares(table: Array) -> MeanSquares:
    """Takes a table of differences (n, N) apart; both sides need two rows."""
    n, units = table.shape
    by_seed, by_image, mean = table.mean(axis=1), table.mean(axis=0), table.mean()
    rest = table - by_seed[:, None] - by_image + mean
    return MeanSquares(
        seeds=float(units * np.sum((by_seed - mean) ** 2) / (n - 1)),
        images=float(n * np.sum((by_image - mean) ** 2) / (units - 1)),
        rest=float(np.sum(rest**2) / ((n - 1) * (units - 1))),
        n=n,
        units=units,
    )


def crossed(table: Array) -> Estimate | None:
    """The interval for new seeds *and* new images; None where nothing varies.

    Measured coverage of the 95 % interval for N = 300: 93.7–97.0 % at n = 5, 94.7–95.9 % at n = 10.

    Args:
        table: Differences (n, N), a row per seed and a column per image, n ≥ 2 and N ≥ 2.
    """
    if np.ptp(table) <= _rounding(table):
        return None
    found = mean_squares(table)
    return estimate(float(table.mean()), found.variance, found.df, found.n, found.units)


def over_seeds(difference: Sequence[float] | Array, overlap: float = 0.0) -> Estimate | None:
    """The t interval over seeds: other seeds, *these* test images. None where nothing varies.

    Seeded splits overlap in what they train on, so that their seeds are not independent: the
    variance is then (1/n + n_test/n_train)·s² (Nadeau & Bengio 2003).

    Args:
        difference: One number per seed.
        overlap: n_test/n_train where each seed has a split of its own, else 0.
    """
    values = np.asarray(difference, dtype=np.float64)
    n = len(values)
    if n < 2 or np.ptp(values) <= _rounding(values):
        return None
    variance = (1 / n + overlap) * float(values.var(ddof=1))
    return estimate(float(values.mean()), variance, n - 1, n, 0)


def estimate(mean: float, variance: float, df: float, seeds: int, units: int) -> Estimate | None:
    """Intervals and p of a t statistic; None without spread."""
    if not variance > 0:
        return None
    se = float(np.sqrt(variance))
    outer, inner = (
        se * float(stats.t.ppf((1 + level) / 2, df)) for level in (CONFIDENCE, EQUIVALENCE)
    )
    return Estimate(
        mean=mean,
        se=se,
        interval=(mean - outer, mean + outer),
        inner=(mean - inner, mean + inner),
        p=float(2 * stats.t.sf(abs(mean) / se, df)),
        df=float(df),
        seeds=seeds,
        units=units,
    )


def by_cluster(table: Array, cluster: NDArray[np.int64]) -> Array:
    """Makes people the units instead of their images: (n, N) to (n, C), with the same row means.

    The deviation of a cluster is the sum of its images' deviations (the linearisation behind
    cluster-robust variances), scaled so that the mean over clusters is the mean over images.

    Args:
        table: One number per seed and image, (n, N).
        cluster: 0 … C−1 for each image, (N,).
    """
    count = int(cluster.max()) + 1
    if count == table.shape[1]:
        return table
    mean = table.mean(axis=1, keepdims=True)
    sums = np.stack([np.bincount(cluster, row, count) for row in table - mean])
    of_people: Array = mean + sums * count / table.shape[1]
    return of_people


def _rounding(values: Array) -> float:
    """Numbers this close are equal: t would be 0/0 or a meaningless infinity."""
    return 1e-12 * max(1.0, float(np.abs(values).max()))
