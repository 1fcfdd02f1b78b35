"""The age and gender competition's layout: label files beside `face_dataset/{train,test}`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from mtlface.data.label_file import LabelFile, binary_codes, read_label_file
from mtlface.data.layout import leaves_folder
from mtlface.data.table import Omission
from mtlface.errors import MtlfaceError

_PATH = ("full_path", "path", "image", "filename", "file")
_GENDERS = {"male": 1, "m": 1, "man": 1, "female": 0, "f": 0, "woman": 0}


def read_competition(
    root: Path, folder: Path, ages: tuple[int, int]
) -> tuple[pd.DataFrame, tuple[Omission, ...]]:
    """Reads `train.csv` and, if it is there, `test.csv`.

    Args:
        root: What image paths are relative to.
        folder: Where the label files are.
        ages: The lowest and the highest age that can be.

    Returns:
        `image`, `id`, `age`, `gender` (1 = male), `race` (always missing) and `split` (train, or
        test for the rows of `test.csv`); and what was left out.

    Raises:
        MtlfaceError: A label file is not as it should be, or both name the same picture.
    """
    frames: list[pd.DataFrame] = []
    omitted: list[Omission] = []
    for split in ("train", "test"):
        path = folder / f"{split}.csv"
        if split == "train" or path.is_file():
            file = _with_pictures(_read(path, labelled=split == "train"), root, folder, split)
            file, frame = _labels(file.unique("image"), ages)
            frames.append(frame.assign(split=split))
            omitted += file.omitted
    frame = pd.concat(frames, ignore_index=True)
    repeated = frame["image"].duplicated()
    if repeated.any():
        raise MtlfaceError(
            f"{folder}: {frame.loc[repeated, 'image'].iloc[0]} is named by train.csv and by "
            "test.csv. A picture belongs to one split; remove it from one of them."
        )
    return frame, tuple(omitted)


def _read(path: Path, labelled: bool) -> LabelFile:
    columns = {"path": _PATH, "id": ("id",), "gender": ("gender", "sex"), "age": ("age",)}
    optional = ("id",) if labelled else ("id", "gender", "age")
    text = ("id", "gender")
    return read_label_file(path, columns, key="path", text=text, optional=optional)


def _with_pictures(file: LabelFile, root: Path, folder: Path, split: str) -> LabelFile:
    """Adds `image`, whatever folder the paths in the file start from.

    Paths come relative to `train.csv` or as they were on the author's machine; what they end in,
    `train/00001.jpg`, is looked for beside `train.csv`.
    """
    paths = file.frame["path"].astype(str).str.replace("\\", "/")
    parts = paths.str.extract(r"(?:^|/)(train|test)/([^/]+)$")
    places = (folder / "face_dataset", folder / "face_dataset/face_dataset", folder)
    place = next((place for place in places if (place / split).is_dir()), folder)
    tail = parts[0] + "/" + parts[1]
    inside = place.relative_to(root).as_posix() + "/" + tail
    as_written = folder.relative_to(root).as_posix() + "/" + paths
    known = tail.notna().to_numpy()
    image = inside.where(known, as_written).str.removeprefix("./").astype(object)
    climbs = paths.str.contains(r"(?:^|/)\.\.(?:/|$)").to_numpy(dtype=bool)
    outside = climbs | (~known & leaves_folder(paths))
    return LabelFile(file.path, file.frame.assign(image=image), file.omitted).without(
        outside,
        lambda rows: [f"'{path}' points outside the data's folder" for path in rows["path"]],
    )


def _labels(file: LabelFile, ages: tuple[int, int]) -> tuple[LabelFile, pd.DataFrame]:
    cells = file.frame["gender"].astype(object)
    words = cells.map(lambda cell: _GENDERS.get(str(cell).strip().casefold()))
    numbers = pd.to_numeric(cells, errors="coerce").fillna(pd.to_numeric(words))
    gender, foreign = binary_codes(numbers.to_numpy(dtype=np.float32, na_value=np.nan))
    foreign |= (cells.notna() & numbers.isna()).to_numpy(dtype=bool)
    (age,), (unreadable,) = (array.T for array in file.numbers(["age"]))
    impossible = unreadable | (age < ages[0]) | (age > ages[1])
    bad = foreign | impossible
    frame = pd.DataFrame(
        {
            "image": file.frame["image"].to_numpy(dtype=object),
            "id": file.frame["id"].astype(object).fillna("").to_numpy(),
            "age": age,
            "gender": gender,
            "race": np.full(len(age), -1, dtype=np.int8),
        }
    )
    kept = file.without(impossible, lambda rows: [_age_reason(a, ages) for a in rows["age"]])
    kept = kept.without(
        foreign[~impossible],
        lambda rows: [f"gender is {g}, expected 0 or 1" for g in rows["gender"]],
    )
    return kept, frame[~bad]


def _age_reason(age: object, ages: tuple[int, int]) -> str:
    return f"age is {age}, expected {ages[0]} to {ages[1]}"
