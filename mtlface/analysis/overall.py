"""An arm over all its tasks: Δm with and without its most influential task, and ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mtlface.analysis import crossed as cr
from mtlface.analysis import statistics as st
from mtlface.analysis.crossed import Array, Estimate
from mtlface.analysis.differences import FEWEST_SEEDS, Difference, Metric
from mtlface.analysis.protocol import Arm

SINGLE = "single-task networks"  # as one contestant of the ranks


@dataclass(frozen=True)
class Overall:
    """An arm over all tasks that have a reference; percent, higher is better.

    Attributes:
        contributions: Task → its relative benefit, the mean over the seeds.
        without_reference: Tasks that Δm leaves out.
        seeds: The seeds that all its tasks have.
        delta_m: The mean over tasks and seeds.
        estimate: Its interval; None below three seeds.
        crossed: Whether that counts images as well as seeds, or seeds alone.
        influential: The task without which Δm moves most; None with fewer than three tasks.
        without_influential: Δm without it.
        median: Of the tasks' contributions.
        worse: Tasks with a negative contribution.
    """

    arm: str
    contributions: Mapping[str, float]
    without_reference: tuple[str, ...]
    seeds: tuple[int, ...]
    delta_m: float
    estimate: Estimate | None
    crossed: bool
    influential: str | None
    without_influential: float | None
    median: float
    worse: tuple[str, ...]


def overall(arm: Arm, primary: Sequence[Difference]) -> Overall | None:
    """Sums up an arm; None where its tasks' differences share no seed.

    Args:
        arm: The arm.
        primary: Its differences in the tasks' primary metrics.
    """
    usable = [d for d in primary if d.benefit is not None]
    shared = sorted(set.intersection(*(set(d.seeds) for d in usable))) if usable else []
    if not shared:
        return None
    by_seed = {
        d.metric.task: np.array(d.benefit)[[d.seeds.index(seed) for seed in shared]] for d in usable
    }
    parts = {task: float(np.mean(values)) for task, values in by_seed.items()}
    table = _table(usable, by_seed, shared)
    influential, rest = _influential(parts)
    values = np.mean(np.stack(list(by_seed.values())), axis=0)
    estimate = None
    if len(shared) >= FEWEST_SEEDS:
        overlap = max(d.overlap for d in usable)
        estimate = cr.over_seeds(values, overlap) if table is None else cr.crossed(table)
    return Overall(
        arm=arm.label,
        contributions=parts,
        without_reference=tuple(t for t in arm.tasks if t not in parts),
        seeds=tuple(shared),
        delta_m=float(values.mean()),
        estimate=estimate,
        crossed=table is not None,
        influential=influential,
        without_influential=rest,
        median=float(np.median(list(parts.values()))),
        worse=tuple(task for task, part in parts.items() if part < 0),
    )


def ranks(
    arms: Sequence[Arm],
    singles: Mapping[str, Arm],
    metrics: Sequence[Metric],
) -> tuple[dict[str, float], list[str]]:
    """Mean ranks of the multi-task arms and, as one contestant, the single-task networks.

    In each task the means are over the seeds that all of its contestants have: a mean over other
    seeds is another question.

    Args:
        arms: The multi-task arms.
        singles: Task → its single-task arm.
        metrics: The tasks' primary metrics.

    Returns:
        Contestant → mean rank, and notes on tasks that rank nobody.
    """
    scores: dict[str, dict[str, float]] = {}
    notes = []
    for metric in metrics:
        contestants = {arm.label: arm for arm in arms if arm.values(metric.key)}
        if metric.task in singles and singles[metric.task].values(metric.key):
            contestants[SINGLE] = singles[metric.task]
        if len(contestants) < 2:
            continue
        values = {name: arm.values(metric.key) for name, arm in contestants.items()}
        common = sorted(set.intersection(*(set(v) for v in values.values())))
        if not common:
            notes.append(
                f"No seed is common to all arms in {metric.task} {metric.name}: the mean ranks "
                "leave the task out. Start the sweep again to fill the gaps."
            )
            continue
        for name, of_arm in values.items():
            mean = float(np.mean([of_arm[seed] for seed in common]))
            scores.setdefault(name, {})[metric.task] = mean
    higher = {m.task: m.higher_is_better for m in metrics if m.higher_is_better is not None}
    return (st.mean_ranks(scores, higher) if len(scores) > 1 else {}), notes


def _influential(parts: Mapping[str, float]) -> tuple[str | None, float | None]:
    if len(parts) < 3:
        return None, None
    total = sum(parts.values())
    without = {task: (total - part) / (len(parts) - 1) for task, part in parts.items()}
    delta_m = total / len(parts)
    task = max(without, key=lambda t: abs(without[t] - delta_m))
    return task, without[task]


def _table(
    differences: Sequence[Difference], by_seed: Mapping[str, Array], shared: Sequence[int]
) -> Array | None:
    """Δm by seed and image, (n, N); None where the tasks' images are not the same."""
    cells = [d.cells for d in differences]
    first = cells[0]
    if first is None:
        return None
    tables = []
    for d, of_task in zip(differences, cells, strict=True):
        if of_task is None or not np.array_equal(of_task.images, first.images):
            return None
        rows = [d.seeds.index(seed) for seed in shared]
        values, percent = np.array(d.values)[rows], by_seed[d.metric.task]
        # The benefit is the difference times one factor, whatever the seed.
        largest = int(np.argmax(np.abs(values)))
        factor = percent[largest] / values[largest] if values[largest] else 0.0
        tables.append(of_task.table[rows] * factor)
    return cr.by_cluster(np.mean(tables, axis=0), first.clusters)
