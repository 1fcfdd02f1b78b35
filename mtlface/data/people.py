"""Who is on a picture, as two labels: one for a classifier, one for matching."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mtlface.data.schema import Category

IDENTITY = Category("identity", persons=True)
PERSON = Category("person", persons=True)


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
