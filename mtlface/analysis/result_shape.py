"""What `result.json` has to look like before anything of it is used: other programs may write it.

A file of another shape becomes one note, which says where; it must not hide the other runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mtlface.training.result import SCHEMA
from mtlface.values import printable, shown

LONGEST_NAME = 1000  # characters
NUMBER, TEXT, NOTHING = (int, float), (str,), (type(None),)

NEEDED = ("experiment", "arm", "seed", "data", "tasks", "metrics", "trained_on")
# A `*` is any key of a dict or any item of a list. Keys without a line here are shown as they are,
# or not at all; numbers among metrics may be anything, and what is no finite number is none.
SHAPES: dict[str, tuple[type, ...]] = {
    "experiment": TEXT,
    "arm": TEXT,
    "data": TEXT,
    "seed": (int,),
    "label": TEXT + NOTHING,
    "sweep": TEXT + NOTHING,
    "identity": TEXT,
    "git": TEXT + NOTHING,
    "config": (dict,),
    "labels": (list,),
    "labels.*": (dict,),
    "overrides": (list,),
    "overrides.*": TEXT,
    "tasks": (dict,),
    "tasks.*": (dict,),
    "tasks.*.label": TEXT,
    "tasks.*.primary": TEXT,
    "tasks.*.kind": TEXT,
    "tasks.*.higher_is_better": (bool, *NOTHING),
    "metrics": (dict,),
    "trivial": (dict,),
    "directions": (dict,),
    "directions.*": (bool, *NOTHING),
    "effects": (dict,),
    "effects.*": NUMBER + TEXT,
    "references": (dict,),
    "references.*": TEXT + NOTHING,
    "trained_on": (dict,),
    "trained_on.*": (dict,),
    "trained_on.*.root_kind": TEXT,
    "trained_on.*.images": TEXT,
    "trained_on.*.fingerprint": TEXT,
    "trained_on.*.counts": (dict,),
    "trained_on.*.counts.*": (int,),
    "evaluated_on": (dict,),
    "evaluated_on.*": (dict,),
    "evaluated_on.*.fingerprint": TEXT,
    "evaluated_on.*.labels": (dict,),
    "evaluated_on.*.labels.*": TEXT,
    "evaluated_on.*.metrics": (dict,),
    "evaluated_on.*.trivial": (dict,),
    "shortcut": (dict, *NOTHING),
    "shortcut.source_auroc": (dict,),
    "shortcut.source_auroc.*": NUMBER + NOTHING,
    "shortcut.calibration": (dict,),
    "shortcut.calibration.*": (dict,),
    "shortcut.calibration.*.*": (dict,),
    "shortcut.calibration.*.*.*": NUMBER + NOTHING,
    "label_counts": (dict,),
    "label_counts.*": (dict, *NUMBER),
    "tuned": (dict, *NOTHING),
    "selection": (dict,),
    "selection.monitor": TEXT,
    "selection.mode": TEXT,
    "selection.epoch": (int,),
    "selection.each_task_best": (dict,),
    "selection.each_task_best.*": (dict, *NOTHING),
    "selection.each_task_best.*.*": NUMBER + TEXT + NOTHING,
    "budget": (dict,),
    "budget.*": NUMBER + NOTHING,
    "model": (dict,),
    "model.parameters": (int,),
    "model.backbone": TEXT,
    "environment": (dict,),
}


def shape_problem(content: Any) -> str | None:
    """Why a file is no result that this version reads, as the end of a sentence; None if it is.

    Args:
        content: What its JSON holds.
    """
    if not isinstance(content, dict):
        return "does not hold a JSON object"
    if content.get("schema") != SCHEMA:
        return f"has schema {shown(content.get('schema'))}, and this version reads schema {SCHEMA}"
    if (absent := next((key for key in NEEDED if key not in content), None)) is not None:
        return f"lacks '{absent}'"
    if not content["trained_on"]:
        return "has nothing in 'trained_on'"
    for pattern, kinds in SHAPES.items():
        for place, value in _places(content, pattern.split(".")):
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                expected = " or ".join(_name(kind) for kind in kinds)
                return f"has {shown(value)} as '{printable(place)}'; expected {expected}"
    for task, info in content["tasks"].items():
        if not {"label", "primary"} <= info.keys():
            return f"lacks the label or the primary metric of task {shown(task)}"
    for source, found in content["trained_on"].items():
        if not {"root_kind", "counts", "images"} <= found.keys():
            return f"lacks the counts of the images of {shown(source)}"
    names = [content[key] or "" for key in ("experiment", "arm", "data")]
    names += [content.get("sweep") or "", content.get("label") or ""]
    names += [info[key] for info in content["tasks"].values() for key in ("label", "primary")]
    names += [*content["tasks"], *content["metrics"], *content["trained_on"]]
    for name in names:
        if len(name) > LONGEST_NAME or printable(name) != name:
            return f"has the name {shown(name)}, which is too long or has control characters"
    return None


def _places(node: Any, pattern: list[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values at a pattern of keys that are there, with their dotted places."""
    if not pattern:
        yield prefix, node
        return
    first, *rest = pattern
    if first == "*":
        items = list(node.items()) if isinstance(node, Mapping) else []
        items = list(enumerate(node)) if isinstance(node, list) else items
    else:
        items = [(first, node[first])] if isinstance(node, Mapping) and first in node else []
    for key, value in items:
        yield from _places(value, rest, f"{prefix}.{key}".lstrip("."))


def _name(kind: type) -> str:
    return {dict: "an object", list: "a list", str: "a text", bool: "true or false"}.get(
        kind, "null" if kind is type(None) else "a number"
    )
