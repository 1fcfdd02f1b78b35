"""Age and gender: UTKFace, or label files in the way of a Kaggle competition.

The competition's layout is `train.csv` (`id,full_path,gender,age`, 1 = male) and `test.csv` without
labels, with the pictures in `face_dataset/train` and `face_dataset/test`. Other sets with a label
file, such as IMDB-WIKI and FairFace, are read in the same way, with or without `val.csv` and
`test.csv`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from mtlface.data.competition import label_file, read_competition
from mtlface.data.frame import FaceFrame
from mtlface.data.layout import find_folder, nothing_known
from mtlface.data.schema import Binary, Category, Labels, Number
from mtlface.data.splits import checked_ratios, stratified_split
from mtlface.data.table import SPLITS, FaceTable
from mtlface.data.utkface import (
    AGES,
    RACES,
    copies,
    missing_parts,
    not_read,
    picture_folders,
    read_names,
)
from mtlface.errors import MtlfaceError

AGE_GROUPS = (*(f"{low}-{low + 9}" for low in range(0, 70, 10)), "70+")


@dataclass(frozen=True)
class AgeGender:
    """Reads UTKFace or the competition's layout, whichever lies in the folder.

    Labels: `age` in years, `gender`, and for results by group `race` (UTKFace only) and `age_group`
    (decades).

    UTKFace has no official split: one is made from the seed, balanced over gender × decade, with
    byte-identical pictures in one split. Of label files, each is its split. What has no file is
    drawn from `train.csv` in the same way: all three splits where it stands alone.

    Attributes:
        ratios: Shares of train, val and test, which sum to 1; where a split has a label file, the
            other two keep their proportion.

    Raises:
        MtlfaceError: The ratios do not sum to 1.
    """

    layout: ClassVar[str] = (
        "UTKFace's pictures ([age]_[gender]_[race]_[date&time].jpg) in UTKFace/, "
        "utkface_aligned_cropped/, part1/ to part3/ or crop_part1/, or a label file train.csv "
        "(or one that ends in _train.csv) with paths of images"
    )
    face_frame: ClassVar[FaceFrame] = FaceFrame((200, 200), ((79.0, 93.0), (121.0, 93.0)))

    ratios: Sequence[float] = (0.8, 0.1, 0.1)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratios", checked_ratios(self.ratios))

    def labels(self) -> Labels:
        """The labels that `read` gives."""
        return Labels(
            [
                Number("age", float(AGES[0]), float(AGES[1]), "years"),
                Binary("gender", ("female", "male")),
                Category("race", RACES, group=True),
                Category("age_group", AGE_GROUPS, group=True),
            ]
        )

    def read(self, root: Path, seed: int) -> FaceTable:
        """Reads names or label files.

        Pictures with an unreadable name or an age outside 0–116 are left out by name. No picture is
        decoded; those of equal size in bytes are compared, to find copies.

        Args:
            root: The data set's folder, or one up to two above it.
            seed: Decides the split.

        Raises:
            MtlfaceError: The folder has neither layout, a label file is not as it should be, or no
                picture is left.
        """
        folder = find_folder(root, lambda place: label_file(place, "train") is not None)
        if folder is not None:
            frame, omitted, remarks = read_competition(root, folder, AGES)
        else:
            folder = find_folder(root, lambda place: bool(picture_folders(place)))
            if folder is None:
                raise nothing_known(root, self.layout)
            places = picture_folders(folder)
            parts = [read_names(root, place) for place in places]
            frame = pd.concat([names for names, _ in parts], ignore_index=True)
            omitted = tuple(omission for _, left_out in parts for omission in left_out)
            omitted += not_read(root, folder, places)
            remarks = missing_parts(places)
        if frame.empty:
            reasons = "; ".join(f"{o.file}: {o.reason}" for o in omitted[:3])
            raise MtlfaceError(f"{root} has no usable picture. First of the reasons: {reasons}.")
        frame = frame.sort_values("image", ignore_index=True)
        groups = copies(root, frame["image"].to_numpy())
        frame["age_group"] = _decades(frame["age"].to_numpy(), len(AGE_GROUPS))
        frame["split"] = pd.Series(self._split(frame, groups, seed), dtype=object)
        remarks += _remark_on_copies(groups)
        return FaceTable(frame, self.labels(), root, omitted, remarks)

    def _split(self, frame: pd.DataFrame, groups: np.ndarray, seed: int) -> np.ndarray:
        decade = frame["age"].to_numpy() // 10
        strata = np.char.add(frame["gender"].to_numpy().astype(str), np.char.mod("/%f", decade))
        if "split" not in frame:
            return stratified_split(strata, self.ratios, seed, groups)
        split = frame["split"].to_numpy(dtype=object)
        labelled, there = np.flatnonzero(split == "train"), {*split}
        shares = [
            share if name == "train" or name not in there else 0.0
            for name, share in zip(SPLITS, self.ratios, strict=True)
        ]
        if len(labelled):
            split[labelled] = stratified_split(strata[labelled], shares, seed, groups[labelled])
        return split


def _decades(age: np.ndarray, count: int) -> np.ndarray:
    return np.where(np.isnan(age), -1, np.minimum(age // 10, count - 1)).astype(np.int8)


def _remark_on_copies(groups: np.ndarray) -> tuple[str, ...]:
    repeated = len(groups) - len(np.unique(groups))
    if not repeated:
        return ()
    return (f"{repeated} pictures are byte-identical copies of others; no drawn split parts them",)
