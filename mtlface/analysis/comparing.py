"""Puts a tree of runs into one comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from mtlface.analysis import statistics as st
from mtlface.analysis.comparison import SINGLE, Comparison, Difference, Metric, Overall, Summary
from mtlface.analysis.cost import cost_against_single, cost_of
from mtlface.analysis.pictures import paired_errors
from mtlface.analysis.protocol import Arm, group_arms, one_data_set, warnings_of
from mtlface.analysis.references import find_references
from mtlface.analysis.results import Run, RunTree
from mtlface.analysis.tuning import Tuning, tune, with_tuned


def compare(
    tree: RunTree,
    data: str | None = None,
    references: Mapping[str, str] | None = None,
    tuned: Mapping[str, str] | None = None,
) -> Comparison:
    """Compares the arms of a tree.

    Args:
        tree: What `read_runs` found.
        data: The data set to compare on, where the tree holds several.
        references: Task → arm to compare with, above what the runs themselves name.
        tuned: Name → pattern of arms that stand as one, chosen on validation; see `tune`.

    Raises:
        MtlfaceError: The runs come from different data, a reference is no arm of the tree, or a
            pattern of `tuned` fits no grid.
    """
    runs = one_data_set(tree, data)
    every, notes = group_arms(runs, tree)
    found, reference_notes = find_references([arm for arm in every if arm.runs], references or {})
    tunings = _tunings(every, found, tuned) if tuned else []
    arms = with_tuned(every, tunings) if tunings else every
    found |= {t.chosen.label: found[t.source] for t in tunings if t.source in found}
    finished = [arm for arm in arms if arm.runs]
    found = {arm.label: found[arm.label] for arm in finished if arm.label in found}
    metrics, metric_notes = _metrics(finished)
    summaries = {
        (arm.label, metric.key): summarise(list(values.values()))
        for arm in finished
        for metric in metrics
        if (values := arm.values(metric.key))
    }
    comparison = Comparison(runs[0].data, arms, metrics, summaries, _trivial(finished))
    comparison.tunings = tunings
    # The grid must have had the same budget, too: warnings speak of all arms.
    comparison.notes = [*notes, *warnings_of(every), *metric_notes, *reference_notes, *tree.notes]
    for arm in finished:
        _compare_arm(comparison, arm, found.get(arm.label, {}))
    comparison.ranks = _ranks(comparison, found)
    comparison.costs = [cost_of(arm) for arm in finished]
    by_arm = {cost.arm: cost for cost in comparison.costs}
    comparison.costs_against_single = [
        cost_against_single(arm.label, {t: a.label for t, a in found[arm.label].items()}, by_arm)
        for arm in finished
        if len(arm.tasks) > 1 and set(found.get(arm.label, {})) == set(arm.tasks)
    ]
    return comparison


def summarise(values: Sequence[float]) -> Summary:
    """Mean and standard deviation (n − 1) over seeds."""
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Summary(len(values), float(np.mean(values)), sd)


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


def _compare_arm(comparison: Comparison, arm: Arm, references: Mapping[str, Arm]) -> None:
    differences = [
        difference
        for metric in comparison.metrics
        if metric.higher_is_better is not None and metric.task in references
        if (difference := _difference(arm, references[metric.task], metric)) is not None
    ]
    primary = [d for d in differences if d.metric.primary]
    corrected = dict(zip((d.metric for d in primary), st.holm([d.p for d in primary]), strict=True))
    for d in differences:
        p = corrected.get(d.metric)
        # Over pictures the error decides: lower is better whatever the metric's direction.
        benefit = -d.pictures.mean if d.pictures else d.sign * d.pairs.mean
        comparison.differences.append(replace(d, p_holm=p, verdict=st.verdict(benefit, p)))
    if len(primary) > 0 and len(arm.tasks) > 1:
        overall = _overall(arm, primary)
        if overall:
            comparison.overall.append(overall)
    for task, reference in references.items():
        if not set(arm.seeds) & set(reference.seeds):
            comparison.notes.append(
                f"Arm {arm.label} shares no seed with {reference.label}, its reference for {task}: "
                f"no paired difference. Run both with the same seeds."
            )


def _difference(arm: Arm, reference: Arm, metric: Metric) -> Difference | None:
    ours, theirs = arm.values(metric.key), reference.values(metric.key)
    seeds = tuple(sorted(set(ours) & set(theirs)))
    if not seeds:
        return None
    pairs = st.paired_seeds([ours[s] for s in seeds], [theirs[s] for s in seeds])
    pictures = None
    if len(seeds) == 1 and metric.primary:
        errors = paired_errors(arm.runs[seeds[0]], reference.runs[seeds[0]], metric.task)
        pictures = st.paired_pictures(*errors) if errors else None
    benefit = st.relative_benefit(
        [ours[s] - theirs[s] for s in seeds],
        [theirs[s] for s in seeds],
        bool(metric.higher_is_better),
    )
    return Difference(
        arm=arm.label,
        reference=reference.label,
        metric=metric,
        seeds=seeds,
        pairs=pairs,
        pictures=pictures,
        benefit=None if benefit is None else tuple(float(b) for b in benefit),
        p=pictures.p if pictures else pairs.p,
        seeds_needed=st.seeds_needed(pairs.mean, pairs.sd),
    )


def _overall(arm: Arm, primary: Sequence[Difference]) -> Overall | None:
    usable = [d for d in primary if d.benefit is not None]
    shared = sorted(set.intersection(*(set(d.seeds) for d in usable))) if usable else []
    if not shared:
        return None
    by_seed = [
        np.array([dict(zip(d.seeds, d.benefit or (), strict=True))[s] for s in shared])
        for d in usable
    ]
    contributions = {d.metric.task: float(np.mean(b)) for d, b in zip(usable, by_seed, strict=True)}
    return Overall(
        arm=arm.label,
        contributions=contributions,
        without_reference=tuple(t for t in arm.tasks if t not in contributions),
        delta_m=st.delta_m(by_seed),
        median=float(np.median(list(contributions.values()))),
    )


def _ranks(comparison: Comparison, references: Mapping[str, Mapping[str, Arm]]) -> dict[str, float]:
    """Ranks the multi-task arms and, as one contestant, the single-task networks."""
    scores: dict[str, dict[str, float]] = {}
    higher = {
        m.task: m.higher_is_better for m in comparison.primaries if m.higher_is_better is not None
    }
    for arm in comparison.arms:
        if arm.runs and len(arm.tasks) > 1:
            scores[arm.label] = _primary_means(comparison, arm.label, higher)
    singles: dict[str, float] = {}
    for of_arm in references.values():
        for task, reference in of_arm.items():
            singles.setdefault(task, _primary_means(comparison, reference.label, higher)[task])
    if singles:
        scores[SINGLE] = singles
    return st.mean_ranks(scores, higher) if len(scores) > 1 else {}


def _primary_means(
    comparison: Comparison, arm: str, higher: Mapping[str, bool]
) -> dict[str, float]:
    return {
        m.task: summary.mean
        for m in comparison.primaries
        if m.task in higher and (summary := comparison.summaries.get((arm, m.key)))
    }


def _trivial(arms: Sequence[Arm]) -> dict[str, float]:
    pairs = sorted((k, v) for run in _runs(arms) for k, v in run.trivial.items())
    return {
        key: float(np.mean([value for _, value in group]))
        for key, group in groupby(pairs, key=lambda pair: pair[0])
    }


def _runs(arms: Sequence[Arm]) -> list[Run]:
    return [arm.runs[seed] for arm in arms for seed in arm.seeds]
