"""`FaceTable`: a row a picture, whatever data set it came from."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import pandas as pd

from mtlface.data.checks import checked_frame
from mtlface.data.schema import Labels

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
            and the columns of each label. Missing classes are −1, missing numbers NaN; empty cells
            that a reader leaves in a class become −1.
        labels: What the columns mean.
        root: The folder that the images lie in.
        omitted: What the reader left out.
        remarks: What else there is to know of the data set, a sentence each.
        roots: In a joined table, the folder of each source; image names begin with the source's
            name, and then follows the path below that folder.

    Raises:
        MtlfaceError: A column is absent, an image is there twice, or a cell holds what its label
            cannot be; see `mtlface.data.checks`.
    """

    frame: pd.DataFrame
    labels: Labels
    root: Path
    omitted: tuple[Omission, ...] = ()
    remarks: tuple[str, ...] = ()
    roots: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        frame = checked_frame(self.frame, self.labels, SPLITS, self.root)
        object.__setattr__(self, "frame", frame)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def counts(self) -> dict[str, int]:
        """Pictures by split."""
        found = self.frame["split"].value_counts()
        return {split: int(found.get(split, 0)) for split in SPLITS}

    def path(self, image: str) -> Path:
        """Where an image of the table is."""
        source, _, inner = image.partition("/")
        return self.roots[source] / inner if self.roots else self.root / image

    def rows(self, split: str) -> np.ndarray:
        """The positions (int64) of a split's rows, in the table's order."""
        return np.flatnonzero((self.frame["split"] == split).to_numpy())

    def keep(self, rows: np.ndarray, omitted: Sequence[Omission] = ()) -> FaceTable:
        """The table with these rows only, remembering why others went."""
        frame = self.frame.iloc[rows].reset_index(drop=True)
        return replace(self, frame=frame, omitted=(*self.omitted, *omitted))

    def fingerprint(self, split: str | None = None, labels: Sequence[str] | None = None) -> str:
        """16 hexadecimal digits of the images, splits and labels.

        The folder that all images share and the order of the rows do not count, so that a data set
        that was moved, linked or listed in another order stays the same.

        Args:
            split: `train`, `val` or `test`; by default all of them.
            labels: The names of the labels that count; by default all of them.
        """
        chosen = list(self.labels) if labels is None else list(labels)
        columns = [column for name in chosen for column in self.labels[name].columns]
        rows = slice(None) if split is None else self.rows(split)
        frame = self.frame[["split", *columns]].iloc[rows].copy()
        frame["image"] = self.image_names()[rows]
        digest = hashlib.blake2b(digest_size=8)
        described = {name: self.labels[name].to_dict() for name in chosen}
        digest.update(json.dumps(described, sort_keys=True).encode())
        digest.update(np.sort(pd.util.hash_pandas_object(frame, index=False).to_numpy()).tobytes())
        return digest.hexdigest()

    def image_names(self) -> np.ndarray:
        """The images' names below the innermost folder that holds all of them, (N,) of str."""
        images = self.frame["image"].tolist()
        folder = posixpath.commonpath([posixpath.dirname(name) or "." for name in images] or ["."])
        start = 0 if folder in ("", ".") else len(folder) + 1
        return np.array([name[start:] for name in images], dtype=object)


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
