"""Label files in rows and columns, read the way people really save them.

CSV with commas, semicolons or tabs, a byte order mark, CRLF; and CelebA's blank-separated text with
a line that counts the rows and a header that does not name the first column.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from mtlface.data.label_lines import Lines, read_text
from mtlface.data.table import Omission
from mtlface.errors import MtlfaceError

_SEPARATORS = (",", ";", "\t", None)  # None: runs of blanks


@dataclass(frozen=True)
class LabelFile:
    """The rows of a label file.

    Attributes:
        path: The file.
        frame: The columns asked for; the index is the line in the file, counted from 1. Empty cells
            are NaN.
        omitted: The rows that were left out so far.
    """

    path: Path
    frame: pd.DataFrame
    omitted: tuple[Omission, ...] = field(default=(), repr=False)

    def without(
        self, bad: np.ndarray, reason: str | Callable[[pd.DataFrame], list[str]]
    ) -> LabelFile:
        """Leaves rows out and remembers why.

        Args:
            bad: Which rows go, bool of shape (N,).
            reason: Why; or a function of the bad rows that gives a reason for each.
        """
        if not bad.any():
            return self
        rows = self.frame[bad]
        reasons = [reason] * len(rows) if isinstance(reason, str) else reason(rows)
        omitted = (
            Omission(self.path.name, int(row), why)
            for row, why in zip(rows.index, reasons, strict=True)
        )
        return replace(self, frame=self.frame[~bad], omitted=(*self.omitted, *omitted))

    def unique(self, key: str) -> LabelFile:
        """One row a key: repeats of a row are dropped, rows that contradict each other all go."""
        if self.frame[key].is_unique:
            return self
        repeated = self.frame[self.frame[key].duplicated(keep=False)]
        same = repeated.index[repeated.duplicated()]
        once = self.without(self.frame.index.isin(same), "the same row again")
        clash = once.frame[key].duplicated(keep=False).to_numpy()
        return once.without(
            clash, lambda rows: [f"{name} occurs with different values" for name in rows[key]]
        )

    def numbers(self, columns: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The columns as float32 of shape (N, K), NaN where empty or unreadable.

        Returns:
            The numbers, and which cells hold something that is no finite number, bool (N, K).
        """
        cells = self.frame[list(columns)]
        if not all(isinstance(dtype, np.dtype) and dtype.kind in "iuf" for dtype in cells.dtypes):
            cells = cells.apply(lambda column: pd.to_numeric(column.map(_sane), errors="coerce"))
        with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is unreadable
            numbers = cells.to_numpy(dtype=np.float32, na_value=np.nan)
        unreadable = self.frame[list(columns)].notna().to_numpy() & ~np.isfinite(numbers)
        return np.where(unreadable, np.float32(np.nan), numbers), unreadable


def _sane(cell: object) -> object:
    """Pandas makes whole numbers of any length, and fails on those that no float can hold."""
    return math.inf if isinstance(cell, int) and abs(cell) >= 2**63 else cell


def read_label_file(
    path: Path,
    columns: Mapping[str, Sequence[str]],
    *,
    key: str,
    text: Collection[str] = (),
    optional: Collection[str] = (),
    header: bool = True,
) -> LabelFile:
    """Reads the named columns of a label file.

    Rows with a wrong number of fields or no key are left out; blank lines do not count.

    Args:
        path: The file.
        columns: Each column's name here and the spellings (any case) that the header may use.
        key: The column that names the row's picture: text without surrounding blanks.
        text: Further columns to keep as text.
        optional: Columns that may be absent; they are then empty.
        header: Whether the file has a header; if not, its columns are exactly `columns`.

    Raises:
        MtlfaceError: The file is missing, no text, or does not have the columns.
    """
    lines = Lines.of(read_text(path))
    rows = lines.filled
    counted = lines[rows[0]].strip() if len(rows) else ""
    if counted.isdecimal():
        rows = rows[1:]
    if not len(rows):
        raise MtlfaceError(f"{path} is empty. Expected the columns {', '.join(columns)}.")
    separator, names = _header(path, lines[rows[0]], columns, key, optional, header)
    rows = rows[int(header) :]
    fits = lines.field_counts(separator)[rows] == len(names)
    omitted = [
        Omission(path.name, int(row) + 1, f"expected {len(names)} fields") for row in rows[~fits]
    ]
    if counted.isdecimal() and counted != str(len(rows)):
        reason = f"its first line announces {counted} rows, but it has {len(rows)}"
        omitted.append(Omission(path.name, None, reason))
    rows = rows[fits]
    frame = _parse(path, lines.take(rows), len(rows), separator, names, {key, *text})
    frame.index = pd.Index(rows + 1)
    for absent in set(columns) - set(frame.columns):
        frame[absent] = np.nan
    file = LabelFile(path, frame[list(columns)], tuple(omitted))
    nameless = frame[key].isna() | (frame[key] == "")
    return file.without(nameless.to_numpy(dtype=bool), f"no {key}")


