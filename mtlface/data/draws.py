"""Fewer images than a data set has: so many of each split, or a draw over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mtlface.data.table import SPLITS, FaceTable
from mtlface.errors import MtlfaceError
from mtlface.values import shares, whole

ORDERS = ("drawn", "first")
DRAW = {
    "count": whole(1, example=506),
    "ratios": shares(),
    "seed": whole(0, 2**32 - 1, example=42),
}


def check_limit(limit: Any) -> None:
    """Checks the value of `data.limit`.

    Raises:
        MtlfaceError: It is no mapping, a key is not known, or a number is not possible.
    """
    if isinstance(limit, Mapping):
        rest = dict(limit)
        order, seed = rest.pop("order", "drawn"), rest.pop("seed", 0)
        counts = all(n is None or (type(n) is int and n > 0) for n in rest.values())
        if (
            (counts and {*rest} <= {*SPLITS})
            and order in (None, *ORDERS)
            and (seed is None or (type(seed) is int and seed >= 0))
        ):
            return
    raise MtlfaceError(
        f"data.limit is {limit}; expected a positive number of images for any of "
        f"{', '.join(SPLITS)}, and if need be order ({' or '.join(ORDERS)}) and seed (0 or more). "
        "Write for example data.limit='{train: 1000, val: 200, test: 200}'."
    )


def check_choice(limit: Any, draw: Any) -> None:
    """Checks which images of a data set are chosen.

    Raises:
        MtlfaceError: A value is not possible, or the two exclude each other.
    """
    if limit and draw:
        raise MtlfaceError("data.limit and data.draw exclude each other; set one to null.")
    if limit is not None:
        check_limit(limit)
    if draw is None:
        return
    if not isinstance(draw, Mapping) or set(draw) != set(DRAW):
        raise MtlfaceError(
            f"data.draw is {draw}; expected count, ratios and seed, for example "
            "data.draw='{count: 506, ratios: [0.7,0.15,0.15], seed: 42}'."
        )
    for key, rule in DRAW.items():
        rule.check(f"data.draw.{key}", draw[key])


def limited(table: FaceTable, limit: Mapping[str, Any]) -> FaceTable:
    """Keeps n rows of each split that `limit` names; the others stay whole.

    Rows are drawn from a seed and balanced over the labels: sorted by the strata of each label in
    the schema's order, with chance deciding among equals, every N/n-th row is taken. The first
    label's classes keep their shares to within one row, the next one's nearly so within them.
    Where labels tell who is in an image, whole people are drawn, the same in each split: what can
    be classified or matched among all can be among the drawn.

    Args:
        table: The whole data set.
        limit: n by split; `order: first` takes the first n rows instead of a draw, and `seed` (0)
            keys the draw. The run's seed does not: all seeds of a comparison see the same images.

    Raises:
        MtlfaceError: See `check_limit`.
    """
    check_limit(limit)
    kept = []
    for split in SPLITS:
        rows, count = table.rows(split), limit.get(split)
        if count is not None and count < len(rows):
            first = limit.get("order") == "first"
            rows = rows[:count] if first else _balanced(table, rows, count, limit.get("seed") or 0)
        kept.append(rows)
    return table.keep(np.sort(np.concatenate(kept)))


def _balanced(table: FaceTable, rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    """A draw of `count` of the rows: of known people all rows of some, of others some of all."""
    told = [label.people(table.frame) for label in table.labels.values()]
    codes = [people for people in told if people is not None]
    people = max(codes, key=lambda who: int((who >= 0).sum()), default=np.full(len(table), -1))
    known = people[rows] >= 0
    of_people = int(count * known.mean() + 0.5)
    first = np.argsort(_turns(table, people, seed)[people[rows[known]]], kind="stable")
    spread = _spread(table, rows[~known], count - of_people, seed)
    return np.concatenate((rows[known][first[:of_people]], spread))


def _spread(table: FaceTable, rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    keys = _strata(table, rows)
    order = np.lexsort([draw.permutation(len(rows)), *reversed(keys)])
    steps = np.floor((np.arange(count) + draw.random()) * len(rows) / max(count, 1))
    return rows[order[steps.astype(np.int64)]]


def _turns(table: FaceTable, people: np.ndarray, seed: int) -> np.ndarray:
    """When each person is taken, float (people,): the same in every split, strata in proportion."""
    if not (people >= 0).any():
        return np.zeros(0)
    who, first = np.unique(people[people >= 0], return_index=True)
    keys = _strata(table, np.flatnonzero(people >= 0)[first])
    turns = np.zeros(int(who.max()) + 1)
    chance = np.random.default_rng(seed).permutation(len(who))
    stratum = np.unique(np.stack([chance * 0, *keys]), axis=1, return_inverse=True)[1].reshape(-1)
    for code in range(stratum.max() + 1):
        members = np.flatnonzero(stratum == code)
        shuffled = members[np.argsort(chance[members])]
        turns[who[shuffled]] = (np.arange(len(members)) + 0.5) / len(members)
    return turns


def _strata(table: FaceTable, rows: np.ndarray) -> list[np.ndarray]:
    frame = table.frame.iloc[rows]
    codes = [label.strata(frame) for label in table.labels.values()]
    return [code for code in codes if code is not None]


def seeded_draw(table: FaceTable, count: int, ratios: Sequence[float], seed: int) -> FaceTable:
    """Draws `count` rows of the whole table and splits them anew by `ratios` (train, val, test).

    The official splits are given up, as small studies on CelebA do; where people repeat, the same
    person can then be in two splits.

    Raises:
        MtlfaceError: There are fewer rows than asked for, or the ratios are no shares of 1.
    """
    DRAW["ratios"].check("data.draw.ratios", ratios)
    if not 0 < count <= len(table):
        raise MtlfaceError(
            f"data.draw.count asks for {count} pictures of the {len(table)} that the data has. "
            "Take another count, or data.draw=null for the whole set."
        )
    drawn = np.random.default_rng(seed).permutation(len(table))[:count]
    bounds = np.round(np.cumsum(ratios)[:-1] * count).astype(int)
    split = table.frame["split"].to_numpy(dtype=object, copy=True)
    for name, rows in zip(SPLITS, np.split(drawn, bounds), strict=True):
        split[rows] = name
    redrawn = replace(table, frame=table.frame.assign(split=split))
    return redrawn.keep(np.sort(drawn))
