"""One report over several data sets: what more images, more tasks and more data sets each bring."""

from __future__ import annotations

from collections.abc import Sequence

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
    return " ".join(f"On {name_of(part)}: {answer_line(part)}" for part in report)


def growth_table(report: Report) -> Table:
    """By task and data set: more images for one task, more tasks on them, and both at once.

    Arms of several tasks stand a row each; the effect on one task of growing from its own images to
    the joint ones is the same for all of them.
    """
    rows = []
    for part in report:
        found = [d for d in part.verdicts if d.kind in GROWTH and not d.matched]
        if all(d.kind == "sharing" for d in found):
            continue
        # What grew: the arms on all data sets, and beside each of them its twins.
        arms = [d.arm for d in found if d.kind == "more sources"]
        for metric in part.primaries:
            cells = {kind: _cell(_of(found, metric.task, kind, arms)) for kind in GROWTH}
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


def _of(
    found: Sequence[Difference], task: str, kind: Kind, arms: Sequence[str]
) -> Difference | None:
    """The difference of one kind, of the arms that learn from all data sets."""
    of_task = [d for d in found if d.metric.task == task and d.kind == kind]
    if kind == "sharing":
        of_task = [d for d in of_task if not arms or d.arm in arms]
    return of_task[0] if len(of_task) == 1 else None


def _cell(d: Difference | None) -> str:
    if d is None:
        return w.ABSENT
    return f"{w.change(d)} {w.change_interval(d)}, {w.verdict_text(d)}".replace(" ,", ",")
