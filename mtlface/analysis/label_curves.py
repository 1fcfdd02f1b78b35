"""At how many labels sharing helps: benefit by number of labels, and where it crosses zero."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mtlface.analysis.comparison import Comparison
from mtlface.analysis.crossed import Interval
from mtlface.analysis.differences import Difference
from mtlface.analysis.settings import settings_of
from mtlface.analysis.table import Table
from mtlface.analysis.transfer import percent_interval
from mtlface.analysis.wording import number

FEWEST_POINTS = 3
FEWEST_SEEDS = 3

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Crossover:
    """The number of labels below which sharing helps.

    Attributes:
        labels: Where the fitted benefit is zero.
        interval: 95 % of it, by Fieller's theorem; an end outside the tried numbers says no more
            than that.
    """

    labels: float
    interval: Interval


@dataclass(frozen=True)
class LabelCurve:
    """The benefit of sharing in one task, by the number of its labels.

    Attributes:
        task: Whose labels were cut.
        labels: How many training images had the label, ascending, (F,).
        benefit: In percent of the twin, by seed and number, (S, F).
        points: The comparison behind each number.
        crossover: None where the runs do not show one.
    """

    task: str
    labels: tuple[int, ...]
    benefit: Array
    points: tuple[Difference, ...]
    crossover: Crossover | None


def label_curves(comparison: Comparison) -> list[LabelCurve]:
    """The curve of each task whose labels were cut in several ways."""
    arms = {arm.label: arm for arm in comparison.arms}
    found: dict[str, dict[int, Difference]] = defaultdict(dict)
    for d in comparison.verdicts:
        if d.kind != "sharing" or d.matched or d.benefit is None:
            continue
        arm = arms[d.arm]
        run = arm.runs[arm.seeds[-1]]
        label = arm.tasks[d.metric.task]["label"]
        shares: Mapping[str, float] = (settings_of(arm).get("data") or {}).get(
            "label_fraction"
        ) or {}
        count = (run.content.get("label_counts") or {}).get(label)
        if label in shares and isinstance(count, int):
            found[d.metric.task][count] = d
    curves = []
    for task, of_count in found.items():
        points = tuple(of_count[count] for count in sorted(of_count))
        seeds = sorted(set.intersection(*(set(d.seeds) for d in points)))
        if len(points) < FEWEST_POINTS or not seeds:
            continue
        benefit = np.array(
            [[dict(zip(d.seeds, d.benefit or (), strict=True))[s] for d in points] for s in seeds]
        )
        labels = tuple(sorted(of_count))
        curves.append(LabelCurve(task, labels, benefit, points, crossover(labels, benefit)))
    return curves


def crossover(labels: tuple[int, ...], benefit: Array) -> Crossover | None:
    """Where the benefit of sharing reaches zero, if it falls with the labels.

    Each seed has a straight line of benefit by log₁₀ of the labels (least squares); the zero of the
    mean line has its interval by Fieller's theorem (1954) from the lines' covariance over seeds,
    which knows that one seed's points share images and initial weights.

    Args:
        labels: (F,), ascending.
        benefit: (S, F) in percent.

    Returns:
        None below three seeds, and where the slope is not shown to be negative.
    """
    seeds = len(benefit)
    if seeds < FEWEST_SEEDS:
        return None
    x = np.log10(labels)
    slope, start = np.polyfit(x, benefit.T, 1)
    mean = np.array([start.mean(), slope.mean()])
    cov = np.cov(np.stack([start, slope])) / seeds
    t2 = stats.t.ppf(0.975, seeds - 1) ** 2
    # (a + b·x)² ≤ t² · var(a + b·x), a quadratic in x.
    q = mean[1] ** 2 - t2 * cov[1, 1]
    half = mean[0] * mean[1] - t2 * cov[0, 1]
    rest = mean[0] ** 2 - t2 * cov[0, 0]
    if mean[1] >= 0 or q <= 0:
        return None
    root = np.sqrt(max(half**2 - q * rest, 0.0))
    low, high = (-half - root) / q, (-half + root) / q
    with np.errstate(over="ignore"):  # a nearly flat line: an end may be anywhere, up to infinity
        at, low, high = np.power(10.0, [-mean[0] / mean[1], low, high])
    return Crossover(float(at), (float(low), float(high)))


def label_curve_tables(comparison: Comparison) -> list[Table]:
    """A table for each curve, with the crossover below it."""
    return [
        Table(
            f"Label curve of {curve.task}",
            ("training labels", "sharing, % of the twin", "95 % interval", "answer"),
            tuple(
                (
                    f"{count:,}",
                    number(d.percent or 0.0, 1, signed=True),
                    _interval(percent_interval(d)),
                    d.answer,
                )
                for count, d in zip(curve.labels, curve.points, strict=True)
            ),
            crossover_words(curve),
        )
        for curve in label_curves(comparison)
    ]


def crossover_words(curve: LabelCurve) -> str:
    """What the curve says of the number of labels below which sharing helps."""
    if curve.crossover is None:
        return (
            f"No number of labels is shown at which sharing stops to help {curve.task}: over these "
            f"{len(curve.benefit)} seeds the benefit does not surely fall as labels grow."
        )
    low, high = curve.crossover.interval
    inside = curve.labels[0] <= curve.crossover.labels <= curve.labels[-1]
    where = "" if inside else " (beyond the numbers that were tried)"
    return (
        f"Sharing helps {curve.task} below about {curve.crossover.labels:,.0f} labels{where} "
        f"[{low:,.0f}, {high:,.0f}]: the zero of a straight line in log labels, 95 % interval by "
        f"Fieller over {len(curve.benefit)} seeds on these test images."
    )


def _interval(found: Interval | None) -> str:
    if found is None:
        return ""
    low, high = (number(end, 1, signed=True) for end in found)
    return f"[{low}, {high}]"
