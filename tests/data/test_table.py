"""A table keeps its rows, splits and omissions straight; limits and draws do what they say."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtlface.data.draws import limited, seeded_draw
from mtlface.data.schema import Binary, Category, Labels, Number
from mtlface.data.table import SPLITS, FaceTable, Omission
from mtlface.errors import MtlfaceError

RATIOS = (0.5, 0.25, 0.25)


def test_a_table_without_a_labels_column_is_refused(table):
    with pytest.raises(MtlfaceError, match="Smiling"):
        replace(table, frame=table.frame.drop(columns="Smiling"))


def test_a_table_with_an_unknown_split_is_refused(table):
    with pytest.raises(MtlfaceError, match="holdout"):
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
    few = limited(table, {"train": 3, "val": None, "order": "first"})
    assert few.counts == {"train": 3, "val": 4, "test": 4}
    assert few.frame["image"].tolist()[:3] == table.frame["image"].tolist()[:3]


@pytest.mark.parametrize(
    "limit",
    [
        {"train": 0},
        {"holdout": 3},
        {"val": -1},
        {"val": 0.5},
        {"val": True},
        {"order": "last"},
        {"seed": -1},
    ],
)
def test_a_limit_that_makes_no_sense_is_an_error(table, limit):
    with pytest.raises(MtlfaceError, match=r"data\.limit"):
        limited(table, limit)


@pytest.fixture(scope="module")
def ages(tmp_path_factory):
    """1,200 rows sorted by age, as UTKFace's names are: the first are children."""
    age = np.sort(np.random.default_rng(0).integers(0, 90, 1200))
    gender = np.random.default_rng(1).random(1200) < 0.3
    frame = pd.DataFrame({"image": [f"{i}.jpg" for i in range(1200)], "age": age.astype(float)})
    frame = frame.assign(split=["train", "test"] * 600, gender=gender.astype(int))
    labels = Labels([Number("age", 0, 116, "years"), Binary("gender")])
    return FaceTable(frame, labels, tmp_path_factory.getbasetemp())


def test_a_limit_draws_all_ages_and_both_genders(ages):
    drawn = limited(ages, {"test": 60}).frame
    part = drawn[drawn["split"] == "test"]
    whole = ages.frame[ages.frame["split"] == "test"]
    assert len(part) == 60 and len(drawn) == 660
    for tenth in range(9):
        inside = [f["age"].between(10 * tenth, 10 * tenth + 9).mean() for f in (part, whole)]
        assert abs(inside[0] - inside[1]) * 60 < 2.5
    assert abs(part["gender"].mean() - whole["gender"].mean()) < 0.05
    first = limited(ages, {"test": 60, "order": "first"}).frame
    assert first[first["split"] == "test"]["age"].max() < 12


def test_a_limits_draw_is_its_seeds_own(ages):
    one, same, other = (limited(ages, {"test": 60, "seed": s}) for s in (0, 0, 1))
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()
    assert one.fingerprint() == limited(ages, {"test": 60}).fingerprint()


def test_a_limit_draws_whole_people_the_same_in_each_split(tmp_path):
    """Twenty people with 6 images each in train and 4 in test, and strangers in both."""
    person = [who for who in range(20) for _ in range(10)] + [-1] * 100
    split = (["train"] * 6 + ["test"] * 4) * 20 + ["train", "test"] * 50
    gender = [who % 2 for who in range(20) for _ in range(10)] + [0, 0, 1, 1] * 25
    frame = pd.DataFrame({"image": [f"{i}.jpg" for i in range(300)], "person": person})
    labels = Labels(
        [Binary("gender"), Category("person", tuple(map(str, range(20))), persons=True)]
    )
    table = FaceTable(frame.assign(split=split, gender=gender), labels, tmp_path)
    drawn = limited(table, {"train": 34, "test": 26}).frame
    known = drawn[drawn["person"] >= 0]
    assert drawn["split"].value_counts().to_dict() == {"train": 34, "test": 26}
    assert known.groupby("split")["person"].value_counts().to_dict() == {
        **{("train", who): 6 for who in known["person"].unique()},
        **{("test", who): 4 for who in known["person"].unique()},
    }
    assert len(known) == 40 and known["gender"].mean() == 0.5


@settings(max_examples=30)
@given(count=st.integers(1, 700))
def test_a_limit_has_its_count_and_no_row_twice(ages, count):
    drawn = limited(ages, {"train": count})
    assert drawn.counts["train"] == min(count, 600) and drawn.frame["image"].is_unique


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
