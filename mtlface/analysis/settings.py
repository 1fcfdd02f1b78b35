"""What arms are, side by side: the settings in which two of them differ, and single-task twins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mtlface.analysis.protocol import Arm
from mtlface.analysis.table import Table
from mtlface.training.identity import Identity, difference, flattened

# What an arm of several tasks and one of a single task differ in by being what they are.
OF_SHARING = ("seed", "balancing", "sharing", "scores")
# A twin that is trained to its arm's whole budget differs from the plain one in these.
OF_BUDGET = ("patience", "match")
LABELS = "data.label_fraction."  # and the label: how many of its values are learnt from
LONGEST = 60  # characters of a value in a table

Differing = Mapping[str, tuple[Any, Any]]


def settings_of(arm: Arm) -> Identity:
    """The settings of an arm's newest run; its runs differ in nothing but the seed."""
    run = arm.runs[arm.seeds[-1]]
    config: Identity = dict(run.content.get("config") or {})
    return config


def differing(arm: Arm, reference: Arm) -> Differing:
    """Every setting in which two arms differ, besides tasks, weights, balancing, sharing and seed.

    Settings of a task count where both arms have it.
    """
    one, other = settings_of(arm), settings_of(reference)
    tasks, others = one.get("tasks") or {}, other.get("tasks") or {}
    alone = {f"tasks.{name}" for name in tasks.keys() ^ others.keys()}
    weights = {f"tasks.{name}.weight" for name in tasks.keys() & others.keys()}
    return difference(one, other, [*OF_SHARING, *alone, *weights])


def searched(arm: Arm) -> Identity:
    """How an arm's settings were searched (`tune=`), empty where nobody searched them."""
    return dict(arm.runs[arm.seeds[-1]].content.get("tuned") or {})


def searched_alike(one: Arm, other: Arm) -> tuple[str, ...]:
    """The keys that were searched for two arms, with the same trials in the same space; or none."""
    found, others = searched(one), searched(other)
    if not found or found.get("search") != others.get("search"):
        return ()
    return tuple({str(key): None for of in (found, others) for key in of.get("keys") or ()})


def chosen_apart(one: Arm, other: Arm) -> Differing:
    """The settings that searches alike chose differently for two arms, besides tasks' weights."""
    keys = searched_alike(one, other)
    return {k: pair for k, pair in differing(one, other).items() if k in keys}


def is_twin(single: Arm, arm: Arm, task: str) -> bool:
    """Whether an arm is another one's twin: the same settings with one of its tasks.

    Where both were searched alike, the settings that the searches chose may differ: each arm's best
    within one budget is set against the other's.
    """
    return _has_task_alone(single, arm, task) and not _beside_task(single, arm, task)


def is_matched_twin(single: Arm, arm: Arm, task: str) -> bool:
    """Whether an arm is another one's twin, but for training to the other's whole budget."""
    found = _beside_task(single, arm, task)
    return _has_task_alone(single, arm, task) and bool(found) and set(found) <= set(OF_BUDGET)


def differ_in_sources_alone(arm: Arm, other: Arm) -> bool:
    """Whether an arm learns from several data sets what the other learns from one of them.

    Tasks that the one data set lacks are no difference: seen on its test images, both arms have the
    same tasks. One of them is not the other's twin: both learn one task, or both learn several.
    """
    if set(arm.tasks) != set(other.tasks) or learns_several(arm) != learns_several(other):
        return False
    if not _joins(arm) or _joins(other):
        return False
    return all(key.startswith("data.") for key in differing(arm, other))


def learns_several(arm: Arm) -> bool:
    """Whether an arm learns several tasks; of one data set, it may show only one of them."""
    return max(len(arm.tasks), len(settings_of(arm).get("tasks") or {})) > 1


def _joins(arm: Arm) -> bool:
    data = settings_of(arm).get("data") or {}
    return bool(data) and "reader" not in data


def without_cut(arm: Arm) -> bool:
    """Whether an arm is an experiment of its own, and not another arm cut to one task."""
    return not any(word.startswith("only=") for word in arm.changes.split(","))


def settings_table(arms: Sequence[Arm], names: Mapping[str, str]) -> Table:
    """In what arms differ: each setting that not all of them share, a column per arm.

    Where there are too many arms for columns, each arm is a row with what sets it apart from most.
    """
    flat = {arm.label: flattened(_plain(arm)) for arm in arms}
    keys = sorted({key for of_arm in flat.values() for key in of_arm})
    values = {key: [_shown(of_arm.get(key)) for of_arm in flat.values()] for key in keys}
    varying = [key for key in keys if len(set(values[key])) > 1]
    title = "What the arms differ in"
    note = "The seed is left out. A dash: the arm has no such setting, or does not set it."
    if len(arms) <= 6:
        rows = [(key, *(_cell(of_arm.get(key)) for of_arm in flat.values())) for key in varying]
        return Table(title, ("setting", *(names[arm.label] for arm in arms)), tuple(rows), note)
    usual = {key: Counter(values[key]).most_common(1)[0][0] for key in varying}
    rows = []
    for label, of_arm in flat.items():
        own = {k: of_arm.get(k) for k in varying if _shown(of_arm.get(k)) != usual[k]}
        words = "; ".join(f"{key} = {_cell(value)}" for key, value in own.items())
        rows.append((names[label], words or "as most"))
    return Table(title, ("arm", "differs from most arms in"), tuple(rows), note)


def common_table(arms: Sequence[Arm]) -> Table:
    """The settings that all arms share, once."""
    flat = [flattened(_plain(arm)) for arm in arms]
    shared = {
        key: value
        for key, value in (flat[0] if flat else {}).items()
        if all(_shown(other.get(key)) == _shown(value) for other in flat)
    }
    rows = [(key, _cell(value)) for key, value in sorted(shared.items())]
    return Table("What all arms have in common", ("setting", "value"), tuple(rows))


def in_words(found: Differing, most: int = 6) -> str:
    """`optimizer.lr (0.001 and 0.0003), augment (…)`, shortened."""
    words = [f"{key} ({_cell(a)} and {_cell(b)})" for key, (a, b) in found.items()]
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def _plain(arm: Arm) -> Identity:
    return {key: value for key, value in settings_of(arm).items() if key != "seed"}


def _has_task_alone(single: Arm, arm: Arm, task: str) -> bool:
    one, other = (settings_of(a).get("tasks") or {} for a in (single, arm))
    if task not in other:
        # One of the many tasks of a head with a loss for each label.
        return list(single.tasks) == [task] and len(arm.tasks) > 1 and one == other
    same = not difference(
        {"tasks": {task: one.get(task)}},
        {"tasks": {task: other[task]}},
        searched_alike(single, arm),
    )
    return set(one) == {task} and len(other) > 1 and same


def _beside_task(single: Arm, arm: Arm, task: str) -> Differing:
    ignored = (*OF_SHARING, "tasks", *searched_alike(single, arm))
    found = difference(settings_of(single), settings_of(arm), ignored)
    return {
        key: pair
        for key, pair in found.items()
        # How many labels of another task there were is no part of what a twin is.
        if not (key.startswith(LABELS) and pair[0] is None) and not _chooses(task, *pair)
    }


def _chooses(task: str, one: Any, several: Any) -> bool:
    """Whether a setting lists the labels that are learnt, and differs in that it names one."""
    return one == [task] and (several == "all" or (isinstance(several, list) and task in several))


def _shown(value: Any) -> str:
    return repr(value)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
