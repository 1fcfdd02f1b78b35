"""Seeded splits for data sets that do not define their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mtlface.data.table import SPLITS
from mtlface.errors import MtlfaceError


def checked_ratios(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Returns the shares of train, val and test as a tuple.

    Raises:
        MtlfaceError: They are not three shares that sum to 1, with something to train on.
    """
    try:
        shares = tuple(float(ratio) for ratio in ratios)
    except (TypeError, ValueError):
        shares = ()
    fits = len(shares) == 3 and min(shares) >= 0 and shares[0] > 0 and abs(sum(shares) - 1) < 1e-6
    if not fits:
        raise MtlfaceError(
            "data.ratios takes the shares of train, val and test, which sum to 1; "
            f"found {ratios}. Write for example data.ratios=[0.8,0.1,0.1]."
        )
    return shares[0], shares[1], shares[2]


def stratified_split(
    strata: np.ndarray,
    ratios: Sequence[float],
    seed: int,
    groups: np.ndarray | None = None,
    train_first: bool = False,
) -> np.ndarray:
    """Splits rows so that each stratum is divided by the ratios and no group is torn apart.

    Within a stratum the order is random; each group then goes where rows are owed most, so that
    every stratum, and the whole, is within a group of its share.

    Args:
        strata: What to balance over, (N,); rows of a group count with their group's first row.
        ratios: Shares of train, val and test; they need not sum to 1.
        seed: Decides the order; the same rows and seed give the same split.
        groups: Rows that belong together, (N,); by default each row is its own group.
        train_first: Whether the first group of each stratum goes to train whatever the ratios, so
            that a stratum (a person) in val or test is also in train.

    Returns:
        The split of each row, str (N,).
    """
    groups = np.arange(len(strata)) if groups is None else groups
    _, first, member, sizes = np.unique(
        groups, return_index=True, return_inverse=True, return_counts=True
    )
    stratum = np.unique(strata, return_inverse=True)[1].reshape(-1)[first]
    shuffled = np.random.default_rng(seed).permutation(len(first))
    order = shuffled[np.argsort(stratum[shuffled], kind="stable")]
    shares = np.asarray(ratios, dtype=np.float64) / np.sum(ratios)
    given = np.zeros(len(shares))
    choice = np.zeros(len(first), dtype=np.int64)
    previous = -1
    for group in order:
        owed = shares * (given.sum() + sizes[group]) - given
        opens_stratum = stratum[group] != previous
        choice[group] = 0 if train_first and opens_stratum else int(np.argmax(owed))
        given[choice[group]] += sizes[group]
        previous = stratum[group]
    return np.array(SPLITS)[choice[member.reshape(-1)]]
