"""One report over several data sets: what more images, more tasks and more data sets each bring."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mtlface.analysis import wording as w
from mtlface.analysis.answer import answer_line, question
from mtlface.analysis.comparison import Comparison
from mtlface.analysis.differences import Difference
from mtlface.analysis.references import Kind
from mtlface.analysis.table import Table

Report = Sequence[Comparison]
"""A comparison for each set of test images; of one data set, a single one."""

# What each column of the table compares, in the order in which a network grows.
GROWTH: dict[Kind, str] = {
    "more images": "more images",
    "sharing": "more tasks",
    "more sources": "more data sets",
}


def name_of(comparison: Comparison) -> str:
    """The data set that was tested on."""
    return str(comparison.data.get("name"))


def title(report: Report) -> str:
    """The question that the report answers."""
    return question(report[0]) if len(report) == 1 else "Did more images, tasks or data sets help?"


def answer(report: Report) -> str:
    """The answer in one line; of several data sets, one for each."""
    if len(report) == 1:
        return answer_line(report[0])
    told = [text for kind in GROWTH if (text := _told(report, kind))]
    seeds = {d.n for part in report for d in part.verdicts}
    n = f"n = {min(seeds)} to {max(seeds)} seeds" if len(seeds) > 1 else f"n = {min(seeds)} seeds"
    return f"{'; '.join(told)}. {n}." if seeds and told else "Nothing here says what grew."


def _told(report: Report, kind: Kind) -> str:
    """What one kind of growth did: what is decided by name, and how many are not."""
    found = [(part, d) for part in report for d in _grown(part) if d.kind == kind]
    decided = [
        f"{w.phrase(d)} on {name_of(part)}"
        for part, d in found
        if d.answer in ("better", "worse", "shown equal")
    ]
    if not found:
        return ""
    open_ones = len(found) - len(decided)
    rest = [f"{open_ones} undecided"] if open_ones else []
    return f"{GROWTH[kind].capitalize()}: {', '.join([*decided, *rest])}"


def growth_table(report: Report) -> Table:
    """By task and data set: more images for one task, more tasks on them, and both at once.

    Arms of several tasks stand a row each; the effect on one task of growing from its own images to
    the joint ones is the same for all of them.
    """
    rows = []
    for part in report:
        found = _grown(part)
        for metric in part.primaries:
            cells = {kind: _cell(_of(found, metric.task, kind)) for kind in GROWTH}
            if any(cell != w.ABSENT for cell in cells.values()):
                rows.append((w.measured(metric), name_of(part), *cells.values()))
    return Table(
        "More images, more tasks, more data sets",
        ("task", "tested on", *GROWTH.values()),
        tuple(rows),
        "More images: the task alone on all data sets, less the task alone on its own. More tasks: "
        "all tasks on all data sets, less the task alone on the same images. More data sets: all "
        "tasks on all data sets, less the tasks of the one data set on that alone. 95 % intervals; "
        "Holm's correction is over all verdicts on all data sets.",
    )


def shortcut_table(report: Report) -> Table:
    """Whether features tell the data sets apart, and how calibrated tasks are on each of them."""
    arms = {arm.label: (arm, part) for part in report for arm in part.arms if arm.runs}
    rows = []
    for arm, part in arms.values():
        found = [
            run.content["shortcut"] for run in arm.runs.values() if run.content.get("shortcut")
        ]
        if not found:
            continue
        areas = _means(of["source_auroc"] for of in found)
        errors = {
            task: _means(_errors(of["calibration"].get(task) or {}) for of in found)
            for task in dict.fromkeys(task for of in found for task in of["calibration"])
        }
        calibrated = "; ".join(f"{task}: {_by_name(of)}" for task, of in errors.items() if of)
        mean = w.number(areas.pop("mean", None), 3)
        rows.append(
            (part.names[arm.label], str(len(found)), mean, _by_name(areas), calibrated or w.ABSENT)
        )
    return Table(
        "Can the data sets be told apart by the features?",
        ("arm", "n", "AUROC of the probe", "by data set", "calibration error (ECE) by data set"),
        tuple(rows),
        "A linear probe on the frozen shared features, fitted on validation and measured on test "
        "images: each data set against the others, means over n seeds. 0.5 is chance; near 1, the "
        "network can answer by data set where labels differ between them, and a task that is less "
        "calibrated on one of them may do so.",
    )


def tables_across(report: Report) -> list[Table]:
    """The tables that speak of several data sets at once."""
    every = (growth_table(report), shortcut_table(report))
    return [table.without_empty() for table in every if table.rows]


def _errors(of_task: Mapping[str, Mapping[str, float | None]]) -> dict[str, float | None]:
    return {source: of.get("ece") for source, of in of_task.items()}


def _means(every: Iterable[Mapping[str, float | None]]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for found in every:
        for name, value in found.items():
            if value is not None:
                values.setdefault(name, []).append(value)
    return {name: float(np.mean(of)) for name, of in values.items()}


def _by_name(found: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in found.items())


def _grown(part: Comparison) -> list[Difference]:
    """What is said of the arms on all data sets; nothing where no arm is on several."""
    found = [d for d in part.verdicts if d.kind in GROWTH and not d.matched]
    # The arms that grew, by their own names or by those of their single-task twins.
    arms = {d.arm for d in found if d.kind == "more sources"}
    single = {d.arm for d in found if d.kind == "more images"}
    return [
        d
        for d in found
        if d.kind != "sharing" or d.arm in arms or (not arms and d.reference in single)
    ] if arms or single else []  # fmt: skip


def _of(found: Sequence[Difference], task: str, kind: Kind) -> Difference | None:
    of_task = [d for d in found if d.metric.task == task and d.kind == kind]
    return of_task[0] if len(of_task) == 1 else None


def _cell(d: Difference | None) -> str:
    if d is None:
        return w.ABSENT
    return f"{w.change(d)} {w.change_interval(d)}, {w.verdict_text(d)}".replace(" ,", ",")
