"""A table keeps its rows, splits and omissions straight; limits and draws do what they say."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtlface.data.table import SPLITS, Omission, first_of_each_split, seeded_draw
from mtlface.errors import MtlfaceError

RATIOS = (0.5, 0.25, 0.25)


def test_a_table_without_a_labels_column_is_refused(table):
    with pytest.raises(ValueError, match="Smiling"):
        replace(table, frame=table.frame.drop(columns="Smiling"))


def test_a_table_with_an_unknown_split_is_refused(table):
    with pytest.raises(ValueError, match="holdout"):
        replace(table, frame=table.frame.assign(split="holdout"))


def test_splits_share_no_row_and_leave_none_out(table):
    rows = np.concatenate([table.rows(split) for split in SPLITS])
    assert sorted(rows.tolist()) == list(range(len(table)))
    assert table.counts == {split: len(table.rows(split)) for split in SPLITS}


def test_kept_rows_remember_why_others_went(table):
    first, second = Omission("a", 1, "x"), Omission("b", None, "y")
    kept = table.keep(np.array([3, 5]), [first]).keep(np.array([1]), [second])
    assert kept.frame["image"].tolist() == [table.frame["image"][5]]
    assert kept.omitted == (first, second)


def test_the_fingerprint_knows_every_cell_and_no_folder(table, tmp_path):
    changed = table.frame.copy()
    changed.loc[0, "Smiling"] = 1 - changed.loc[0, "Smiling"]
    assert replace(table, frame=changed).fingerprint() != table.fingerprint()
    assert replace(table, root=tmp_path).fingerprint() == table.fingerprint()


def test_a_limit_takes_the_first_rows_of_the_splits_it_names(table):
    limited = first_of_each_split(table, {"train": 3, "val": None})
    assert limited.counts == {"train": 3, "val": 4, "test": 4}
    assert limited.frame["image"].tolist()[:3] == table.frame["image"].tolist()[:3]


@pytest.mark.parametrize("limit", [{"train": 0}, {"holdout": 3}, {"val": -1}, {"val": 0.5}])
def test_a_limit_that_makes_no_sense_is_an_error(table, limit):
    with pytest.raises(MtlfaceError, match=r"data\.limit"):
        first_of_each_split(table, limit)


@settings(max_examples=30)
@given(count=st.integers(1, 24), seed=st.integers(0, 99))
def test_a_draw_has_its_count_its_shares_and_no_row_twice(table, count, seed):
    drawn = seeded_draw(table, count, RATIOS, seed)
    assert len(set(drawn.frame["image"])) == len(drawn) == count
    for split, share in zip(SPLITS, RATIOS, strict=True):
        assert abs(drawn.counts[split] - share * count) <= 1
    rows = drawn.frame.drop(columns="split").merge(table.frame.drop(columns="split"))
    assert len(rows) == count


def test_a_draw_is_its_seeds_own(table):
    assert seeded_draw(table, 12, RATIOS, 1).fingerprint() == (
        seeded_draw(table, 12, RATIOS, 1).fingerprint()
    )
    assert seeded_draw(table, 12, RATIOS, 1).fingerprint() != (
        seeded_draw(table, 12, RATIOS, 2).fingerprint()
    )


@pytest.mark.parametrize(
    ("count", "ratios"),
    [(25, RATIOS), (0, RATIOS), (-3, RATIOS), (5, (0.5, 0.5)), (5, (1.2, -0.1, -0.1))],
)
def test_a_draw_that_cannot_be_is_an_error(table, count, ratios):
    with pytest.raises(MtlfaceError, match=r"data\.draw"):
        seeded_draw(table, count, ratios, seed=0)
