"""Groups of people: how each fares, how sure that is, and how far apart they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtlface.data.people import who_repeats
from mtlface.training.evaluation import Predictions, score
from mtlface.training.module import MultiTaskModule

RESAMPLES = 1000
FEWEST = 5  # images that an interval is given for
FEW_RESAMPLES = 100  # of metrics that are no mean over images, and are computed anew each time
CHUNK = 100
SEED = 0

Interval = tuple[float, float]
Groups = Mapping[str, NDArray[np.int64]]


@dataclass(frozen=True)
class Gap:
    """How far the groups of a column are apart in a task's primary metric.

    Attributes:
        values: The metric of each group that has labels.
        worst: The group that fares worst, of those with enough images; None without two of them.
        gap: Between the best and the worst of them; None as well.
        n: Labelled images of each group.
        intervals: 95 % of each value, by a bootstrap over images, or over people where they repeat.
        gap_interval: The same of the gap. A gap is a difference of extremes: with equal groups it
            lies above 0 by chance, and so does its interval.
        unranked: Groups with fewer images than that, which `worst` and `gap` leave out.
    """

    values: dict[str, float]
    worst: str | None
    gap: float | None
    n: dict[str, int] = field(default_factory=dict)
    intervals: dict[str, Interval] = field(default_factory=dict)
    gap_interval: Interval | None = None
    unranked: tuple[str, ...] = ()


def gap_between(
    module: MultiTaskModule,
    found: Predictions,
    task: str,
    higher: bool,
    groups: Groups,
    clusters: NDArray[np.int64],
    min_group: int,
) -> Gap | None:
    """Measures the groups of one column in one task's primary metric; None without two groups.

    Args:
        module: The network.
        found: Its predictions.
        task: Which task.
        higher: Whether higher is better.
        groups: The positions of each group's images.
        clusters: Who is on each image, (N,); images of one person are drawn together.
        min_group: Images that a group needs to be ranked.
    """
    of_task = module.tasks[task]
    error = of_task.error(found.outputs[task], found.targets).double().numpy()
    known = ~np.isnan(error)
    labelled = {name: rows[known[rows]] for name, rows in groups.items()}
    labelled = {name: rows for name, rows in labelled.items() if len(rows)}
    metric = f"{task}/{of_task.primary}"
    mean = _as_mean(error, known, score(module, found)[metric])
    if mean is not None:
        values = {name: float(mean[rows].mean()) for name, rows in labelled.items()}
    else:
        scored = {name: score(module, found, rows)[metric] for name, rows in labelled.items()}
        values = {name: value for name, value in scored.items() if np.isfinite(value)}
    if len(values) < 2:
        return None
    labelled = {name: labelled[name] for name in values}
    drawn = (
        _of_means(mean, labelled, clusters)
        if mean is not None
        else _recomputed(module, found, metric, labelled, clusters)
    )
    ranked = [name for name, rows in labelled.items() if len(rows) >= min_group]
    worst, gap, gap_interval = None, None, None
    if len(ranked) > 1:
        worst = (min if higher else max)(ranked, key=lambda name: values[name])
        gap = max(values[n] for n in ranked) - min(values[n] for n in ranked)
        of_ranked = np.stack([drawn[name] for name in ranked])
        gap_interval = _interval(of_ranked.max(axis=0) - of_ranked.min(axis=0))
    return Gap(
        values=values,
        worst=worst,
        gap=gap,
        n={name: len(rows) for name, rows in labelled.items()},
        intervals={
            name: interval
            for name, of in drawn.items()
            if len(labelled[name]) >= FEWEST and (interval := _interval(of)) is not None
        },
        gap_interval=gap_interval,
        unranked=tuple(name for name in labelled if name not in ranked),
    )


def clusters_of(table: pd.DataFrame) -> NDArray[np.int64]:
    """Which images are not independent, as numbers (N,); one of its own where nobody says it.

    Args:
        table: Predictions, a row per image, with columns of `mtlface.data.people.REPEATED`.
    """
    alone = np.char.add("image ", np.arange(len(table)).astype(np.str_))
    names = who_repeats(table)
    names = np.where(names == "", alone, names)
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def crossed_groups(groups: Mapping[str, Groups], columns: tuple[str, str]) -> Groups:
    """The images that belong to a group of one column and to a group of another."""
    first, second = (groups[column] for column in columns)
    return {
        f"{a} & {b}": both
        for a, of_a in first.items()
        for b, of_b in second.items()
        if len(both := np.intersect1d(of_a, of_b))
    }


def _as_mean(
    error: NDArray[np.float64], known: NDArray[np.bool_], value: float
) -> NDArray[np.float64] | None:
    """What each image adds, if the metric is the mean error or 1 − that (accuracy)."""
    if not known.any():
        return None
    for values in (error, 1 - error):
        if abs(float(values[known].mean()) - value) < 1e-5 * max(1.0, abs(value)):
            return values
    return None


def _draws(clusters: NDArray[np.int64], resamples: int) -> list[NDArray[np.int64]]:
    """How often each image is there, (B, N) in chunks: whole clusters are drawn."""
    rng, count = np.random.default_rng(SEED), int(clusters.max()) + 1
    chunks = []
    for start in range(0, resamples, CHUNK):
        size = min(CHUNK, resamples - start)
        times = rng.multinomial(count, np.full(count, 1 / count), size=size)
        chunks.append(times[:, clusters])
    return chunks


def _of_means(
    values: NDArray[np.float64], groups: Groups, clusters: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in groups}
    for times in _draws(clusters, RESAMPLES):
        for name, rows in groups.items():
            own = times[:, rows].astype(np.float64)
            with np.errstate(invalid="ignore"):
                found[name].append((own @ values[rows]) / own.sum(axis=1))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _recomputed(
    module: MultiTaskModule,
    found: Predictions,
    metric: str,
    groups: Groups,
    clusters: NDArray[np.int64],
) -> dict[str, NDArray[np.float64]]:
    drawn: dict[str, list[float]] = {name: [] for name in groups}
    for times in _draws(clusters, FEW_RESAMPLES):
        for row in times:
            for name, rows in groups.items():
                again = np.repeat(rows, row[rows])
                value = score(module, found, again)[metric] if len(again) else np.nan
                drawn[name].append(value)
    return {name: np.array(values) for name, values in drawn.items()}


def _interval(values: NDArray[np.float64]) -> Interval | None:
    known = values[np.isfinite(values)]
    if len(known) < len(values) / 2:
        return None
    low, high = np.quantile(known, (0.025, 0.975))
    return float(low), float(high)
