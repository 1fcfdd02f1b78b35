"""The Comsys hackathon's folders: labels are the names of folders and of distorted files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from mtlface.data.layout import is_dir, is_picture, listing, pictures, printable
from mtlface.data.table import Omission
from mtlface.errors import MtlfaceError

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
    """The path of the image that a distorted one was made from, without its ending."""
    path = Path(image)
    folder = path.parent.parent if _is_distorted(path.parent.name) else path.parent
    return (folder / _clear_stem(path)).as_posix()


def task_folder(folder: Path, letter: str) -> Path | None:
    """The folder of a task, `a` or `b`, spelt `Task_A`, `TaskA`, `task a`, …, if there is one.

    Raises:
        MtlfaceError: There are two.
    """
    found = [place for place in _folders(folder) if _plain(place.name) == f"task{letter}"]
    if len(found) > 1:
        raise MtlfaceError(
            f"{folder} holds a task twice: {found[0].name} and {found[1].name}. Remove one, or set "
            "data.root to a folder with one of them."
        )
    return found[0] if found else None


def read_folders(root: Path, folder: Path) -> tuple[pd.DataFrame, tuple[Omission, ...]]:
    """Lists both tasks.

    Distorted images are in a folder called `distortion`, `distorted` or the like, in any case: of
    each person, of a split or of the whole task. Outside a person's folder they belong to whom the
    clear image of their name shows, `<clear>_foggy.jpg`.

    Returns:
        `image` (relative to `root`), `gender` (1 = male), `person`, `condition` (empty where
        unknown), `split` and `clear` (what tells the clear image that it was made from); and the
        folders and images that were not read.
    """
    listed = _Listing(root)
    if task := task_folder(folder, "a"):
        _read_genders(task, listed)
    if task := task_folder(folder, "b"):
        _read_people(task, listed)
    columns = ["image", "gender", "person", "condition", "split", "clear"]
    return pd.DataFrame(listed.rows, columns=columns), tuple(listed.omitted)


class _Listing:
    """The rows and omissions found so far."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.rows: list[tuple[str, int, str, str, str, str]] = []
        self.omitted: list[Omission] = []

    def name(self, path: Path) -> str:
        return printable(path.relative_to(self.root).as_posix())

    def add(self, path: Path, split: str, clear: str, person: str = "", gender: int = -1) -> None:
        condition = _condition(path) if person else ""  # the first task's images do not tell
        self.rows.append((self.name(path), gender, person, condition, split, clear))

    def leave_out(self, path: Path, reason: str) -> None:
        self.omitted.append(Omission(self.name(path), None, reason))

    def leave_out_images_of(self, folder: Path, expected: str) -> None:
        if count := len(_pictures(folder)):
            self.leave_out(folder, f"{count} images directly in it were not read: {expected}")


def _read_genders(task: Path, listed: _Listing) -> None:
    for split, place in _split_folders(task, listed):
        listed.leave_out_images_of(place, "expected them in male/ and female/")
        for inner in _folders(place):
            gender = _GENDERS.get(inner.name.casefold())
            if gender is None:
                listed.leave_out(inner, "the folder is neither male nor female")
                continue
            for path in _pictures(inner):
                listed.add(path, split, without_condition(listed.name(path)), gender=gender)
            for deeper in _folders(inner):
                listed.leave_out(deeper, "the folder was not read: images are expected above it")


def _read_people(task: Path, listed: _Listing) -> None:
    shared = [(place, "") for place in _folders(task) if _is_distorted(place.name)]
    people: dict[str, set[tuple[str, str, str]]] = {}  # by a clear image's stem, or their own name
    for split, place in _split_folders(task, listed, also=_is_distorted):
        listed.leave_out_images_of(place, "expected a folder for each person")
        for person in _folders(place):
            if _is_distorted(person.name):
                shared.append((person, split))
                continue
            who, clear = printable(person.name), listed.name(person)
            for path in _pictures(person):
                people.setdefault(_clear_stem(path), set()).add((who, split, clear))
                listed.add(path, split, f"{clear}/{_clear_stem(path)}", who)
            people.setdefault(who, set()).add((who, split, clear))
            for inner in _folders(person):
                if not _is_distorted(inner.name):
                    listed.leave_out(inner, "the folder was not read: it is no distortion/")
                    continue
                for path in _pictures(inner):
                    listed.add(path, split, f"{clear}/{_clear_stem(path)}", who)
                for deeper in _folders(inner):
                    listed.leave_out(deeper, "the folder was not read: images are expected above")
    for folder, split in shared:
        _read_shared(folder, split, people, listed)


def _read_shared(
    folder: Path, split: str, people: dict[str, set[tuple[str, str, str]]], listed: _Listing
) -> None:
    """Distorted images of several people; folders below may be those of a split or a person."""
    for path in sorted(folder.rglob("*")):
        if not is_picture(path.name) or not path.is_file():
            continue
        above = [parent.name for parent in path.relative_to(folder).parents if parent.name]
        splits = {_SPLITS[name.casefold()] for name in above if name.casefold() in _SPLITS} or {
            split
        }
        named = [name for name in map(printable, above) if name in people]
        found = people.get(named[0] if named else printable(_clear_stem(path)), set())
        found = {owner for owner in found if owner[1] in splits or splits == {""}}
        if len(found) == 1:
            who, belongs, clear = next(iter(found))
            listed.add(path, belongs, f"{clear}/{_clear_stem(path)}", who)
        else:
            there = "several people have" if found else "nobody has"
            listed.leave_out(path, f"{there} a clear image or folder called {_clear_stem(path)}")


def _split_folders(
    task: Path, listed: _Listing, also: Callable[[str], bool] = lambda _: False
) -> Iterator[tuple[str, Path]]:
    listed.leave_out_images_of(task, "expected them in train/, val/ or test/")
    for place in _folders(task):
        if place.name.casefold() in _SPLITS:
            yield _SPLITS[place.name.casefold()], place
        elif not also(place.name):
            listed.leave_out(place, "the folder was not read: it is not train, val or test")


def _is_distorted(name: str) -> bool:
    return _plain(name).startswith("distort")


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()


def _clear_stem(path: Path) -> str:
    distorted = _DISTORTED.match(path.stem)
    return printable(distorted[1] if distorted else path.stem)


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [Path(entry.path) for entry in listing(folder) if is_dir(entry)]


def _pictures(folder: Path) -> list[Path]:
    return [folder / name for name in pictures(folder)] if folder.is_dir() else []


def _condition(path: Path) -> str:
    distorted = _DISTORTED.match(path.stem)
    return condition_name(distorted[2]) if distorted else "clear"
