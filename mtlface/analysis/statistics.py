"""Statistics of a paired comparison, as plain functions on plain numbers.

Seeds pair the arms: with the same seed two arms saw the same split and the same order of
pictures, so the difference by seed varies less than either arm does. The t interval is the
headline: with five seeds the percentile bootstrap covers too little (it never looks beyond the
observed differences); it stands beside the t interval as a check of symmetry.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.power import TTestPower

Interval = tuple[float, float]
Verdict = Literal["better", "worse", "no difference shown", "no verdict"]

CONFIDENCE = 0.95
ALPHA = 0.05
POWER = 0.80
MOST_SEEDS = 1000  # beyond this the answer "how many seeds" is "more than anyone runs"


@dataclass(frozen=True)
class Paired:
    """A paired difference `arm − reference`, in the metric's own unit.

    `t_interval`, `sd` and `p` are None where the data do not give them: one pair, or differences
    that do not vary at all.
    """

    n: int
    mean: float
    sd: float | None
    t_interval: Interval | None
    bootstrap_interval: Interval | None
    p: float | None


def paired_seeds(arm: Sequence[float], reference: Sequence[float]) -> Paired:
    """Compares two arms seed by seed: paired t interval and test, bootstrap over seeds.

    Args:
        arm: A metric of the arm, a value a seed.
        reference: The same metric of the reference, in the same order of seeds.

    Raises:
        ValueError: The two have different lengths or are empty.
    """
    difference = _difference(arm, reference)
    n, mean = len(difference), float(difference.mean())
    # Equal up to rounding: the t statistic would be 0/0 or a meaningless infinity.
    if n < 2 or np.ptp(difference) <= 1e-12 * max(1.0, float(np.abs(difference).max())):
        same = n > 1 and mean == 0.0
        return Paired(n, mean, 0.0 if n > 1 else None, None, None, 1.0 if same else None)
    test = stats.ttest_1samp(difference, 0.0)
    interval = test.confidence_interval(CONFIDENCE)
    return Paired(
        n=n,
        mean=mean,
        sd=float(difference.std(ddof=1)),
        t_interval=(float(interval.low), float(interval.high)),
        bootstrap_interval=_bootstrap(difference)[0],
        p=float(test.pvalue),
    )


def paired_pictures(
    arm: Sequence[float] | NDArray[np.float64], reference: Sequence[float] | NDArray[np.float64]
) -> Paired:
    """Compares two runs picture by picture, by a bootstrap over the test pictures.

    It answers "would other test pictures change the order of these two networks?" and nothing about
    another training run. The two-sided p is twice the smaller share of resampled means on either
    side of zero, so that it agrees with the percentile interval.

    Args:
        arm: An error a picture; lower is better.
        reference: The reference's errors of the same pictures in the same order.
    """
    difference = _difference(arm, reference)
    n, mean = len(difference), float(difference.mean())
    if n < 2 or np.ptp(difference) == 0.0:
        return Paired(n, mean, None, None, None, 1.0 if mean == 0.0 and n > 1 else None)
    interval, means = _bootstrap(difference)
    tail = min(np.count_nonzero(means <= 0), np.count_nonzero(means >= 0))
    p = min(1.0, 2 * (tail + 1) / (len(means) + 1))
    return Paired(n, mean, float(difference.std(ddof=1)), None, interval, p)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Corrects p-values for the number of tests (Holm 1979); those that are None stay None."""
    known = np.array([p for p in p_values if p is not None])
    order = np.argsort(known)
    # statsmodels' multipletests does the same, but runs the garbage collector at every call.
    stepped = np.maximum.accumulate(known[order] * np.arange(len(known), 0, -1))
    corrected = np.empty(len(known))
    corrected[order] = np.minimum(stepped, 1.0)
    following = iter(corrected)
    return [None if p is None else float(next(following)) for p in p_values]


def verdict(benefit: float, p: float | None, alpha: float = ALPHA) -> Verdict:
    """Puts a corrected p into words; `benefit` is the difference, positive where it is good."""
    if p is None:
        return "no verdict"
    if p >= alpha or benefit == 0.0:
        return "no difference shown"
    return "better" if benefit > 0 else "worse"


def seeds_needed(mean: float, sd: float | None) -> int | None:
    """Pairs of runs after which a paired t test would show this difference with 80 % power.

    The observed difference and spread are taken as if they were the true ones (two-sided, 5 %,
    before Holm's correction), so with few seeds the answer is itself rough.

    Returns:
        The number of seeds (at least 2), `MOST_SEEDS + 1` for "more than that", or None where the
        difference or its spread is zero or unknown.
    """
    if not sd or mean == 0.0:
        return None
    effect = abs(mean) / sd

    def too_few(n: int) -> bool:
        # Far beyond the answer the power is NaN (a noncentral t that large), which is enough.
        return bool(TTestPower().power(effect, nobs=n, alpha=ALPHA) < POWER)

    # solve_power does not converge near n = 2, and a power exists only for whole seeds anyway.
    high = 2
    while too_few(high):
        if high > MOST_SEEDS:
            return MOST_SEEDS + 1
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if too_few(middle) else (low, middle)
    return min(high, MOST_SEEDS + 1)


def relative_benefit(
    difference: Sequence[float], reference: Sequence[float], higher_is_better: bool
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


def delta_m(contributions: Sequence[NDArray[np.float64]]) -> Paired:
    """Δm: the mean over tasks of the relative benefits, tested over seeds; **higher is better**.

    (1/T) Σ_t s_t (M_t − B_t)/B_t in percent (Maninis et al. 2019, Vandenhende et al. 2021; part of
    the literature reports it with the opposite sign).

    Args:
        contributions: A task each, the values of `relative_benefit` for the same seeds.
    """
    by_seed = np.mean(np.stack(contributions), axis=0)
    return paired_seeds(list(by_seed), [0.0] * len(by_seed))


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
    if len(values) < 2 or np.ptp(values) == 0.0:
        return None
    half = float(stats.sem(values) * stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    mean = math.fsum(values) / len(values)
    return mean - half, mean + half


def _difference(
    arm: Sequence[float] | NDArray[np.float64], reference: Sequence[float] | NDArray[np.float64]
) -> NDArray[np.float64]:
    if len(arm) != len(reference) or len(arm) == 0:
        raise ValueError(f"Expected pairs; found {len(arm)} and {len(reference)} values.")
    return np.asarray(arm, dtype=np.float64) - np.asarray(reference, dtype=np.float64)


def _bootstrap(difference: NDArray[np.float64]) -> tuple[Interval, NDArray[np.float64]]:
    result = stats.bootstrap(
        (difference,),
        np.mean,
        n_resamples=4999,
        # 200,000 pictures a resample would not fit in memory at once.
        batch=max(1, 2_000_000 // len(difference)),
        confidence_level=CONFIDENCE,
        method="percentile",
        random_state=np.random.default_rng(0),  # the same runs give the same report
    )
    interval = result.confidence_interval
    return (float(interval.low), float(interval.high)), result.bootstrap_distribution
