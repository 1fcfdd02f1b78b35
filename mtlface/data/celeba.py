"""CelebA (Liu et al. 2015, "Deep Learning Face Attributes in the Wild"): 40 attributes, 5 points.

Read in Kaggle's layout (CSV) and in the original one (`.txt`), whose label files may lie in `Anno`
and `Eval`; https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from mtlface.data.celeba_files import (
    KEY,
    aligned,
    attribute_codes,
    known_to_all,
    label_path,
    nothing_left,
    partitions,
    positions,
    read_labels,
)
from mtlface.data.frame import FaceFrame
from mtlface.data.label_file import LabelFile
from mtlface.data.layout import find_folder, found_by_stem, has_picture, nothing_known
from mtlface.data.people import IDENTITY, PERSON, people_labels
from mtlface.data.schema import Binary, Label, Labels, Multilabel, Points
from mtlface.data.table import SPLITS, FaceTable, Omission
from mtlface.errors import MtlfaceError, did_you_mean

POINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
MIRROR = (("left_eye", "right_eye"), ("left_mouth", "right_mouth"))
ATTRIBUTES = (
    *("5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs"),
    *("Big_Lips", "Big_Nose", "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair"),
    *("Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses", "Goatee", "Gray_Hair"),
    *("Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache"),
    *("Narrow_Eyes", "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline"),
    *("Rosy_Cheeks", "Sideburns", "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Earrings"),
    *("Wearing_Hat", "Wearing_Lipstick", "Wearing_Necklace", "Wearing_Necktie", "Young"),
)
_PICTURE_FOLDERS = (
    "img_align_celeba/img_align_celeba",
    "img_align_celeba",
    "Img/img_align_celeba",
    ".",
)


@dataclass(frozen=True)
class CelebA:
    """Reads CelebA with its official splits.

    Labels: `gender` (from `Male`), `landmarks` (the chosen points), `attributes` (the chosen ones,
    together) and each of the 40 attributes alone under CelebA's name (`Eyeglasses`).

    Attributes:
        points: Which of `POINTS`, in this order; empty: no landmarks, and their file is not needed.
        attributes: Which of `ATTRIBUTES` the label `attributes` has, or "all"; may be empty.
        identity: Whether to read `identity_CelebA.txt` into `identity` and `person`; the official
            splits share no person.
        size: Width and height in pixels of the images that the landmark file is for, which all
            images must have; None: the points are in pixels of each image, of any size.

    Raises:
        MtlfaceError: A point or attribute is unknown or named twice, or one of a mirror pair lacks
            its partner.
    """

    layout: ClassVar[str] = (
        "list_attr_celeba, list_landmarks_align_celeba and list_eval_partition (.csv or .txt) "
        "with the pictures in img_align_celeba/"
    )
    face_frame: ClassVar[FaceFrame] = FaceFrame((178, 218), ((69.5, 111.5), (107.6, 111.5)))

    points: Sequence[str] = POINTS
    attributes: Sequence[str] | str = "all"
    identity: bool = False
    size: Sequence[int] | None = None

    def __post_init__(self) -> None:
        attributes = ATTRIBUTES if self.attributes == "all" else self.attributes
        object.__setattr__(self, "points", _chosen("points", self.points, POINTS))
        object.__setattr__(self, "attributes", _chosen("attributes", attributes, ATTRIBUTES))
        for pair in MIRROR:
            if len(set(pair) & set(self.points)) == 1:
                raise MtlfaceError(
                    f"data.points has one of {pair[0]} and {pair[1]}. A horizontal flip exchanges "
                    "them, so take both or neither."
                )

    def labels(self) -> Labels:
        """The labels that `read` gives."""
        labels: list[Label] = [Binary("gender", ("female", "male"))]
        points = tuple(self.points)
        if points:
            mirror = tuple(pair for pair in MIRROR if pair[0] in points)
            labels.append(Points("landmarks", points, mirror))
        if self.attributes:
            labels.append(Multilabel("attributes", tuple(self.attributes)))
        labels += [Binary(name) for name in ATTRIBUTES]
        return Labels([*labels, IDENTITY, PERSON] if self.identity else labels)

    def read(self, root: Path, seed: int) -> FaceTable:
        """Reads the label files; pictures are not opened.

        Rows that one of the files lacks, that contradict each other or hold impossible values are
        left out by name. Empty cells are missing labels.

        Args:
            root: The data set's folder, or one up to two above it.
            seed: Not used: the splits are official.

        Raises:
            MtlfaceError: A file is missing or does not have its columns, or no row is left.
        """
        folder = find_folder(root, lambda place: label_path(place, "list_attr_celeba") is not None)
        pictures = folder and next((p for p in _PICTURE_FOLDERS if has_picture(folder / p)), None)
        if folder is None or pictures is None:
            raise nothing_known(root, self.layout)
        files = {n: file.unique(KEY) for n, file in known_to_all(self._files(folder)).items()}
        values = {}
        files["attributes"], values["attributes"] = attribute_codes(files["attributes"], ATTRIBUTES)
        files["partition"], values["partition"] = partitions(files["partition"])
        if self.points:
            label = self.labels()["landmarks"]
            files["points"], values["points"] = positions(files["points"], label)
        if self.identity:
            people = files["identity"].frame["identity"].fillna("")
            values["identity"] = people.to_numpy(dtype=np.str_)
        images, values = aligned(files, values)
        omitted = tuple(omission for file in files.values() for omission in file.omitted)
        if len(images) == 0:
            raise nothing_left(folder, omitted)
        place = (folder / pictures).relative_to(root).as_posix()
        prefix = "" if place == "." else f"{place}/"
        names, remarks = found_by_stem(root, [prefix + image for image in images])
        return self._table(names, values, root, omitted, remarks)

    def _files(self, folder: Path) -> dict[str, LabelFile]:
        attributes = {name: (name,) for name in ATTRIBUTES}
        partition = {"partition": ("partition",)}
        files = {
            "attributes": read_labels(folder, "list_attr_celeba", attributes),
            "partition": read_labels(folder, "list_eval_partition", partition, header_in_txt=False),
        }
        if self.points:
            # CelebA writes lefteye_x for the column left_eye_x.
            columns = self.labels()["landmarks"].columns
            spelt = {c: (c[:-2].replace("_", "") + c[-2:], c) for c in columns}
            mend = " Or set data.points=[] to do without landmarks."
            files["points"] = read_labels(folder, "list_landmarks_align_celeba", spelt, mend)
        if self.identity:
            identity = {"identity": ("identity",)}
            mend = " Kaggle's archive does not have it; take the original, or leave identity=false."
            files["identity"] = read_labels(
                folder, "identity_CelebA", identity, mend, header_in_txt=False, text=("identity",)
            )
        return files

    def _table(
        self,
        images: list[str],
        values: dict[str, np.ndarray],
        root: Path,
        omitted: tuple[Omission, ...],
        remarks: tuple[str, ...],
    ) -> FaceTable:
        split = np.array(SPLITS)[values["partition"]]
        frame = pd.DataFrame(values["attributes"], columns=list(ATTRIBUTES))
        frame.insert(0, "image", pd.Series(images, dtype=object))
        frame.insert(1, "split", pd.Series(split, dtype=object))
        frame.insert(2, "gender", frame["Male"])
        labels = self.labels()
        if self.points:
            places = pd.DataFrame(values["points"], columns=list(labels["landmarks"].columns))
            frame = pd.concat([frame, places], axis=1)
        if self.identity:
            columns, people = people_labels(values["identity"], split)
            frame = frame.assign(**columns)
            labels = Labels([*(labels[n] for n in labels if n not in columns), *people])
        return FaceTable(frame, labels, root, omitted, remarks)


def _chosen(key: str, names: Sequence[str] | str, known: tuple[str, ...]) -> tuple[str, ...]:
    chosen = (names,) if isinstance(names, str) else tuple(names)
    for name in chosen:
        if name not in known:
            raise MtlfaceError(
                f"data.{key} names '{name}', which CelebA does not have."
                f"{did_you_mean(str(name), list(known))} It has: {', '.join(known)}."
            )
    if len(set(chosen)) < len(chosen):
        raise MtlfaceError(f"data.{key} names one twice: {', '.join(chosen)}. Name each once.")
    return chosen
