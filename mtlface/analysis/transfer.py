"""Which tasks help each other: every gain from a partner, and who should share a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mtlface.analysis.comparison import Comparison
from mtlface.analysis.crossed import Interval
from mtlface.analysis.decisions import Answer
from mtlface.analysis.differences import Difference
from mtlface.analysis.gradients import mean_cosines
from mtlface.analysis.measured_groups import measured, with_interval
from mtlface.analysis.table import Table
from mtlface.analysis.wording import number

FEWEST_PAIRS = 3  # of tasks that make a matrix
MOST_TASKS = 10  # up to which every grouping is tried
FEWEST_CELLS = 6  # that a correlation is given for
RESAMPLES = 2000

Pair = tuple[str, str]


@dataclass(frozen=True)
class Gain:
    """What a task gains from one partner, against its single-task twin.

    Attributes:
        percent: Of the twin's metric, higher is better; on test.
        interval: Its 95 % interval.
        answer: After the correction over the whole report.
        validation: The same gain on validation, which groupings are chosen by.
    """

    percent: float
    interval: Interval | None
    answer: Answer
    validation: float | None


@dataclass(frozen=True)
class Transfer:
    """The gains of every task (first) from every partner (second).

    Attributes:
        tasks: In the order of the arms.
        gains: Those that the runs give.
        missing: Why a cell is empty.
        cosines: The mean cosine of two tasks' gradients, by pair in both orders.
    """

    tasks: tuple[str, ...]
    gains: Mapping[Pair, Gain]
    missing: Mapping[Pair, str]
    cosines: Mapping[Pair, float]

    def matrix(self) -> NDArray[np.float64]:
        """Percent (T, T); NaN on the diagonal and where a gain is missing."""
        values = np.full((len(self.tasks),) * 2, np.nan)
        for (task, partner), gain in self.gains.items():
            values[self.tasks.index(task), self.tasks.index(partner)] = gain.percent
        return values


def transfer_of(comparison: Comparison) -> Transfer | None:
    """The matrix of a report whose arms are pairs of tasks; None where they are not."""
    arms = {arm.label: arm for arm in comparison.arms}
    pairs = [arm for arm in comparison.arms if len(arm.tasks) == 2]
    sets = {frozenset(arm.tasks) for arm in pairs}
    if len(sets) < FEWEST_PAIRS or len(pairs) > len(sets):
        return None  # several arms of one pair, such as balancing methods, are no matrix
    gains, cosines = {}, {}
    for d in comparison.verdicts:
        arm = arms[d.arm]
        if d.kind == "sharing" and len(arm.tasks) == 2 and not d.matched and d.percent is not None:
            (partner,) = set(arm.tasks) - {d.metric.task}
            gains[d.metric.task, partner] = Gain(
                d.percent, percent_interval(d), d.answer, _on_validation(comparison, d)
            )
    tasks = tuple(dict.fromkeys(task for arm in comparison.arms for task in arm.tasks))
    missing = {}
    for task in tasks:
        for partner in tasks:
            if task != partner and (task, partner) not in gains:
                there = frozenset((task, partner)) in sets
                missing[task, partner] = (
                    "its pair or its twin has no finished seed in common"
                    if there
                    else "nobody trained this pair"
                )
    for arm in pairs:
        for (one, other), cosine in mean_cosines(arm).items():
            cosines[one, other] = cosines[other, one] = cosine
    return Transfer(tasks, gains, missing, cosines)


def transfer_tables(comparison: Comparison) -> list[Table]:
    """The matrix with its intervals, what gradients say beforehand, and the best groupings."""
    found = transfer_of(comparison)
    if found is None:
        return []
    rows = [
        (
            task,
            *("" if partner == task else _cell(found, (task, partner)) for partner in found.tasks),
        )
        for task in found.tasks
    ]
    reasons = sorted(set(found.missing.values()))
    empty = f" An empty cell: {'; '.join(reasons)}." if reasons else ""
    note = (
        "Each row's task trained with each column's, against its single-task twin; percent of the "
        "twin's metric, higher is better, with 95 % intervals. A star: better or worse after "
        f"Holm's correction over the whole report.{empty} {_foretold(found)}"
    )
    columns = ("gain of", *(f"with {task}" for task in found.tasks))
    return [
        Table("Which tasks help each other", columns, tuple(rows), note),
        _grouping_table(comparison, found),
    ]


def _cell(found: Transfer, pair: Pair) -> str:
    gain = found.gains.get(pair)
    if gain is None:
        return ""
    star = "*" if gain.answer in ("better", "worse") else ""
    text = f"{number(gain.percent, 1, signed=True)}{star}"
    if gain.interval is None:
        return text
    low, high = (number(end, 1, signed=True) for end in gain.interval)
    return f"{text} [{low}, {high}]"


def _foretold(found: Transfer) -> str:
    """What the gradients' cosines say of the gains: Spearman's correlation, resampled by pair."""
    pairs = [pair for pair in found.gains if pair in found.cosines]
    if len(pairs) < FEWEST_CELLS:
        return ""
    cosines = np.array([found.cosines[pair] for pair in pairs])
    gains = np.array([found.gains[pair].percent for pair in pairs])
    rho = float(stats.spearmanr(cosines, gains).statistic)
    sets = sorted({tuple(sorted(pair)) for pair in pairs})
    of_set = [[i for i, pair in enumerate(pairs) if tuple(sorted(pair)) == s] for s in sets]
    rng, drawn = np.random.default_rng(0), []
    for _ in range(RESAMPLES):
        chosen = [i for k in rng.integers(0, len(sets), len(sets)) for i in of_set[k]]
        if np.ptp(cosines[chosen]) > 0 and np.ptp(gains[chosen]) > 0:
            drawn.append(float(stats.spearmanr(cosines[chosen], gains[chosen]).statistic))
    low, high = np.quantile(drawn, (0.025, 0.975)) if drawn else (np.nan, np.nan)
    return (
        "The cosine of two tasks' gradients at the shared features foretells the gain with "
        f"Spearman's ρ = {rho:.2f} [{low:.2f}, {high:.2f}] "
        f"({len(pairs)} cells of {len(sets)} pairs)."
    )


def best_grouping(
    tasks: Sequence[str], gains: Mapping[Pair, float], networks: int
) -> tuple[tuple[tuple[str, ...], ...], float] | None:
    """The assignment of tasks to so many networks with the largest mean gain, by trying all.

    A task alone gains nothing; in a larger group it gains the mean of what each partner gives it
    (as Fifty et al., NeurIPS 2021, compose pairs).

    Args:
        tasks: At most ten.
        gains: Of a task from a partner, in percent.
        networks: How many groups.

    Returns:
        The groups and the mean gain over tasks; None where a gain that it needs is missing.
    """
    best: tuple[tuple[tuple[str, ...], ...], float] | None = None
    for groups in partitions(tuple(tasks), networks):
        total = 0.0
        for group in groups:
            for task in group:
                others = [gains.get((task, other), np.nan) for other in group if other != task]
                total += float(np.mean(others)) if others else 0.0
        if np.isfinite(total) and (best is None or total / len(tasks) > best[1]):
            best = groups, total / len(tasks)
    return best


def partitions(items: tuple[str, ...], parts: int) -> Iterator[tuple[tuple[str, ...], ...]]:
    """Every way to split items into exactly so many groups."""
    if not items:
        if parts == 0:
            yield ()
        return
    first, rest = items[0], items[1:]
    for groups in partitions(rest, parts - 1) if parts else ():
        yield ((first,), *groups)
    for groups in partitions(rest, parts):
        for k, group in enumerate(groups):
            yield (*groups[:k], (first, *group), *groups[k + 1 :])


def _grouping_table(comparison: Comparison, found: Transfer) -> Table:
    known = {p: g.validation for p, g in found.gains.items() if g.validation is not None}
    on_test = {pair: gain.percent for pair, gain in found.gains.items()}
    together = measured(comparison, (found.tasks,))
    rows = []
    if len(found.tasks) <= MOST_TASKS:
        for networks in range(1, len(found.tasks) + 1):
            best = best_grouping(found.tasks, known, networks)
            if best is not None:
                groups, score = best
                same = _score(groups, on_test, len(found.tasks))
                words = " | ".join(", ".join(group) for group in groups)
                trained = measured(comparison, groups)
                against = with_interval(trained, together) if together and networks > 1 else ""
                row = (words, number(score, 1, signed=True), same, with_interval(trained), against)
                rows.append((str(networks), *row))
    note = (
        "Chosen by the gains on validation; the gain of a group is composed of its pairs', and is "
        "a forecast until somebody trains it (transfer.largest=3 and more). Where all its networks "
        "are trained: the gain against each task alone, and against all together, by the same "
        "seeds, with 95 % intervals over seeds that are not corrected for the number of rows."
    )
    columns = (
        "networks",
        "best groups",
        "mean gain, validation %",
        "the same on test %",
        "trained, less each alone",
        "trained, less all together",
    )
    return Table("Who should share a network", columns, tuple(rows), note)


def _score(groups: Sequence[Sequence[str]], gains: Mapping[Pair, float], tasks: int) -> str:
    total = 0.0
    for group in groups:
        for task in group:
            others = [gains.get((task, other), np.nan) for other in group if other != task]
            total += float(np.mean(others)) if others else 0.0
    return number(total / tasks, 1, signed=True) if np.isfinite(total) else ""


def percent_interval(d: Difference) -> Interval | None:
    """The 95 % interval of a difference in percent of the reference, higher is better."""
    if d.estimate is None or not d.base:
        return None
    factor = 100 * d.metric.sign / abs(d.base)
    low, high = sorted(factor * end for end in d.estimate.interval)
    return low, high


def _on_validation(comparison: Comparison, d: Difference) -> float | None:
    """The mean gain in percent on validation, over the seeds that both arms have."""
    arms = {arm.label: arm for arm in comparison.arms}
    key = f"val/{d.metric.task}/{d.metric.name}"
    ours, theirs = (arms[label].values(key) for label in (d.arm, d.reference))
    common = ours.keys() & theirs.keys()
    found = [
        100 * d.metric.sign * (ours[s] - theirs[s]) / abs(theirs[s]) for s in common if theirs[s]
    ]
    return float(np.mean(found)) if found else None
