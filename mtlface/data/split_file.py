"""Splits from a file that the user has, such as those that a paper published.

Two forms are read: a CSV with a row an image (`image,split`), and a list of images that belong to
numbered folders (`img_path,folder`, as JSON or CSV), of which the config says what each is for. The
second is how Paplham and Franc (CVPR 2024) publish their five splits of UTKFace.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from mtlface.data.table import SPLITS, FaceTable, Omission
from mtlface.errors import MtlfaceError

WORDS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
IMAGES, FOLDERS = ("image", "img_path", "file", "filename"), ("folder",)
HOW = (
    "Write data.split=<a CSV with the columns image and split>, or, for images in numbered "
    "folders, data.split='{file: UTKFace.json, train: [0,1,2,3,4,5], val: [6,7], test: [8,9]}'."
)


def check_split(split: Any) -> None:
    """Checks the value of `data.split`.

    Raises:
        MtlfaceError: It is neither a path nor a file with the numbers of each split's folders.
    """
    if isinstance(split, str) and split:
        return
    if isinstance(split, Mapping) and {*split} == {"file", *SPLITS}:
        numbers = [list(split[name]) for name in SPLITS if isinstance(split[name], list | tuple)]
        every = [number for each in numbers for number in each]
        if len(numbers) == len(SPLITS) and len(set(every)) == len(every):
            return
    raise MtlfaceError(f"data.split is {split}; expected a file and what its rows are for. {HOW}")


def with_split(table: FaceTable, split: str | Mapping[str, Any]) -> FaceTable:
    """The table with the splits of a file; images that it does not name are left out.

    Images are found by their path below the data's folder, or by their name without endings where
    that is enough to tell them apart.

    Args:
        table: The images with their labels.
        split: The path of a CSV, or `{file, train, val, test}` with the numbers of folders.

    Raises:
        MtlfaceError: The file cannot be read, a row says nothing that is known, or it names none of
            the images.
    """
    check_split(split)
    path = Path(split if isinstance(split, str) else str(split["file"])).expanduser()
    frame = _read(path)
    images = next((name for name in IMAGES if name in frame), None)
    column = "split" if isinstance(split, str) else "folder"
    if images is None or column not in frame:
        raise MtlfaceError(
            f"data.split={path}: expected the columns image and {column}; found "
            f"{', '.join(map(str, frame)) or 'none'}. {HOW}"
        )
    meaning = WORDS if isinstance(split, str) else {
        str(number): name for name in SPLITS for number in split[name]
    }  # fmt: skip
    words = frame[column].astype(str).str.strip().str.lower()
    if (unknown := ~words.isin(list(meaning))).any():
        row = int(np.flatnonzero(unknown)[0])
        raise MtlfaceError(
            f"data.split={path}: row {row + 1} has {column} '{frame[column].iloc[row]}'; expected "
            f"one of {', '.join(meaning)}."
        )
    found = _matched(table, frame[images].astype(str).tolist(), words.map(meaning).tolist(), path)
    kept = np.flatnonzero(found != "")
    left_out = [
        Omission(str(name), None, f"{path.name} does not name it")
        for name in table.frame["image"].to_numpy()[found == ""]
    ]
    split_again = replace(
        table, frame=table.frame.assign(split=np.where(found == "", "train", found))
    )
    return split_again.keep(kept, left_out)


def _read(path: Path) -> pd.DataFrame:
    try:
        if path.suffix == ".json":
            return pd.DataFrame(json.loads(path.read_text(encoding="utf-8")))
        return pd.read_csv(path, dtype=str)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise MtlfaceError(f"data.split={path} cannot be read: {reason}. {HOW}") from error


def _matched(table: FaceTable, images: list[str], splits: list[str], path: Path) -> np.ndarray:
    """The split of each row of the table, '' where the file does not name it, (N,) of str."""
    names = table.frame["image"].tolist()
    whole = dict(zip(images, splits, strict=True))
    short: dict[str, set[str]] = {}
    for image, split in zip(images, splits, strict=True):
        short.setdefault(_stem(image), set()).add(split)
    found = []
    for name in names:
        choices = {whole[name]} if name in whole else short.get(_stem(name), set())
        if len(choices) > 1:
            raise MtlfaceError(
                f"data.split={path} has rows of {' and '.join(sorted(choices))} that could both "
                f"mean {name}. Write the path of each image below the data's folder."
            )
        found.append(next(iter(choices), ""))
    if not any(found):
        raise MtlfaceError(
            f"data.split={path} names none of the {len(names)} images in {table.root}: it has for "
            f"example {images[0] if images else 'nothing'}, the folder {names[0]}."
        )
    return np.array(found, dtype=object)


def _stem(image: str) -> str:
    return PurePosixPath(image.replace("\\", "/")).name.partition(".")[0]
