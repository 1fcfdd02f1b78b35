"""`annotations.json`: a list of objects with an image and any of the other labels."""

from __future__ import annotations

import json
import math
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from mtlface.data.facecom_folders import condition_name, without_condition
from mtlface.data.label_lines import read_text
from mtlface.data.layout import leaves_folder, printable
from mtlface.data.table import Omission
from mtlface.errors import MtlfaceError

_SPELLINGS = {
    "image": ("filename", "image", "file_name", "file", "image_path", "path"),
    "gender": ("gender", "sex"),
    "person": ("person_id", "identity", "person", "subject"),
    "split": ("split", "partition", "subset"),
    "condition": ("condition", "distortion"),
}
_GENDERS = {"male": 1, "m": 1, "man": 1, "female": 0, "f": 0, "woman": 0}
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


class _Unclear(Exception):
    """Why an entry cannot be used."""


def read_annotations(root: Path, folder: Path) -> tuple[pd.DataFrame, tuple[Omission, ...]]:
    """Reads `annotations.json`.

    Keys and values are taken in any case and in the usual spellings (`filename` or `image`,
    `person_id` or `identity`). An entry that is unclear or that another one contradicts is left
    out; where some entries name a split, those without one are left out.

    Returns:
        `image` (relative to `root`), `gender` (1 = male, −1 missing), `person`, `condition` (empty
        where unknown), `split` (empty if no entry names one) and `clear` (what tells the clear
        image that it was made from); and the entries left out.

    Raises:
        MtlfaceError: The file is not a JSON list of objects.
    """
    path = folder / "annotations.json"
    rows: dict[str, dict[str, Any]] = {}
    contradicted: set[str] = set()
    omitted: list[Omission] = []

    def leave_out(number: int, reason: str) -> None:
        omitted.append(Omission(path.name, None, f"entry {number}: {reason}"))

    prefix = _prefix(root, folder)
    for number, entry in enumerate(_entries(path), start=1):
        try:
            row = _row(entry, prefix)
        except _Unclear as reason:
            leave_out(number, str(reason))
            continue
        image = row["image"]
        if image not in rows:
            rows[image] = row | {"number": number}
        elif row == {key: value for key, value in rows[image].items() if key != "number"}:
            leave_out(number, f"{image}: the same entry again")
        else:
            contradicted.add(image)
            leave_out(number, f"{image} occurs with different values")
    for image in sorted(contradicted):
        leave_out(rows.pop(image)["number"], f"{image} occurs with different values")
    if any(row["split"] for row in rows.values()):
        for image in [image for image, row in rows.items() if not row["split"]]:
            leave_out(rows.pop(image)["number"], f"{image} has no split, unlike others")
    columns = ["image", "gender", "person", "condition", "split"]
    frame = pd.DataFrame(list(rows.values()), columns=columns)
    frame["clear"] = frame["image"].map(without_condition)
    return frame, tuple(omitted)


def _prefix(root: Path, folder: Path) -> PurePosixPath:
    place = folder / "images" if (folder / "images").is_dir() else folder
    return PurePosixPath(place.relative_to(root).as_posix())


def _entries(path: Path) -> list[Any]:
    try:
        content = json.loads(read_text(path), object_pairs_hook=_Object)
    except json.JSONDecodeError as error:
        raise MtlfaceError(
            f"{path}, line {error.lineno}: expected JSON, found {error.msg.lower()}. "
            "The file is cut off or was edited by hand; mend that line."
        ) from None
    except (ValueError, RecursionError) as error:
        raise MtlfaceError(f"{path} is no usable JSON: {error}. Download it again.") from None
    if isinstance(content, _Object):
        lists = [value for key, value in content if key in ("annotations", "images", "data")]
        content = lists[0] if len(lists) == 1 else content
    if isinstance(content, _Object) or not isinstance(content, list) or not content:
        raise MtlfaceError(
            f"{path}: expected a list of objects with an image each, such as "
            '[{"filename": "a.jpg", "gender": "Male", "person_id": "p1"}]; found '
            f"{'an object' if isinstance(content, _Object) else 'no entries'}."
        )
    return content


class _Object(list[tuple[str, Any]]):
    """The pairs of a JSON object, so that a key that occurs twice is seen."""


def _row(entry: Any, prefix: PurePosixPath) -> dict[str, Any]:
    if not isinstance(entry, _Object):
        raise _Unclear("it is not an object")
    text = {field: _text(entry, field) for field in _SPELLINGS}
    gender, split = text["gender"].casefold(), text["split"].casefold()
    if gender and gender not in _GENDERS:
        raise _Unclear(f"gender is '{text['gender']}', expected male or female")
    if split and split not in _SPLITS:
        raise _Unclear(f"split is '{text['split']}', expected train, val or test")
    return {
        "image": _image(text["image"], prefix),
        "gender": _GENDERS.get(gender, -1),
        "person": text["person"],
        "condition": condition_name(text["condition"]),
        "split": _SPLITS.get(split, ""),
    }


def _text(entry: _Object, field: str) -> str:
    """The one value of a field under any of its spellings, empty where missing."""
    values = {_plain(value, key) for key, value in entry if key.casefold() in _SPELLINGS[field]}
    values.discard("")
    if len(values) > 1:
        raise _Unclear(f"{field} is given twice: {' and '.join(sorted(values))}")
    return values.pop() if values else ""


def _plain(value: Any, key: str) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _Unclear(f"{printable(key)} is {printable(str(value)[:40])}, expected text")
    if printable(str(value)) != str(value):
        raise _Unclear(f"{key} is no text: {printable(str(value))}")
    return str(value).strip()


def _image(name: str, prefix: PurePosixPath) -> str:
    name = name.replace("\\", "/")
    if not name:
        raise _Unclear("it has no image")
    if leaves_folder([name]).any():
        raise _Unclear(f"'{name}' points outside the data's folder")
    inner = PurePosixPath(name)
    if prefix.name == "images" and inner.parts[0] == "images" and len(inner.parts) > 1:
        inner = inner.relative_to("images")
    return (prefix / inner).as_posix()
