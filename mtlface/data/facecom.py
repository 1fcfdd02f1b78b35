"""FaceCom: gender and identity under adverse viewing conditions.

Read from `images/` with `annotations.json`, or from the folders of the Comsys hackathon:
`Task_A/{train,val}/{male,female}/` and `Task_B/{train,val}/<person>/` with `distortion/` inside, in
the spellings that teams keep them in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from mtlface.data.facecom_annotations import read_annotations
from mtlface.data.facecom_folders import read_folders, task_folder
from mtlface.data.layout import find_folder, found_by_stem, nothing_known
from mtlface.data.people import (
    IDENTITY,
    ORIGINAL,
    PERSON,
    originals,
    people_labels,
    remark_on_strangers,
)
from mtlface.data.schema import Binary, Category, Labels
from mtlface.data.splits import checked_ratios, stratified_split
from mtlface.data.table import SPLITS, FaceTable
from mtlface.errors import MtlfaceError

CONDITION = Category("condition", group=True)


@dataclass(frozen=True)
class FaceCom:
    """Reads FaceCom in either layout; both of the hackathon's tasks become one table.

    Labels: `gender`; `identity` (the people of the training split; others are missing); `person`
    (everyone, for matching against a gallery); `condition` (clear, blur, fog, …) for results by
    group; `original`, where distorted copies show people without a name. Task_A's pictures have no
    identity, Task_B's no gender.

    Splits are those of the annotations or folders. What is missing is made from the seed: without a
    test split, val becomes test (the hackathon's val people are new, so they are matched, not
    classified), and val is drawn from train: for each person, pictures other than one, a clear
    picture together with its distortions. Without any split, all three are drawn in that way.

    Attributes:
        ratios: Shares of train, val and test where they are drawn; they sum to 1.

    Raises:
        MtlfaceError: The ratios do not sum to 1.
    """

    layout: ClassVar[str] = (
        "annotations.json beside images/, or the folders Task_A/{train,val}/{male,female} and "
        "Task_B/{train,val}/<person>"
    )

    ratios: Sequence[float] = (0.7, 0.15, 0.15)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratios", checked_ratios(self.ratios))

    def labels(self) -> Labels:
        """The labels that `read` gives; who the people are is only known then."""
        return Labels([Binary("gender", ("female", "male")), IDENTITY, PERSON, CONDITION])

    def read(self, root: Path, seed: int) -> FaceTable:
        """Reads the annotations or lists the folders; pictures are not opened.

        Args:
            root: The data set's folder, or one up to two above it.
            seed: Decides splits that the data does not define.

        Raises:
            MtlfaceError: The folder has neither layout, the annotations are not readable, or no
                picture is left.
        """
        folder = find_folder(root, lambda place: (place / "annotations.json").is_file())
        annotated = folder is not None
        if folder is not None:
            frame, omitted = read_annotations(root, folder)
        else:
            folder = find_folder(root, lambda place: any(task_folder(place, t) for t in "ab"))
            if folder is None:
                raise nothing_known(root, self.layout)
            frame, omitted = read_folders(root, folder)
        if frame.empty:
            reasons = "; ".join(o.reason for o in omitted[:3]) or "the folders hold no pictures"
            raise MtlfaceError(f"{folder} has no usable picture: {reasons}.")
        renamed: tuple[str, ...] = ()
        if annotated:
            names, renamed = found_by_stem(root, frame["image"].tolist())
            frame = frame.assign(image=names)
        frame = frame.sort_values("image", ignore_index=True)
        person = frame.pop("person").to_numpy(dtype=np.str_)
        split = self._splits(frame, person, seed)
        columns, people = people_labels(person, split)
        condition, classes = _conditions(frame["condition"].to_numpy(dtype=np.str_))
        every = [self.labels()["gender"], *people, Category("condition", classes, True)]
        copies = originals(person, frame.pop("clear").to_numpy(dtype=np.str_))
        if copies is not None:
            columns[ORIGINAL.name], label = copies
            every.append(label)
        frame = frame.assign(split=pd.Series(split, dtype=object), condition=condition, **columns)
        labels = Labels(every)
        # The hackathon's validation people are new on purpose.
        strangers = remark_on_strangers(person, split) if annotated else ()
        return FaceTable(frame, labels, root, omitted, (*renamed, *strangers))

    def _splits(self, frame: pd.DataFrame, person: np.ndarray, seed: int) -> np.ndarray:
        given = frame["split"].to_numpy(dtype=object)
        present = set(given) - {""}
        train, val, test = self.ratios
        if not present or present == {"train"}:
            redrawn, ratios = np.ones(len(given), dtype=bool), (train, val, test)
        elif "train" in present and present != set(SPLITS):
            given = np.where(given == "val", "test", given)
            redrawn, ratios = given == "train", (train, val, 0.0)
        else:
            return given
        strata = np.where(person != "", person, frame["gender"].to_numpy().astype(np.str_))
        source = frame["clear"].to_numpy(dtype=np.str_)
        split = given.astype(object)
        split[redrawn] = stratified_split(
            strata[redrawn], ratios, seed, source[redrawn], train_first=True
        )
        return split


def _conditions(names: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    present = sorted(set(names.tolist()) - {""}, key=lambda name: (name != "clear", name))
    position = {name: index for index, name in enumerate(present)}
    return np.array([position.get(name, -1) for name in names], dtype=np.int64), tuple(present)
