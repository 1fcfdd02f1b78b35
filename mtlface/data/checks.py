"""What a table's cells may hold, checked once for every reader, ours and others."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mtlface.data.schema import Label, Labels
from mtlface.errors import MtlfaceError

TAKEN = ("image", "split", "index", "size", "row")  # names in a table or a batch that are no labels


def checked_frame(
    frame: pd.DataFrame, labels: Labels, splits: Sequence[str], root: Path
) -> pd.DataFrame:
    """Returns the frame with rows numbered from 0 and one code for what is missing.

    Empty cells (None, NaN, NA) of a class become −1, those of a number NaN. Numbers that are
    written as text become numbers. Columns that hold no label stay as they are.

    Args:
        frame: One row per image: `image`, `split` and the columns of each label.
        labels: What the columns mean.
        splits: The names that `split` can have.
        root: The folder of the images, for error messages.

    Raises:
        MtlfaceError: A column is absent, or a cell holds what its label cannot be; the message
            names the column, the first row, the value, what was expected and how to fix it.
    """
    where = f"The table of {root}"
    _check_names(frame, labels, where)
    if not isinstance(frame.index, pd.RangeIndex) or frame.index.start or frame.index.step != 1:
        frame = frame.reset_index(drop=True)
    _check_images(frame, where)
    _check_splits(frame, splits, where)
    changed: dict[str, np.ndarray] = {}
    seen = set()  # CelebA's attributes are labels together and each alone
    for label in labels.values():
        for column in label.columns:
            if (what := (column, label.whole, label.bounds)) in seen:
                continue
            seen.add(what)
            cells = _checked_cells(frame, column, label, where)
            if cells is not None:
                changed[column] = cells
    frame = frame.assign(**changed) if changed else frame
    for label in labels.values():
        if (bad := label.degenerate(frame)).any():
            raise MtlfaceError(
                f"{where}: {_row(frame, bad)} has all points of '{label.name}', or both eyes, in "
                f"one place, as have {bad.sum():,} rows in all. Leave such rows out in the reader, "
                "or leave their points empty, which counts as missing."
            )
    return frame


def _check_names(frame: pd.DataFrame, labels: Labels, where: str) -> None:
    taken = [name for name in labels if name in TAKEN]
    if taken:
        raise MtlfaceError(
            f"{where} has a label called '{taken[0]}', a name that batches use themselves "
            f"({', '.join(TAKEN)}). Give the label another name in the reader."
        )
    needed = ["image", "split", *(c for label in labels.values() for c in label.columns)]
    for column in needed:
        found = [str(name) for name in frame.columns].count(column)
        if found != 1:
            shown = ", ".join(map(str, frame.columns[:12])) + " …" * (len(frame.columns) > 12)
            raise MtlfaceError(
                f"{where} has {found or 'no'} columns '{column}' and needs one; it has: {shown}. "
                "Add or rename the column in the reader, or take its label out of the schema."
            )


def _check_images(frame: pd.DataFrame, where: str) -> None:
    images = frame["image"]
    bad = np.array([not isinstance(image, str) or not image for image in images], dtype=bool)
    if bad.any():
        raise MtlfaceError(
            f"{where}: column image, row {int(bad.argmax()) + 1}, is "
            f"{_shown(images[bad].iloc[0])}; expected a path relative to the data's folder. "
            "Write one, or leave the row out."
        )
    names = images
    everything = "\n".join(images)
    if any(mark in everything for mark in ("./", "//", "\\")):
        names = images.str.replace("\\", "/").map(posixpath.normpath)
    if names.is_unique:
        return
    twice = names.duplicated(keep=False).to_numpy()
    same = np.flatnonzero((names == names[twice].iloc[0]).to_numpy())[:2]
    rows = " and ".join(f"row {row + 1} ({frame['split'].iloc[row]})" for row in same)
    raise MtlfaceError(
        f"{where} names the image {images.iloc[same[0]]} more than once, in {rows}; "
        f"{int(names.duplicated().sum()):,} rows repeat an image. An image belongs to one row and "
        "one split, or a test would know what was trained on. Drop the repeats in the reader."
    )


def _check_splits(frame: pd.DataFrame, splits: Sequence[str], where: str) -> None:
    bad = ~frame["split"].isin(splits).to_numpy(dtype=bool)
    if bad.any():
        found = _shown(frame["split"][bad].iloc[0])
        raise MtlfaceError(
            f"{where}: column split, {_row(frame, bad)}, is {found}{_others(bad)}; expected "
            f"{', '.join(splits[:-1])} or {splits[-1]}. Rename it in the reader."
        )


def _checked_cells(frame: pd.DataFrame, column: str, label: Label, where: str) -> np.ndarray | None:
    """The cells of a label's column as numbers, or None where they can stay as they are."""
    cells = frame[column]
    plain = isinstance(cells.dtype, np.dtype) and cells.dtype.kind in "iuf"
    numbers = (
        cells.to_numpy()
        if plain
        else pd.to_numeric(cells.astype(object).map(_number), errors="coerce").to_numpy(
            np.float64, na_value=np.nan
        )
    )
    missing = np.isnan(numbers) if plain else cells.isna().to_numpy(dtype=bool)
    low, high = label.bounds
    bad = ~missing & ~((numbers >= low) & (numbers <= high))
    if label.whole:
        missing = missing | (numbers == label.missing)
        bad = (bad & ~missing) | (~missing & ~bad & (numbers != np.rint(numbers)))
    if bad.any():
        raise MtlfaceError(
            f"{where}: column {column}, {_row(frame, bad)}, is {_shown(cells[bad].iloc[0])}"
            f"{_others(bad)}; expected {label.expected}. Change such cells in the label file or in "
            "the reader, or leave their rows out."
        )
    if plain and (numbers.dtype.kind in "iu" or not label.whole):
        return None
    if not label.whole:
        return numbers
    codes: np.ndarray = np.where(missing, label.missing, numbers).astype(np.int64)
    return codes


def _number(cell: object) -> object:
    """Text without blanks around it; whole numbers that no float can hold become infinite."""
    if isinstance(cell, str):
        return cell.strip()
    return float("inf") if isinstance(cell, int) and abs(cell) >= 2**63 else cell


def _row(frame: pd.DataFrame, bad: np.ndarray) -> str:
    row = int(bad.argmax())
    return f"row {row + 1} (image {frame['image'].iloc[row]})"


def _others(bad: np.ndarray) -> str:
    others = int(bad.sum()) - 1
    return f" ({others:,} more rows are wrong there)" if others else ""


def _shown(cell: Any) -> str:
    if pd.isna(cell):
        return "empty"
    text = f"'{cell}'" if isinstance(cell, str) else str(cell)
    return text if len(text) <= 60 else text[:60] + "…"
