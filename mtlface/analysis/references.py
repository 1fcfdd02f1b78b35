"""What each arm is compared with, and what such a difference says.

Between an arm of several tasks and its *twin*, the same settings with one of them, the only thing
that differs is sharing. Between a twin and the named baseline it is the recipe. Against any other
arm a difference is both at once, and the settings that differ are listed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mtlface.analysis.protocol import Arm
from mtlface.analysis.settings import (
    Differing,
    chosen_apart,
    differ_in_sources_alone,
    differing,
    is_matched_twin,
    is_twin,
    learns_several,
    searched,
    without_cut,
)
from mtlface.errors import MtlfaceError, did_you_mean

Kind = Literal["sharing", "recipe", "recipe + sharing", "more images", "more sources"]


@dataclass(frozen=True)
class Statement:
    """An arm against a reference in one task, and what their difference says.

    Attributes:
        kind: What the difference comes from.
        differing: The settings behind a recipe, or that searches alike chose apart for twins.
        matched: Whether the reference is a twin that had the arm's whole budget.
    """

    kind: Kind
    arm: Arm
    reference: Arm
    task: str
    differing: Differing
    matched: bool = False


def find_statements(
    arms: Sequence[Arm], chosen: Mapping[str, str]
) -> tuple[list[Statement], list[str]]:
    """Everything that these arms allow to say, each pair once.

    An arm of several tasks is set against its twins, and against its named baseline where it has no
    twin. A single-task arm is set against its baseline: what its own runs name, or for an arm that
    is cut to one task the only other single-task arm of that task. What the user chose stands
    above all of them.

    Args:
        arms: Arms with at least one finished run.
        chosen: Task → arm, from the command line.

    Returns:
        The statements, sharing first, then what other data sets bring, and notes on tasks that have
        no reference.

    Raises:
        MtlfaceError: `chosen` names a task or an arm that the tree does not have.
    """
    _check(arms, chosen)
    notes: dict[str, None] = {}
    found: dict[tuple[str, str, str], Statement] = {}

    def say(kind: Kind, arm: Arm, other: Arm, task: str, matched: bool = False) -> None:
        if kind == "recipe" and differ_in_sources_alone(arm, other):
            return  # its images are no recipe
        # A twin differs in what is learnt, and else in nothing but what a search chose for it.
        twin = kind == "sharing"
        grown = kind in ("more images", "more sources")  # whose data sets are all that differs
        apart = chosen_apart(arm, other) if twin else {} if grown else differing(arm, other)
        trials = [searched(a).get("trials") or 0 for a in (arm, other)]
        if trials[0] != trials[1]:
            notes[
                f"{arm.label} was tuned with {trials[0]} trials and {other.label} with "
                f"{trials[1]}: more tries find better settings. Tune both alike."
            ] = None
        elif twin and apart:
            notes[
                f"{arm.label} and {other.label} were tuned apart, with {trials[0]} trials each: "
                "what they differ by is sharing, and the luck of two searches."
            ] = None
        found.setdefault(
            (arm.label, other.label, task), Statement(kind, arm, other, task, apart, matched)
        )

    for arm in arms:
        for task in arm.tasks:
            baseline, note = _baseline(arm, task, arms, chosen)
            if not learns_several(arm) or task in chosen:
                if baseline is not None and baseline is not arm:
                    say(_kind(arm, baseline), arm, baseline, task)
                continue
            twins = [a for a in arms if is_twin(a, arm, task)]
            matched = [a for a in arms if is_matched_twin(a, arm, task)]
            for twin in twins[:1]:
                say("sharing", arm, twin, task)
                if baseline is not None and baseline is not twin:
                    say("recipe", twin, baseline, task)
            for twin in matched[:1]:
                say("sharing", arm, twin, task, matched=True)
            if not twins and not matched and baseline is not None:
                say(_kind(arm, baseline), arm, baseline, task)
            if not twins and not matched and note:
                notes[note] = None
    for arm in arms:
        for other in arms:
            if differ_in_sources_alone(arm, other):
                what: Kind = "more sources" if learns_several(arm) else "more images"
                for task in arm.tasks:
                    say(what, arm, other, task)
    order: list[Kind] = ["sharing", "more images", "more sources", "recipe + sharing", "recipe"]
    return sorted(found.values(), key=lambda s: order.index(s.kind)), list(notes)


def references_of(statements: Sequence[Statement]) -> dict[str, dict[str, Arm]]:
    """Arm of several tasks → task → its twin, or what it is compared with instead."""
    found: dict[str, dict[str, Arm]] = {}
    for s in statements:
        if learns_several(s.arm) and s.kind != "more sources":
            found.setdefault(s.arm.label, {}).setdefault(s.task, s.reference)
    return found


def _kind(arm: Arm, reference: Arm) -> Kind:
    if not learns_several(arm) or learns_several(reference):
        return "recipe"
    # The weight of a loss against others is balancing, and means nothing alone.
    return "recipe + sharing" if differing(arm, reference) else "sharing"


def _baseline(
    arm: Arm, task: str, arms: Sequence[Arm], chosen: Mapping[str, str]
) -> tuple[Arm | None, str | None]:
    if task in chosen:
        return next(a for a in arms if chosen[task] in (a.label, a.name)), None
    named = {
        str(run.content["references"][task])
        for run in arm.runs.values()
        if task in (run.content.get("references") or {})
    }
    alone = [a for a in arms if list(a.tasks) == [task] and not learns_several(a)]
    singles = [a for a in alone if without_cut(a)]
    if named:
        candidates = [a for a in arms if named & _names(a) and without_cut(a)]
        baseline = _closest(arm, candidates)
        if baseline is not None:
            return baseline, None
        which = ", ".join(sorted(named))
        found = f"{len(candidates)} such arms are" if candidates else "it is not"
        return None, (
            f"{arm.label} names {which} as its single-task arm for {task}, and {found} among these "
            f"runs: no difference is given. Run it, or choose with references.{task}=<arm>."
        )
    if not learns_several(arm) and without_cut(arm):
        return None, None
    baseline = _closest(arm, singles)
    if baseline is not None:
        return baseline, None
    if singles:
        names = ", ".join(a.label for a in singles)
        return None, (
            f"{task} has {len(singles)} single-task arms ({names}): no difference is given. Choose "
            f"one with references.{task}=<arm>."
        )
    return None, (
        f"No single-task arm of {task} is among these runs, so nothing says whether sharing helped "
        f"it: train the arm's twin (only={task}, or twins=true for a sweep), or choose an arm with "
        f"references.{task}=<arm>."
    )


def _closest(arm: Arm, candidates: Sequence[Arm]) -> Arm | None:
    """The candidate of the same sweep and with the same changes, else the unchanged one."""
    every = list(candidates)
    fewest = min((len(a.changes) for a in every), default=0)
    tests: tuple[Callable[[Arm], bool], ...] = (
        lambda a: a.group == arm.group,
        # An arm of the baseline's own experiment is not its own reference.
        lambda a: a.changes == arm.changes and arm not in every,
        # The unchanged one, or what is closest to it where the command line changed all of them.
        lambda a: len(a.changes) == fewest,
    )
    for test in tests:
        candidates = [a for a in candidates if test(a)] or candidates
    return candidates[0] if len(candidates) == 1 else None


def _names(arm: Arm) -> set[str]:
    return {arm.label, arm.name, *(str(r.content["experiment"]) for r in arm.runs.values())}


def _check(arms: Sequence[Arm], chosen: Mapping[str, str]) -> None:
    tasks = sorted({task for arm in arms for task in arm.tasks})
    for task, name in chosen.items():
        if task not in tasks:
            raise MtlfaceError(
                f"references.{task}: the runs have no such task, they have {', '.join(tasks)}."
                + did_you_mean(task, tasks)
            )
        having = [a for a in arms if name in (a.label, a.name) and task in a.tasks]
        if len(having) != 1:
            labels = [a.label for a in arms if task in a.tasks]
            raise MtlfaceError(
                f"references.{task}={name}: expected one arm with that task, found {len(having)}. "
                f"Arms with {task}: {', '.join(labels)}." + did_you_mean(name, labels)
            )
