"""Puts a tree of runs into one comparison: everything that the report says, as numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby

import numpy as np

from mtlface.analysis.cost import Cost, CostAgainstSingle, cost_against_single, cost_of
from mtlface.analysis.decisions import check_effect
from mtlface.analysis.differences import (
    Difference,
    Metric,
    at_any_budget,
    difference,
    in_one_family,
    learnt,
)
from mtlface.analysis.ensembles import Ensemble, ensembles
from mtlface.analysis.groups import gap_differences
from mtlface.analysis.images import Predictions
from mtlface.analysis.overall import Overall, overall, ranks
from mtlface.analysis.protocol import Arm, group_arms, one_test_set, test_sets, warnings_of
from mtlface.analysis.references import Statement, find_statements, references_of
from mtlface.analysis.results import Run, RunTree
from mtlface.analysis.statistics import Summary, summarise
from mtlface.analysis.tuning import Tuning, tune, with_tuned
from mtlface.analysis.wording import decimals_for, display_names
from mtlface.errors import MtlfaceError, did_you_mean

MANY = 16  # verdicts that fit a screen
Effects = Mapping[str, float | str]


@dataclass
class Comparison:
    """Everything that the report says, as numbers.

    Attributes:
        trivial: Metric → what a constant predictor scores.
        gaps: What sharing does to the gap between groups of images, in each primary metric.
        ensembles: The seeds of each arm as one.
        unlearnt: (arm, task) of references that are not shown to beat the constant predictor.
    """

    data: Mapping[str, object]
    arms: list[Arm]
    metrics: list[Metric]
    summaries: dict[tuple[str, str], Summary]
    trivial: dict[str, float]
    predictions: Predictions
    differences: list[Difference] = field(default_factory=list)
    gaps: list[Difference] = field(default_factory=list)
    ensembles: list[Ensemble] = field(default_factory=list)
    overall: list[Overall] = field(default_factory=list)
    ranks: dict[str, float] = field(default_factory=dict)
    costs: list[Cost] = field(default_factory=list)
    costs_against_single: list[CostAgainstSingle] = field(default_factory=list)
    tunings: list[Tuning] = field(default_factory=list)
    unlearnt: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_demo(self) -> bool:
        """Whether the images are rendered, so that no published figure is comparable."""
        return self.data.get("root_kind") == "demo"

    @property
    def primaries(self) -> list[Metric]:
        """The primary metric of every task."""
        return [metric for metric in self.metrics if metric.primary]

    def decimals(self, metric: Metric) -> int:
        """One number of decimals for a metric in the whole report."""
        return decimals_for([s.mean for (_, key), s in self.summaries.items() if key == metric.key])

    def decimals_of_difference(self, d: Difference) -> int:
        """Decimals that also show two digits of the interval, where that is small."""
        ends = d.estimate or d.pairs
        width = max(map(abs, ends.interval)) if ends else abs(d.mean)
        return max(self.decimals(d.metric), decimals_for([100 * width]) if width else 0)

    @cached_property
    def names(self) -> dict[str, str]:
        """What tables and figures call each arm."""
        chosen = {tuning.chosen.label: tuning.chosen.label for tuning in self.tunings}
        compared = [d.arm for d in self.verdicts if d.kind != "recipe" and d.arm not in chosen]
        return display_names(self.arms, compared if self.has_many_verdicts else ()) | chosen

    @property
    def verdicts(self) -> list[Difference]:
        """The differences that the verdicts speak of: primary metrics only."""
        return [d for d in self.differences if d.metric.primary]

    @property
    def has_many_verdicts(self) -> bool:
        """Whether they are too many to read one by one."""
        return len(self.verdicts) > MANY


def compare_all(
    tree: RunTree,
    data: str | None = None,
    references: Mapping[str, str] | None = None,
    tuned: Mapping[str, str] | None = None,
    effects: Effects | None = None,
) -> list[Comparison]:
    """Compares the arms of a tree on each source that they were tested on, as one family.

    Args:
        tree: What `read_runs` found.
        data: The data set to compare on; by default all sources of runs that learnt from several.
        references: As for `compare`.
        tuned: As for `compare`.
        effects: As for `compare`.

    Returns:
        A comparison for each source. p-values, and with them the answers, are corrected over all.

    Raises:
        MtlfaceError: As for `compare`.
    """
    groups = test_sets(tree, data)
    references, effects = references or {}, effects or {}
    known = {task for runs in groups for run in runs for task in run.tasks}
    found = []
    for runs in groups:
        tasks = {task for run in runs for task in run.tasks}
        # What is said for a task is nothing to a source without it; of no task, it is an error.
        own = {task: arm for task, arm in references.items() if task in tasks or task not in known}
        sizes = {task: size for task, size in effects.items() if task in tasks or task not in known}
        found.append(_compared(runs, tree, own, tuned, sizes))
    for place in ("differences", "gaps"):
        every = in_one_family([d for comparison in found for d in getattr(comparison, place)])
        for comparison in found:
            count = len(getattr(comparison, place))
            setattr(comparison, place, at_any_budget(every[:count]))
            every = every[count:]
    return found


def compare(
    tree: RunTree,
    data: str | None = None,
    references: Mapping[str, str] | None = None,
    tuned: Mapping[str, str] | None = None,
    effects: Effects | None = None,
) -> Comparison:
    """Compares the arms of a tree.

    Args:
        tree: What `read_runs` found.
        data: The data set to compare on, where the tree holds several.
        references: Task → arm to compare with, above what the runs themselves name.
        tuned: Name → pattern of arms that stand as one, chosen on validation; see `tune`.
        effects: Task → smallest difference of interest, above what the runs themselves declare.

    Raises:
        MtlfaceError: The runs come from different data, a reference is no arm of the tree, a
            pattern of `tuned` fits no grid, or an effect is no size or of no task.
    """
    return _compared(one_test_set(tree, data), tree, references, tuned, effects)


def _compared(
    runs: Sequence[Run],
    tree: RunTree,
    references: Mapping[str, str] | None,
    tuned: Mapping[str, str] | None,
    effects: Effects | None,
) -> Comparison:
    every, notes = group_arms(runs, tree)
    statements, reference_notes = find_statements(
        [arm for arm in every if arm.runs], references or {}
    )
    tunings = _tunings(every, references_of(statements), tuned) if tuned else []
    arms = with_tuned(every, tunings) if tunings else every
    finished = [arm for arm in arms if arm.runs]
    statements = _of_shown(statements, finished, tunings)
    found = references_of(statements)
    metrics, metric_notes = _metrics(finished)
    summaries = {
        (arm.label, metric.key): summarise(list(values.values()))
        for arm in finished
        for metric in metrics
        if (values := arm.values(metric.key))
    }
    predictions = Predictions()
    comparison = Comparison(runs[0].data, arms, metrics, summaries, _trivial(finished), predictions)
    comparison.tunings = tunings
    declared = declared_effects(finished, effects or {})
    differences = [
        d
        for statement in statements
        for metric in metrics
        if metric.higher_is_better is not None
        and metric.task == statement.task
        and (d := difference(statement, metric, predictions, declared.get(metric.task)))
    ]
    comparison.differences = at_any_budget(in_one_family(differences))
    comparison.ensembles = ensembles(finished, comparison.primaries, predictions)
    comparison.gaps = gap_differences(statements, comparison.verdicts, predictions)
    for arm in finished:
        of_arm = found.get(arm.label, {})
        primary = [
            d
            for d in comparison.verdicts
            if d.arm == arm.label
            and d.metric.task in of_arm
            and d.reference == of_arm[d.metric.task].label
        ]
        if len(arm.tasks) > 1 and (summed := overall(arm, primary)):
            comparison.overall.append(summed)
    singles = {task: a for of_arm in found.values() for task, a in of_arm.items()}
    multi = [arm for arm in finished if len(arm.tasks) > 1]
    comparison.ranks, rank_notes = ranks(multi, singles, comparison.primaries)
    comparison.unlearnt = [
        (reference.label, metric.task)
        for metric in comparison.primaries
        for reference in _once(s.reference for s in statements if s.task == metric.task)
        if learnt(reference, metric, predictions) is False
    ]
    comparison.costs = [cost_of(arm) for arm in finished]
    by_arm = {cost.arm: cost for cost in comparison.costs}
    comparison.costs_against_single = [
        cost_against_single(arm.label, {t: a.label for t, a in found[arm.label].items()}, by_arm)
        for arm in multi
        if set(found.get(arm.label, {})) == set(arm.tasks)
    ]
    # The grid must have had the same budget, too: warnings speak of all arms.
    comparison.notes = [
        *notes,
        *warnings_of(every),
        *metric_notes,
        *reference_notes,
        *_unpaired(statements),
        *rank_notes,
        *predictions.notes,
        *tree.notes,
    ]
    return comparison


def declared_effects(arms: Sequence[Arm], chosen: Effects) -> dict[str, float | str]:
    """Task → smallest difference of interest: the command line's, else the runs' own.

    Raises:
        MtlfaceError: One is no size, is of no task, or runs declare different ones.
    """
    tasks = sorted({task for arm in arms for task in arm.tasks})
    declared: dict[str, float | str] = {}
    for run in _runs(arms):
        for task, effect in run.effects.items():
            if task in chosen or task not in tasks:
                continue
            if declared.setdefault(task, effect) != effect:
                raise MtlfaceError(
                    f"The runs declare different smallest effects of {task}: {declared[task]} and "
                    f"{effect} ({run.folder}). Choose one with effects.{task}=…."
                )
    for task in chosen:
        if task not in tasks:
            raise MtlfaceError(
                f"effects.{task}: the runs have no such task, they have {', '.join(tasks)}."
                + did_you_mean(task, tasks)
            )
    for task, effect in (found := declared | dict(chosen)).items():
        check_effect(f"effects.{task}", effect)
    return found


def _tunings(
    arms: Sequence[Arm], references: Mapping[str, Mapping[str, Arm]], tuned: Mapping[str, str]
) -> list[Tuning]:
    metrics, _ = _metrics([arm for arm in arms if arm.runs])
    higher = {
        f"{m.task}/{m.name}": m.higher_is_better
        for m in metrics
        if m.primary and m.higher_is_better is not None
    }
    return [tune(name, pattern, arms, references, higher) for name, pattern in tuned.items()]


def _metrics(arms: Sequence[Arm]) -> tuple[list[Metric], list[str]]:
    """Every `test/<task>/<metric>` of the arms, primaries first within their task."""
    primaries: dict[str, str] = {}
    notes = []
    for arm in arms:
        for task, info in arm.tasks.items():
            if primaries.setdefault(task, info["primary"]) != info["primary"]:
                notes.append(
                    f"Arm {arm.label} names {info['primary']} as primary metric of {task}; the "
                    f"table uses {primaries[task]} for all arms."
                )
    directions: dict[str, bool] = {}
    keys: dict[str, None] = {}
    for run in _runs(arms):
        directions.update(run.content.get("directions") or {})
        keys.update(dict.fromkeys(k for k in run.metrics if k.startswith("test/")))
    tasks = [*primaries, *dict.fromkeys(k.split("/")[1] for k in keys if k.count("/") > 1)]
    metrics = []
    for key in keys:
        if key.count("/") < 2:
            continue  # test/loss and the like: a sum that no two arms share
        _, task, name = key.split("/", 2)
        direction = directions.get(f"{task}/{name.split('@')[0]}")
        metrics.append(Metric(task, name, direction, primaries.get(task) == name))
    for task, name in primaries.items():
        if not any(m.primary and m.task == task for m in metrics):
            notes.append(f"No run has a value of test/{task}/{name}, the primary metric of {task}.")
    return sorted(metrics, key=lambda m: (tasks.index(m.task), not m.primary)), notes


def _of_shown(
    statements: Sequence[Statement], shown: Sequence[Arm], tunings: Sequence[Tuning]
) -> list[Statement]:
    """The statements of the arms that the report shows; a tuned arm takes over its source's."""
    chosen = {t.source: t.chosen for t in tunings}
    labels = {arm.label for arm in shown}
    found = [s for s in statements if s.arm.label in labels]
    tuned = [s for s in statements if s.arm.label in chosen]
    return found + [replace(s, arm=chosen[s.arm.label]) for s in tuned]


def _unpaired(statements: Sequence[Statement]) -> list[str]:
    return [
        f"Arm {s.arm.label} shares no seed with {s.reference.label}, its reference for {s.task}: "
        "no paired difference. Run both with the same seeds."
        for s in statements
        if not set(s.arm.seeds) & set(s.reference.seeds)
    ]


def _once(arms: Iterable[Arm]) -> list[Arm]:
    return list({arm.label: arm for arm in arms}.values())


def _trivial(arms: Sequence[Arm]) -> dict[str, float]:
    pairs = sorted((k, v) for run in _runs(arms) for k, v in run.trivial.items())
    return {
        key: float(np.mean([value for _, value in group]))
        for key, group in groupby(pairs, key=lambda pair: pair[0])
    }


def _runs(arms: Sequence[Arm]) -> list[Run]:
    return [arm.runs[seed] for arm in arms for seed in arm.seeds]
