"""UTKFace (Zhang, Song and Qi 2017): a folder of pictures whose names are their labels.

A name is `[age]_[gender]_[race]_[date&time].jpg`, or `.jpg.chip.jpg` for the cropped faces, with
gender 0 = male, 1 = female; https://susanqq.github.io/UTKFace/.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mtlface.data.layout import has_picture, is_dir, listing, pictures, printable
from mtlface.data.table import Omission

AGES = (0, 116)
RACES = ("White", "Black", "Asian", "Indian", "Other")

# Kaggle's archive holds the same faces up to four times; the first of these is the whole set. The
# uncropped images ("in the wild") come as three parts that share none.
FOLDERS = (
    ("UTKFace",),
    ("utkface_aligned_cropped/UTKFace",),
    ("part1", "part2", "part3"),
    ("part1/part1", "part2/part2", "part3/part3"),
    ("crop_part1",),
    ("utkface_aligned_cropped/crop_part1",),
    (".",),
)
_COPIES = {name for names in FOLDERS for name in names if "part" not in name or "crop" in name}

# Real names lack the dot before `jpg` or have a blank there, and three lack a field.
_NAME = r"^([0-9]{1,3})_([0-9]*)_(?:([0-9]*)_)?([0-9]{8,}) *(?:\.?jpe?g)? *(?:\.chip)?\.\w+$"


def picture_folders(folder: Path) -> list[Path]:
    """The folders below (or the folder itself) that hold the whole set once; empty if none do."""
    for names in FOLDERS:
        if places := [folder / name for name in names if _has_face(folder / name)]:
            return places
    return []


def not_read(root: Path, folder: Path, places: Sequence[Path]) -> tuple[Omission, ...]:
    """The folders with faces beside and below the ones that are read, other than known copies."""
    beside = [Path(entry.path) for entry in listing(folder) if is_dir(entry)]
    below = [Path(e.path) for place in places for e in listing(place) if is_dir(e)]
    known = {folder / name for name in _COPIES} | {*places}
    known |= {parent for place in known for parent in place.parents}
    return tuple(
        Omission(
            printable(place.relative_to(root).as_posix()), None,
            f"its images were not read, only those in {', '.join(p.name for p in places)}",
        )
        for place in dict.fromkeys([*beside, *below])
        if place not in known and _has_face(place)
    )  # fmt: skip


def missing_parts(places: Sequence[Path]) -> tuple[str, ...]:
    """A remark if only some of the parts of the uncropped set are there."""
    names = [place.name for place in places]
    absent = [name for name in FOLDERS[2] if names[0] in FOLDERS[2] and name not in names]
    return (f"{', '.join(absent)} of the uncropped UTKFace is not there",) if absent else ()


def _has_face(place: Path) -> bool:
    return bool(
        has_picture(place) and _labels(map(printable, pictures(place)))["time"].notna().any()
    )


def read_names(root: Path, folder: Path) -> tuple[pd.DataFrame, tuple[Omission, ...]]:
    """Reads the labels of a folder's pictures from their names.

    A name with one class where gender and race should be says its age only: 2 to 4 must be the
    race, 0 and 1 could be either.

    Returns:
        `image` (relative to `root`), `age`, `gender` (1 = male) and `race`, missing as NaN and −1;
        and the pictures that were left out.
    """
    names = [printable(name) for name in pictures(folder)]
    prefix = "" if folder == root else folder.relative_to(root).as_posix() + "/"
    found = _labels(names)
    age, first, second = (
        pd.to_numeric(found[field], errors="coerce").to_numpy(dtype=np.float32, na_value=np.nan)
        for field in ("age", "first", "second")
    )
    short = found["second"].isna().to_numpy() & found["time"].notna().to_numpy()
    gender = np.where(short, np.nan, first)
    race = np.where(short, np.where(first >= 2, first, np.nan), second)
    reasons = {
        "the name is not [age]_[gender]_[race]_[date&time].jpg": found["time"].isna().to_numpy(),
        f"the age is not between {AGES[0]} and {AGES[1]}": ~(age <= AGES[1]),
        "the gender is not 0 or 1": gender > 1,
        "the race is not between 0 and 4": race >= len(RACES),
    }
    images = np.array([prefix + name for name in names], dtype=object)
    bad = np.zeros(len(names), dtype=bool)
    omitted = []
    for reason, applies in reasons.items():
        omitted += [Omission(image, None, reason) for image in images[applies & ~bad]]
        bad |= applies
    note = "gender or race is missing from the name: only what is clear was kept"
    omitted += [Omission(image, None, note) for image in images[short & ~bad]]
    for field, empty in (("gender", np.isnan(first)), ("race", np.isnan(second))):
        note = f"the {field} is not readable in the name: the rest was kept"
        omitted += [Omission(image, None, note) for image in images[empty & ~short & ~bad]]
    frame = pd.DataFrame(
        {
            "image": pd.Series(images, dtype=object),
            "age": age,
            "gender": np.where(np.isnan(gender), -1, 1 - gender).astype(np.int8),
            "race": np.where(np.isnan(race), -1, race).astype(np.int8),
        }
    )
    return frame[~bad].reset_index(drop=True), tuple(omitted)


def copies(root: Path, images: np.ndarray) -> np.ndarray:
    """Numbers the pictures by content, int64 (N,): byte-identical ones have the same number.

    Only files of equal size are read.
    """
    paths = [root / image for image in images]
    sizes = np.array([_size(path) for path in paths], dtype=np.int64)
    _, where, count = np.unique(sizes, return_inverse=True, return_counts=True)
    suspects = np.flatnonzero((count[where.reshape(-1)] > 1) & (sizes > 0))
    first: dict[bytes, int] = {}
    content = np.arange(len(paths))
    for row in suspects:
        content[row] = first.setdefault(_digest(paths[row]), int(row))
    return content


def _labels(names: Iterable[str]) -> pd.DataFrame:
    found = pd.Series(list(names), dtype="str").str.extract(_NAME)
    return found.set_axis(["age", "first", "second", "time"], axis=1)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _digest(path: Path) -> bytes:
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
    except OSError:
        return str(path).encode()
