"""Finding a native layout inside a folder that a person unpacked somehow."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from mtlface.errors import MtlfaceError

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")

# Names that would leave the data set's folder: a step up, an absolute path, a drive, a home folder.
_LEAVES_FOLDER = re.compile(r"(?:^|[/\\])\.\.(?:[/\\]|$)|^[/\\~]|^[A-Za-z]:|\0")


def find_folder(root: Path, holds: Callable[[Path], bool], depth: int = 2) -> Path | None:
    """Returns the shallowest folder for which `holds` is true: `root` or one up to `depth` below.

    Archives often unpack into a folder of their own name, sometimes twice.

    Raises:
        MtlfaceError: Two folders of the same depth hold the layout, or `root` cannot be listed.
    """
    level = [root]
    for _ in range(depth + 1):
        found = [folder for folder in level if holds(folder)]
        if len(found) > 1:
            names = ", ".join(str(folder.relative_to(root)) for folder in found[:5])
            raise MtlfaceError(
                f"{root} holds the data set more than once: {names}. Set data.root to one of them."
            )
        if found:
            return found[0]
        level = [Path(entry.path) for folder in level for entry in listing(folder) if is_dir(entry)]
    return None


def listing(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder in the order of their names, without hidden ones.

    Raises:
        MtlfaceError: The folder cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            shown = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise MtlfaceError(f"{folder} cannot be listed: {error.strerror}.") from error
    return sorted(shown, key=lambda entry: entry.name)


def is_dir(entry: os.DirEntry[str]) -> bool:
    """Whether the entry is a folder, without an error for a dangling link."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def pictures(folder: Path) -> list[str]:
    """The names of the picture files that lie directly in the folder, sorted."""
    return [e.name for e in listing(folder) if is_picture(e.name) and not is_dir(e)]


def has_picture(folder: Path) -> bool:
    """Whether at least one picture lies directly in the folder; stops at the first."""
    try:
        with os.scandir(folder) as entries:
            return any(is_picture(entry.name) for entry in entries)
    except OSError:
        return False


def printable(name: str) -> str:
    """The name itself, or with escapes where its bytes are no UTF-8, which no table can hold."""
    return name.encode(errors="backslashreplace").decode()


def is_picture(name: str) -> bool:
    """Whether a file name is that of a visible picture file."""
    return not name.startswith(".") and name.lower().endswith(PICTURE_SUFFIXES)


def found_by_stem(root: Path, images: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Takes images that are not there under their name by their stem: `a.png` for `a.jpg`.

    Label files name the images that their authors had; copies are unpacked as PNG or with `.JPG`.
    Names without an ending are taken in the same way, and none where two files would do.

    Args:
        root: What the names are relative to.
        images: The names in label files, with `/` between folders.

    Returns:
        The names, corrected where a file was found, and a remark if any was.
    """
    parts = [image.rpartition("/") for image in images]
    there = {folder: _names(root / folder) for folder in {part[0] for part in parts}}
    absent = [row for row, (folder, _, name) in enumerate(parts) if name not in there[folder]]
    renamed, taken = list(images), {*images} if absent else set()
    stems: dict[tuple[str, str], list[str]] = {}
    for folder in {parts[row][0] for row in absent}:
        for name in sorted(filter(is_picture, there[folder])):
            if (path := f"{folder}/{name}" if folder else name) not in taken:
                stems.setdefault((folder, _stem(name)), []).append(path)
    changed = []
    for row in absent if stems else ():
        found = stems.pop((parts[row][0], _stem(parts[row][2])), [])
        if len(found) == 1:
            renamed[row] = found[0]
            changed.append(row)
    if not changed:
        return renamed, ()
    first = changed[0]
    remark = (
        f"{len(changed):,} images have another ending than in the label files "
        f"({renamed[first]} for {images[first]}) and were taken by their stem"
    )
    return renamed, (remark,)


def _names(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {printable(entry.name) for entry in entries}
    except (OSError, ValueError):  # the latter: a NUL in the name
        return set()


def _stem(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    return stem if dot + ending.lower() in PICTURE_SUFFIXES else name


def leaves_folder(names: Iterable[str]) -> np.ndarray:
    """Which file names point outside the folder that they are relative to, bool (N,)."""
    names = list(names)
    everything = "".join(names)
    if not any(mark in everything for mark in ("/", "\\", ":", "~", "..", "\0")):
        return np.zeros(len(names), dtype=bool)
    return np.array([_LEAVES_FOLDER.search(name) is not None for name in names], dtype=bool)


def nothing_known(root: Path, looked_for: str) -> MtlfaceError:
    """The error for a folder in which no known layout was found."""
    entries = [printable(e.name) + "/" * is_dir(e) for e in listing(root)]
    more = f" and {len(entries) - 8} more" if len(entries) > 8 else ""
    there = ", ".join(entries[:8]) + more if entries else "nothing"
    return MtlfaceError(
        f"{root} is not a layout that this data set has. Looked for {looked_for} there and up to "
        f"two folders below. Found: {there}. Set data.root to the unpacked data set."
    )
