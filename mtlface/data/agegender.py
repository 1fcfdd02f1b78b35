"""Age and gender: UTKFace, or the layout of a Kaggle competition with label files.

The competition's layout is `train.csv` (`id,full_path,gender,age`, 1 = male) and `test.csv` without
labels, with the pictures in `face_dataset/train` and `face_dataset/test`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from mtlface.data.competition import read_competition
from mtlface.data.frame import FaceFrame
from mtlface.data.layout import find_folder, nothing_known
from mtlface.data.schema import Binary, Category, Labels, Number
from mtlface.data.splits import checked_ratios, stratified_split
from mtlface.data.table import FaceTable
from mtlface.data.utkface import AGES, RACES, copies, picture_folder, read_names
from mtlface.errors import MtlfaceError

AGE_GROUPS = (*(f"{low}-{low + 9}" for low in range(0, 70, 10)), "70+")


@dataclass(frozen=True)
class AgeGender:
    """Reads UTKFace or the competition's layout, whichever lies in the folder.

    Labels: `age` in years, `gender`, and for results by group `race` (UTKFace only) and `age_group`
    (decades).

    UTKFace has no official split: one is made from the seed, balanced over gender × decade, with
    byte-identical pictures in one split. In the competition's layout the pictures of `test.csv` are
    the test split (their labels are missing) and those of `train.csv` are split in the same way
    into train and val.

    Attributes:
        ratios: Shares of train, val and test, which sum to 1; the competition's layout has its own
            test split and takes train : val of it.

    Raises:
        MtlfaceError: The ratios do not sum to 1.
    """

    layout: ClassVar[str] = (
        "UTKFace's pictures ([age]_[gender]_[race]_[date&time].jpg) in UTKFace/, "
        "utkface_aligned_cropped/ or crop_part1/, or train.csv beside face_dataset/"
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
        folder = find_folder(root, lambda place: (place / "train.csv").is_file())
        if folder is not None:
            frame, omitted = read_competition(root, folder, AGES)
        else:
            folder = find_folder(root, lambda place: picture_folder(place) is not None)
            pictures = folder and picture_folder(folder)
            if pictures is None:
                raise nothing_known(root, self.layout)
            frame, omitted = read_names(root, pictures)
        if frame.empty:
            reasons = "; ".join(f"{o.file}: {o.reason}" for o in omitted[:3])
            raise MtlfaceError(f"{root} has no usable picture. First of the reasons: {reasons}.")
        frame = frame.sort_values("image", ignore_index=True)
        groups = copies(root, frame["image"].to_numpy())
        frame["age_group"] = _decades(frame["age"].to_numpy(), len(AGE_GROUPS))
        frame["split"] = pd.Series(self._split(frame, groups, seed), dtype=object)
        return FaceTable(frame, self.labels(), root, omitted, _remark_on_copies(groups))

    def _split(self, frame: pd.DataFrame, groups: np.ndarray, seed: int) -> np.ndarray:
        decade = frame["age"].to_numpy() // 10
        strata = np.char.add(frame["gender"].to_numpy().astype(str), np.char.mod("/%f", decade))
        if "split" not in frame:
            return stratified_split(strata, self.ratios, seed, groups)
        split = frame["split"].to_numpy(dtype=object)
        labelled = np.flatnonzero(split == "train")
        if len(labelled):
            shares = (*tuple(self.ratios)[:2], 0.0)
            split[labelled] = stratified_split(strata[labelled], shares, seed, groups[labelled])
        return split


def _decades(age: np.ndarray, count: int) -> np.ndarray:
    return np.where(np.isnan(age), -1, np.minimum(age // 10, count - 1)).astype(np.int8)


def _remark_on_copies(groups: np.ndarray) -> tuple[str, ...]:
    repeated = len(groups) - len(np.unique(groups))
    if not repeated:
        return ()
    return (f"{repeated} pictures are byte-identical copies of others; no drawn split parts them",)
