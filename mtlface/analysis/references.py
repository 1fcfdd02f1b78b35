"""Which single-task arm each arm is compared with, task by task."""

from collections.abc import Mapping, Sequence

from mtlface.analysis.protocol import Arm
from mtlface.errors import MtlfaceError, did_you_mean


def find_references(
    arms: Sequence[Arm], chosen: Mapping[str, str]
) -> tuple[dict[str, dict[str, Arm]], list[str]]:
    """Finds each arm's reference for each of its tasks.

    In this order: what the user chose, what the arm's own runs name, the only single-task arm of
    the task. Several single-task arms of one task are the user's choice to make; none is taken.

    Args:
        arms: Arms with at least one finished run.
        chosen: Task → arm, from the command line.

    Returns:
        Arm → task → reference arm, and notes on tasks that have none.

    Raises:
        MtlfaceError: `chosen` names a task or an arm that the tree does not have.
    """
    _check(arms, chosen)
    notes: dict[str, None] = {}
    found: dict[str, dict[str, Arm]] = {}
    for arm in arms:
        for task in arm.tasks:
            reference, note = _reference(arm, task, arms, chosen)
            if note:
                notes[note] = None
            if reference is not None and reference is not arm:
                found.setdefault(arm.label, {})[task] = reference
    return found, list(notes)


def _reference(
    arm: Arm, task: str, arms: Sequence[Arm], chosen: Mapping[str, str]
) -> tuple[Arm | None, str | None]:
    if task in chosen:
        return next(a for a in arms if chosen[task] in (a.label, a.name)), None
    named = {
        str(run.content["references"][task])
        for run in arm.runs.values()
        if task in (run.content.get("references") or {})
    }
    if named:
        candidates = [a for a in arms if named & _names(a)]
        reference = _closest(arm, candidates)
        if reference is not None:
            return reference, None
        which = ", ".join(sorted(named))
        found = f"{len(candidates)} such arms are" if candidates else "it is not"
        return None, (
            f"{arm.label} names {which} as its single-task arm for {task}, and {found} among these "
            f"runs: no difference is given. Run it, or choose with references.{task}=<arm>."
        )
    if len(arm.tasks) == 1:
        return None, None
    singles = [a for a in arms if list(a.tasks) == [task]]
    reference = _closest(arm, singles)
    if reference is not None:
        return reference, None
    if singles:
        names = ", ".join(a.label for a in singles)
        return None, (
            f"{task} has {len(singles)} single-task arms ({names}): no difference is given. Choose "
            f"one with references.{task}=<arm>."
        )
    return None, (
        f"No single-task arm of {task} is among these runs, so nothing says whether sharing helped "
        f"it: train one with the same budget, or choose an arm with references.{task}=<arm>."
    )


def _closest(arm: Arm, candidates: Sequence[Arm]) -> Arm | None:
    """The candidate of the same sweep and with the same changes, else the unchanged one."""
    for test in (
        lambda a: a.group == arm.group,
        lambda a: a.changes == arm.changes,
        lambda a: not a.changes,
    ):
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
