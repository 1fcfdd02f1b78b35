"""CelebA's label files, brought together: one row a picture that all of them know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mtlface.data.label_file import LabelFile, binary_codes, read_label_file
from mtlface.data.layout import leaves_folder
from mtlface.data.schema import Label
from mtlface.data.table import Omission
from mtlface.errors import MtlfaceError

KEY = "image_id"
_KEY_SPELLINGS = {KEY: (KEY, "image", "filename", "file")}


def label_path(folder: Path, stem: str) -> Path | None:
    """The label file of that stem in the folder, or in `Anno` or `Eval` as originally published."""
    places = [folder, folder / "Anno", folder / "Eval"]
    paths = [place / f"{stem}{suffix}" for place in places for suffix in (".csv", ".txt")]
    return next((path for path in paths if path.is_file()), None)


def read_labels(
    folder: Path,
    stem: str,
    columns: Mapping[str, Sequence[str]],
    mend: str = "",
    header_in_txt: bool = True,
    text: Sequence[str] = (),
) -> LabelFile:
    """Reads a label file by `columns`, their names here and their spellings in the header.

    Args:
        folder: The data set's folder.
        stem: The file's name without `.csv` or `.txt`.
        columns: Each column's name here and its spellings.
        mend: What to do if the file is missing, beside unpacking it.
        header_in_txt: Whether the original `.txt` has a header; CSV files always have.
        text: Columns to keep as text.

    Raises:
        MtlfaceError: The file is missing or does not have the columns.
    """
    path = label_path(folder, stem)
    if path is None:
        raise MtlfaceError(
            f"{folder} has no {stem}.csv or {stem}.txt. Unpack or download it into that folder."
            + mend
        )
    header = header_in_txt or path.suffix == ".csv"
    return read_label_file(path, _KEY_SPELLINGS | dict(columns), key=KEY, text=text, header=header)


def known_to_all(files: Mapping[str, LabelFile]) -> dict[str, LabelFile]:
    """Leaves out rows whose picture another file does not name, and names outside the folder."""
    names = {name: file.frame[KEY] for name, file in files.items()}
    known = {}
    for name, file in files.items():
        outside = leaves_folder(names[name])
        file = file.without(
            outside,
            lambda rows: [f"'{image}' points outside the data's folder" for image in rows[KEY]],
        )
        for other in sorted(files.keys() - {name}):
            if file.frame[KEY].tolist() == names[other].tolist():
                continue
            absent = ~file.frame[KEY].isin(names[other]).to_numpy()
            file = file.without(absent, f"the picture has no row in {files[other].path.name}")
        known[name] = file
    return known


def attribute_codes(file: LabelFile, attributes: Sequence[str]) -> tuple[LabelFile, np.ndarray]:
    """The attributes as int8 of shape (N, K): 0, 1 or −1 where empty; unreadable rows left out."""
    numbers, unreadable = file.numbers(attributes)
    codes, foreign = binary_codes(numbers)
    wrong = unreadable | foreign
    bad = wrong.any(axis=1)

    def reasons(rows: pd.DataFrame) -> list[str]:
        columns = [attributes[column] for column in wrong[bad].argmax(axis=1)]
        return [
            f"{column} is {rows.at[row, column]!s}, which is no code that this file uses"
            for row, column in zip(rows.index, columns, strict=True)
        ]

    return file.without(bad, reasons), codes[~bad]


def partitions(file: LabelFile) -> tuple[LabelFile, np.ndarray]:
    """The partition, int64 (N,): 0 train, 1 val, 2 test; rows with another one left out."""
    numbers = file.numbers(["partition"])[0][:, 0]
    bad = ~np.isin(numbers, [0, 1, 2])
    kept = file.without(
        bad,
        lambda rows: [f"partition is {p!s}, expected 0, 1 or 2" for p in rows["partition"]],
    )
    return kept, numbers[~bad].astype(np.int64)


def positions(file: LabelFile, label: Label) -> tuple[LabelFile, np.ndarray]:
    """The points' x and y, float32 (N, 2K).

    Rows with a negative coordinate, all points in one place (0, 0 where a detector failed) or both
    eyes in one place are left out. Whether points lie in their images shows when the images' sizes
    are known.

    Args:
        file: The landmark file.
        label: The points; its columns are x and y of each in turn.
    """
    columns = label.columns
    numbers, unreadable = file.numbers(columns)
    bad = np.asarray(unreadable.any(axis=1) | (numbers < 0).any(axis=1))
    file, numbers = file.without(bad, "a point is no pair of numbers from 0 on"), numbers[~bad]
    same = label.degenerate(pd.DataFrame(numbers, columns=list(columns)))
    return file.without(same, "all points, or both eyes, are in one place"), numbers[~same]


def aligned(
    files: Mapping[str, LabelFile], values: Mapping[str, np.ndarray]
) -> tuple[pd.Index, dict[str, np.ndarray]]:
    """Brings the files' values into one order, that of the pictures' names.

    Returns:
        The names of the pictures that every file kept, and the values in their order.
    """
    keys = {name: pd.Index(files[name].frame[KEY], dtype=object) for name in values}
    images = next(iter(keys.values()))
    if not images.is_monotonic_increasing:
        images = images.sort_values()
    rows = {name: key.get_indexer(images) for name, key in keys.items()}
    whole = np.all([places >= 0 for places in rows.values()], axis=0)
    return images[whole], {name: values[name][rows[name][whole]] for name in values}


def nothing_left(folder: Path, omitted: Sequence[Omission]) -> MtlfaceError:
    """The error for label files of which no row can be used."""
    first = "; ".join(f"{o.file}, line {o.row}: {o.reason}" for o in omitted[:3])
    return MtlfaceError(
        f"{folder}: no row of the label files can be used. {first}. "
        "Compare them with the published ones."
    )
