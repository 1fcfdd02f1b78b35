"""Who is on a picture, as two labels: one for a classifier, one for matching."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtlface.data.schema import Category

IDENTITY = Category("identity", persons=True)
PERSON = Category("person", persons=True)
# The image that others were made from, of people whom nobody names.
ORIGINAL = Category("original", persons=True)
# Columns that say which images are not independent of each other, the first that knows it counts.
REPEATED = (PERSON.name, ORIGINAL.name)


def people_labels(
    names: np.ndarray, split: np.ndarray
) -> tuple[dict[str, np.ndarray], tuple[Category, Category]]:
    """Numbers the people.

    `identity` is the closed set that a classifier can learn: the people of the training split;
    anyone else is missing (−1). `person` numbers everyone, for matching against a gallery.

    Args:
        names: A name for each picture, empty where unknown, str (N,).
        split: The split of each picture, str (N,).

    Returns:
        The columns `identity` and `person`, int64 (N,), and their labels with the classes named.
    """
    everyone = np.unique(names[names != ""])
    known = np.unique(names[(names != "") & (split == "train")])
    columns = {"identity": _positions(names, known), "person": _positions(names, everyone)}
    labels = (
        replace(IDENTITY, classes=tuple(known.tolist())),
        replace(PERSON, classes=tuple(everyone.tolist())),
    )
    return columns, labels


def originals(names: np.ndarray, clear: np.ndarray) -> tuple[np.ndarray, Category] | None:
    """Which images of nameless people were made from one: None where no image has a copy.

    Args:
        names: Who is on each image, empty where unknown, str (N,).
        clear: What tells the image that each was made from, itself where it is clear, str (N,).

    Returns:
        The column `original`, int64 (N,), −1 for images without a copy or with a name; its label.
    """
    nameless = np.where(names == "", clear, "")
    classes, counts = np.unique(nameless[nameless != ""], return_counts=True)
    if not (repeated := classes[counts > 1]).size:
        return None
    return _positions(nameless, repeated), replace(ORIGINAL, classes=tuple(repeated.tolist()))


def who_repeats(table: pd.DataFrame) -> NDArray[np.str_]:
    """Which rows show one person or are copies of one image: a name for each, (N,).

    Args:
        table: Of predictions, with the columns of `REPEATED` that the data has.

    Returns:
        Equal names for rows that are not independent; empty for one that stands alone.
    """
    found = np.full(len(table), "", dtype=object)
    for column in REPEATED:
        if column in table:
            told = table[column].fillna("").to_numpy().astype(np.str_)
            named = (found == "") & (told != "")
            found[named] = np.char.add(f"{column} ", told[named])
    return found.astype(np.str_)


def remark_on_strangers(names: np.ndarray, split: np.ndarray) -> tuple[str, ...]:
    """A remark on people who are not in the training split, though others are in several splits."""
    known = np.unique(names[split == "train"])
    strange = (names != "") & ~np.isin(names, known)
    if (
        not strange.any()
        or strange[split != "train"].sum() == (names[split != "train"] != "").sum()
    ):
        return ()
    who = np.unique(names[strange])
    shown = ", ".join(who[:5]) + (" …" if len(who) > 5 else "")
    return (
        f"{len(who)} people ({shown}) are not in the training split: the identity of their "
        f"{int(strange.sum())} pictures is missing",
    )


def _positions(names: np.ndarray, classes: np.ndarray) -> np.ndarray:
    if len(classes) == 0:
        return np.full(len(names), -1, dtype=np.int64)
    place = np.minimum(np.searchsorted(classes, names), len(classes) - 1)
    return np.where(classes[place] == names, place, -1).astype(np.int64)
