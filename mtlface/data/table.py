"""`FaceTable`: a row a picture, whatever data set it came from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import pandas as pd

from mtlface.data.schema import Labels
from mtlface.errors import MtlfaceError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Omission:
    """A row or a picture that was left out, and why.

    Attributes:
        file: The label file or the picture.
        row: The line in that file, counted from 1 as an editor counts, or None for a whole file.
        reason: What was expected and what was found.
    """

    file: str
    row: int | None
    reason: str


@dataclass(frozen=True)
class FaceTable:
    """The pictures of a data set with their labels.

    Attributes:
        frame: A row a picture: `image` (path relative to `root`), `split` (`train`, `val`, `test`)
            and the columns of each label. Missing classes are −1, missing numbers NaN.
        labels: What the columns mean.
        root: The folder that the images lie in.
        omitted: What the reader left out.
        remarks: What else there is to know of the data set, a sentence each.
    """

    frame: pd.DataFrame
    labels: Labels
    root: Path
    omitted: tuple[Omission, ...] = ()
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        needed = ["image", "split", *(c for label in self.labels.values() for c in label.columns)]
        absent = [column for column in needed if column not in self.frame]
        if absent:
            raise ValueError(f"FaceTable lacks the columns {absent}; it has {list(self.frame)}.")
        unknown = set(self.frame["split"]) - set(SPLITS)
        if unknown:
            raise ValueError(f"FaceTable has the splits {sorted(unknown)}; expected {SPLITS}.")

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def counts(self) -> dict[str, int]:
        """Pictures by split."""
        found = self.frame["split"].value_counts()
        return {split: int(found.get(split, 0)) for split in SPLITS}

    def rows(self, split: str) -> np.ndarray:
        """The positions (int64) of a split's rows, in the table's order."""
        return np.flatnonzero((self.frame["split"] == split).to_numpy())

    def keep(self, rows: np.ndarray, omitted: Sequence[Omission] = ()) -> FaceTable:
        """The table with these rows only, remembering why others went."""
        frame = self.frame.iloc[rows].reset_index(drop=True)
        return replace(self, frame=frame, omitted=(*self.omitted, *omitted))

    def fingerprint(self) -> str:
        """16 hexadecimal digits of everything a result depends on: names, splits, all labels."""
        digest = hashlib.blake2b(digest_size=8)
        hashed = pd.util.hash_pandas_object(self.frame, index=False).to_numpy()
        digest.update(",".join(self.frame.columns).encode())
        digest.update(hashed.tobytes())
        return digest.hexdigest()


class Reader(Protocol):
    """Turns a native layout into a `FaceTable`; the only code that knows a file format.

    Attributes:
        layout: What it looks for in the folder, for error messages.
    """

    layout: ClassVar[str]

    def labels(self) -> Labels:
        """The labels that `read` will give, known before anything is read or downloaded.

        Classes that only the data can name (identities) are empty here.
        """
        ...

    def read(self, root: Path, seed: int) -> FaceTable:
        """Reads the folder.

        Args:
            root: The data set's folder.
            seed: Decides splits that the data set does not define itself.

        Raises:
            MtlfaceError: A file is missing or not as the format says.
        """
        ...


def first_of_each_split(table: FaceTable, limit: Mapping[str, int | None]) -> FaceTable:
    """Keeps the first n rows of each split; a split that `limit` does not name stays whole.

    Raises:
        MtlfaceError: A key is no split, or n is not positive.
    """
    for split, count in limit.items():
        if split not in SPLITS or not (count is None or (isinstance(count, int) and count > 0)):
            raise MtlfaceError(
                f"data.limit takes a positive number for train, val and test; found {split}: "
                f"{count}. Write for example data.limit='{{train: 1000, val: 200, test: 200}}'."
            )
    kept = [table.rows(split)[: limit.get(split)] for split in SPLITS]
    return table.keep(np.sort(np.concatenate(kept)))


def seeded_draw(table: FaceTable, count: int, ratios: Sequence[float], seed: int) -> FaceTable:
    """Draws `count` rows of the whole table and splits them anew by `ratios` (train, val, test).

    The official splits are given up, as small studies on CelebA do; where people repeat, the same
    person can then be in two splits.

    Raises:
        MtlfaceError: There are fewer rows than asked for, or the ratios are no shares of 1.
    """
    if len(ratios) != len(SPLITS) or min(ratios) < 0 or abs(sum(ratios) - 1) > 1e-6:
        raise MtlfaceError(
            f"data.draw.ratios needs three shares that sum to 1 (train, val, test); found {ratios}."
        )
    if not 0 < count <= len(table):
        raise MtlfaceError(
            f"data.draw.count asks for {count} pictures of the {len(table)} that the data has. "
            "Take another count, or data.draw=null for the whole set."
        )
    drawn = np.random.default_rng(seed).permutation(len(table))[:count]
    bounds = np.round(np.cumsum(ratios)[:-1] * count).astype(int)
    split = table.frame["split"].to_numpy(dtype=object, copy=True)
    for name, rows in zip(SPLITS, np.split(drawn, bounds), strict=True):
        split[rows] = name
    redrawn = replace(table, frame=table.frame.assign(split=split))
    return redrawn.keep(np.sort(drawn))
