"""The Comsys hackathon's folders: labels are the names of folders and of distorted files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from mtlface.data.layout import is_dir, listing, pictures, printable
from mtlface.data.table import Omission

TASKS = ("Task_A", "Task_B")
_SPLITS = {"train": "train", "val": "val", "validation": "val", "valid": "val", "test": "test"}
_GENDERS = {"male": 1, "female": 0}

# One name for a condition, whichever layout it comes from.
_CONDITIONS = {
    **dict.fromkeys(("clean", "clear", "none", "normal", "original"), "clear"),
    **dict.fromkeys(("blur", "blurred", "blurry"), "blur"),
    **dict.fromkeys(("fog", "foggy"), "fog"),
    **dict.fromkeys(("lowlight", "low_light", "dark"), "low_light"),
    **dict.fromkeys(("noise", "noisy"), "noise"),
    **dict.fromkeys(("rain", "rainy"), "rain"),
}
_DISTORTED = re.compile(r"^(.+)_(blurred|foggy|lowlight|noisy|rainy|resized|sunny)$", re.IGNORECASE)


def condition_name(written: str) -> str:
    """The condition under the name that this project uses for it; unknown ones in lower case."""
    name = re.sub(r"[\s-]+", "_", written.strip().casefold())
    return _CONDITIONS.get(name, name)


def without_condition(image: str) -> str:
    """The path of the picture that a distorted one was made from, without its suffix."""
    path = Path(image)
    distorted = _DISTORTED.match(path.stem)
    folder = path.parent.parent if path.parent.name == "distortion" else path.parent
    return (folder / (distorted[1] if distorted else path.stem)).as_posix()


def read_folders(root: Path, folder: Path) -> tuple[pd.DataFrame, tuple[Omission, ...]]:
    """Lists Task_A and Task_B.

    Returns:
        `image` (relative to `root`), `gender` (1 = male), `person`, `condition` (empty where
        unknown) and `split`; and the folders that were left out.
    """
    rows: list[tuple[str, int, str, str, str]] = []
    omitted: list[Omission] = []
    for split, place in _split_folders(folder / "Task_A"):
        for inner in _folders(place):
            gender = _GENDERS.get(inner.name.casefold())
            if gender is None:
                name = printable(inner.relative_to(root).as_posix())
                omitted.append(Omission(name, None, "the folder is neither male nor female"))
            else:
                rows += [
                    (_relative(path, root), gender, "", "", split) for path in _pictures(inner)
                ]
    for split, place in _split_folders(folder / "Task_B"):
        for person in _folders(place):
            who = printable(person.name)
            for path in _pictures(person) + _pictures(person / "distortion"):
                rows.append((_relative(path, root), -1, who, _condition(path), split))
    frame = pd.DataFrame(rows, columns=["image", "gender", "person", "condition", "split"])
    return frame, tuple(omitted)


def _split_folders(task: Path) -> Iterator[tuple[str, Path]]:
    for place in _folders(task):
        if place.name.casefold() in _SPLITS:
            yield _SPLITS[place.name.casefold()], place


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [Path(entry.path) for entry in listing(folder) if is_dir(entry)]


def _pictures(folder: Path) -> list[Path]:
    return [folder / name for name in pictures(folder)] if folder.is_dir() else []


def _relative(path: Path, root: Path) -> str:
    return printable(path.relative_to(root).as_posix())


def _condition(path: Path) -> str:
    distorted = _DISTORTED.match(path.stem)
    return condition_name(distorted[2]) if distorted else "clear"