def _header(
    path: Path,
    first: str,
    columns: Mapping[str, Sequence[str]],
    key: str,
    optional: Collection[str],
    header: bool,
) -> tuple[str | None, list[str]]:
    """The separator, and each field's name: one of `columns`, or empty for a field not needed."""
    if not header:
        for separator in _SEPARATORS:
            if len(first.split(separator)) == len(columns):
                return separator, list(columns)
        raise _wrong_columns(path, columns, first)
    ours = {spelling.casefold(): name for name, all_ in columns.items() for spelling in all_}
    needed = set(columns) - set(optional)
    for separator in _SEPARATORS:
        found = [field.strip().strip('"').strip().casefold() for field in first.split(separator)]
        names = [ours.get(field, "") for field in found]
        if separator is None and key not in names:
            names = [key, *names]
        used = [name for name in names if name]
        if needed <= set(used) and len(used) == len(set(used)):
            return separator, names
    raise _wrong_columns(path, {c: s for c, s in columns.items() if c in needed}, first)


def _wrong_columns(path: Path, columns: Mapping[str, Sequence[str]], found: str) -> MtlfaceError:
    shown = found.strip() if len(found) <= 200 else found[:200].strip() + " …"
    expected = ", ".join(spellings[0] for spellings in columns.values())
    return MtlfaceError(
        f"{path} does not have the columns that it should, each once. Expected {expected}; "
        f"found the line '{shown}'. Take the file as the data set's authors published it."
    )


def _parse(
    path: Path,
    body: bytes,
    rows: int,
    separator: str | None,
    names: list[str],
    text: Collection[str],
) -> pd.DataFrame:
    places = [place for place, name in enumerate(names) if name]
    if not rows:
        return pd.DataFrame({names[place]: pd.Series(dtype=object) for place in places})
    try:
        frame = pd.read_csv(
            io.BytesIO(body),
            sep=separator or r"\s+",
            header=None,
            names=list(range(len(names))),
            usecols=places,
            index_col=False,
            # Look-ups in pandas' own strings are far slower than in Python's.
            dtype={place: object for place in places if names[place] in text},
            decimal="," if separator == ";" else ".",
            quoting=csv.QUOTE_NONE if separator is None else csv.QUOTE_MINIMAL,
            skipinitialspace=separator is not None,
            skip_blank_lines=False,
            low_memory=False,
        )
    except (ValueError, OverflowError) as error:  # pandas' parser errors are ValueErrors
        raise MtlfaceError(f"{path} cannot be read as a table: {error}.") from error
    if len(frame) != rows:
        raise MtlfaceError(
            f"{path} cannot be read as a table: {rows} lines gave {len(frame)} rows. "
            "Look for stray quotation marks."
        )
    frame = frame.rename(columns=dict(enumerate(names)))
    if separator is not None and (b" " in body or b"\t" in body):
        for column in set(text) & set(frame.columns):
            frame[column] = _stripped(frame[column])
    return frame


def _stripped(cells: pd.Series) -> pd.Series:
    values = [cell.strip() if isinstance(cell, str) else None for cell in cells.to_numpy()]
    return pd.Series(values, index=cells.index, dtype=object)


def binary_codes(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reads yes/no numbers that are coded −1/1 or 0/1; the code that occurs more often holds.

    Args:
        numbers: float32 of any shape, NaN where missing.

    Returns:
        int8 of 0, 1 or −1 where missing, and which numbers do not belong to the code.
    """
    no = -1.0 if (numbers == -1).sum() > (numbers == 0).sum() else 0.0
    missing = np.isnan(numbers)
    foreign = ~missing & (numbers != no) & (numbers != 1)
    codes = np.where(missing | foreign, -1, numbers == 1).astype(np.int8)
    return codes, foreign
