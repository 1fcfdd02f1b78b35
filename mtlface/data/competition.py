"""Label files with ages and genders: a competition's, beside `face_dataset/`, and others.

Ages come as numbers; sets that have ranges only (FairFace's "3-9", which spreadsheets turn into
"9-Mar", and "more than 70") keep their genders, and their ages count as missing.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from mtlface.data.label_file import LabelFile, binary_codes, read_label_file
from mtlface.data.layout import found_by_stem, leaves_folder
from mtlface.data.table import SPLITS, Omission
from mtlface.errors import MtlfaceError

_PATH = ("full_path", "path", "image", "filename", "file")
_GENDERS = {"male": 1, "m": 1, "man": 1, "female": 0, "f": 0, "woman": 0}
_MONTH = "(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_RANGE = (
    rf"\(?\d+ *(?:-|–|—|_|/|,|to|and) *\d+\)?(?: years?)?|\d+[- ]{_MONTH}|{_MONTH}[- ]\d+"
    r"|(?:more|over|above|older|less|under|below|younger|up)(?: than| to)? *\d+|[<>]=? *\d+"
    r"|\d+ *(?:\+|(?:and|or) (?:more|over|above|older|less|under|below|younger))"
)


def read_competition(
    root: Path, folder: Path, ages: tuple[int, int]
) -> tuple[pd.DataFrame, tuple[Omission, ...], tuple[str, ...]]:
    """Reads `train.csv` and, if they are there, `val.csv` and `test.csv`.

    Args:
        root: What image paths are relative to.
        folder: Where the label files are.
        ages: The lowest and the highest age that can be.

    Returns:
        `image`, `id`, `age`, `gender` (1 = male), `race` (always missing) and `split` (that of the
        file); what was left out; and remarks.

    Raises:
        MtlfaceError: A label file is not as it should be, or two name the same picture.
    """
    frames: list[pd.DataFrame] = []
    omitted: list[Omission] = []
    remarks: tuple[str, ...] = ()
    for split in SPLITS:
        if path := label_file(folder, split):
            file = _with_pictures(_read(path, labelled=split == "train"), root, folder)
            file, frame, ranges = _labels(file.unique("image"), ages)
            frames.append(frame.assign(split=split))
            omitted += file.omitted
            remarks += ranges
    frame = pd.concat(frames, ignore_index=True)
    repeated = frame["image"].duplicated()
    if repeated.any():
        image = frame.loc[repeated, "image"].iloc[0]
        files = " and by ".join(f"{s}.csv" for s in frame["split"][frame["image"] == image])
        raise MtlfaceError(
            f"{folder}: {image} is named by {files}. A picture belongs to one split; remove it "
            "from one of them."
        )
    frame["image"], renamed = found_by_stem(root, frame["image"].tolist())
    return frame, tuple(omitted), (*remarks, *renamed)


def label_file(folder: Path, split: str) -> Path | None:
    """The label file of a split, `train.csv` or the only one that ends in `_train.csv`, if any."""
    path = folder / f"{split}.csv"
    if path.is_file():
        return path
    found = [place for place in folder.glob(f"*_{split}.csv") if place.is_file()]
    return found[0] if len(found) == 1 else None


def _read(path: Path, labelled: bool) -> LabelFile:
    columns = {"path": _PATH, "id": ("id",), "gender": ("gender", "sex"), "age": ("age",)}
    optional = ("id",) if labelled else ("id", "gender", "age")
    text = ("id", "gender")
    return read_label_file(path, columns, key="path", text=text, optional=optional)


def _with_pictures(file: LabelFile, root: Path, folder: Path) -> LabelFile:
    """Adds `image`, whatever folder the paths in the file start from.

    Paths come relative to `train.csv` or as they were on the author's machine; what they end in,
    `train/00001.jpg`, is looked for beside `train.csv`.
    """
    paths = file.frame["path"].astype(str).str.replace("\\", "/")
    parts = paths.str.extract(r"(?:^|/)(train|val|test)/([^/]+)$")
    places = (folder / "face_dataset", folder / "face_dataset/face_dataset", folder)
    of_split = {
        split: next((place for place in places if (place / split).is_dir()), folder)
        for split in SPLITS
    }
    tops = {split: place.relative_to(root).as_posix() for split, place in of_split.items()}
    inside = parts[0].map(tops) + "/" + parts[0] + "/" + parts[1]
    as_written = folder.relative_to(root).as_posix() + "/" + paths
    known = inside.notna().to_numpy()
    image = inside.where(known, as_written).str.removeprefix("./").astype(object)
    climbs = paths.str.contains(r"(?:^|/)\.\.(?:/|$)").to_numpy(dtype=bool)
    outside = climbs | (~known & leaves_folder(paths))
    return LabelFile(file.path, file.frame.assign(image=image), file.omitted).without(
        outside,
        lambda rows: [f"'{path}' points outside the data's folder" for path in rows["path"]],
    )


def _labels(
    file: LabelFile, ages: tuple[int, int]
) -> tuple[LabelFile, pd.DataFrame, tuple[str, ...]]:
    file, remarks = _without_ranges(file)
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
    return kept, frame[~bad], remarks


def _without_ranges(file: LabelFile) -> tuple[LabelFile, tuple[str, ...]]:
    """Empties the ages that are a range, so that their rows keep what else they say."""
    cells = file.frame["age"].astype(object).map(lambda cell: str(cell).strip().casefold())
    ranges = cells.str.fullmatch(_RANGE).to_numpy(dtype=bool)
    if not ranges.any():
        return file, ()
    first = file.frame["age"][ranges].iloc[0]
    remark = f"{ranges.sum():,} ages in {file.path.name} are ranges ({first}) and count as missing"
    age = file.frame["age"].astype(object).mask(ranges, np.nan)
    return replace(file, frame=file.frame.assign(age=age)), (remark,)


def _age_reason(age: object, ages: tuple[int, int]) -> str:
    return f"age is {age}, expected {ages[0]} to {ages[1]}"
