"""What `images=` means: a file, a folder, a glob, a list file, or several with commas between."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mtlface.errors import MtlfaceError
from mtlface.values import cell, printable

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".jp2"}
LISTS = {".txt", ".csv", ".tsv"}
SHOWN = 200  # characters of a long value that an error repeats
PATH_COLUMNS = ("image", "full_path", "path", "filename", "file")


@dataclass(frozen=True)
class Listed:
    """Picture files in the order in which they were asked for.

    Attributes:
        names: What tables call them: the path, or as the list file has it, in UTF-8, without
            control characters, and with ./ before a name that a spreadsheet takes for a formula.
        paths: Where they lie. Plain text: a hundred thousand `Path` objects weigh a lot.
        ids: What a list file's column `id` says, else the file names without their endings.
    """

    names: list[str]
    paths: list[str]
    ids: list[str]

    def __len__(self) -> int:
        return len(self.paths)


def list_images(text: str) -> Listed:
    """Finds the pictures; whether they can be decoded shows later.

    A folder means all pictures in it and below, by name. A list file is a `.txt` with a path a
    line (lines that start with `#` are comments), or a `.csv` or `.tsv` with one of the columns
    image, full_path, path, filename or file; its paths start at the list's own folder, at
    `face_dataset` in it, or where the door was opened.

    Args:
        text: The value of `images=`.

    Raises:
        MtlfaceError: There is nothing of that name, or no picture in it.
    """
    path = Path(text).expanduser()
    if os.path.isdir(path):  # noqa: PTH112 - a name that no file can have is no folder, either
        found = sorted(
            str(p) for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and not p.is_dir()
        )
        if not found:
            known = ", ".join(sorted(SUFFIXES))
            raise MtlfaceError(f"images={text} is a folder without a picture; looked for {known}.")
        return _named(found)
    if _is_file(path):
        return _from_list(path) if path.suffix.lower() in LISTS else _named([str(path)])
    if any(sign in text for sign in "*?["):
        found = sorted(p for p in glob.glob(str(path), recursive=True) if _is_file(p))  # noqa: PTH207
        if not found:
            raise MtlfaceError(f"images={text} matches no file. Check the pattern and its folder.")
        return _named(found)
    if "," in text:
        parts = [list_images(part) for part in text.split(",") if part]
        return Listed(
            [name for part in parts for name in part.names],
            [path for part in parts for path in part.paths],
            [id_ for part in parts for id_ in part.ids],
        )
    shown = printable(text if len(text) <= SHOWN else f"{text[:SHOWN]}…")
    if os.path.lexists(path):
        raise MtlfaceError(
            f"images={shown} is a pipe, a device or a broken link. Expected a picture, a folder or "
            "a list (.txt or .csv)."
        )
    raise MtlfaceError(
        f"images={shown}: there is nothing of that name. Give a picture, a folder, a pattern in "
        "quotes ('faces/*.jpg'), or a list (.txt or .csv)."
    )


def _named(paths: list[str], names: list[str] | None = None) -> Listed:
    shown = [_as_cell(name) for name in names or paths]
    return Listed(shown, paths, [cell(Path(path).stem) for path in paths])


def _as_cell(name: str) -> str:
    """A name that stays the path of its file where a spreadsheet would see a formula."""
    return printable(f"./{name}" if cell(name)[:1] == "'" != name[:1] else name)


def _from_list(path: Path) -> Listed:
    ids: list[str] | None = None
    if path.suffix.lower() == ".txt":
        lines = [line.strip() for line in _readable(path, _lines)]
        names = [line for line in lines if line and not line.startswith("#")]
    else:
        table = _readable(path, _table)
        column = next((name for name in PATH_COLUMNS if name in table), None)
        if column is None:
            raise MtlfaceError(
                f"{path} has the columns {', '.join(map(str, table))}; expected one of "
                f"{', '.join(PATH_COLUMNS)} with the pictures' paths."
            )
        names = table[column].tolist()
        ids = table["id"].tolist() if "id" in table else None
    if not names:
        raise MtlfaceError(f"{path} is a list without a picture. Write one path a line.")
    listed = _named([_place(name, path.parent) for name in names], names)
    return listed if ids is None else Listed(listed.names, listed.paths, ids)


def _place(name: str, folder: Path) -> str:
    places = (folder / name, folder / "face_dataset" / name, Path(name))
    return str(next((place for place in places if _is_file(place)), places[0]))


def _is_file(path: str | Path) -> bool:
    # Unlike Path.is_file, also False for names that are too long or have a null byte.
    return os.path.isfile(path)  # noqa: PTH113


def _readable(path: Path, read: Callable[[Path], Any]) -> Any:
    try:
        return read(path)
    except (OSError, ValueError) as error:  # pandas' errors of parsing are ValueErrors
        reason = " ".join(str(error).split())
        raise MtlfaceError(
            f"The list {path} cannot be read ({reason}). Expected UTF-8 text: a path a line "
            "(.txt), or a table with a line of column names (.csv, .tsv)."
        ) from error


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8-sig").splitlines()


def _table(path: Path) -> pd.DataFrame:
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
