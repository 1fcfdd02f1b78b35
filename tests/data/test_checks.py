"""A table's cells are checked once for every reader: column, row, value and the fix are named."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mtlface.data.schema import Binary, Category, Labels, Multilabel, Number, Points
from mtlface.data.table import FaceTable
from mtlface.errors import MtlfaceError

LABELS = Labels(
    [
        Binary("gender", ("female", "male")),
        Number("age", 0, 116, "years"),
        Category("race", ("White", "Black", "Asian"), group=True),
        Points("landmarks", ("left_eye", "right_eye", "nose")),
        Multilabel("attributes", names=("Smiling", "Young")),
    ]
)
POINTS = [f"{point}_{axis}" for point in ("left_eye", "right_eye", "nose") for axis in "xy"]


def frame(**columns):
    cells = {"image": ["a.jpg", "b.jpg", "c.jpg"], "split": ["train", "val", "test"]}
    cells |= {"gender": [0, 1, -1], "age": [3.0, 116, np.nan], "race": [0, 2, -1]}
    cells |= {point: [float(k), k + 1.0, np.nan] for k, point in enumerate(POINTS)}
    cells |= {"Smiling": [0, 1, -1], "Young": [1, 1, 1]}
    return pd.DataFrame(cells | columns)


def table(**columns):
    return FaceTable(frame(**columns), LABELS, Path("/my/faces"))


@pytest.mark.parametrize(
    ("column", "cells", "named"),
    [
        (
            "gender",
            [0, 2, 2],
            ["row 2", "b.jpg", "is 2", "1 more", "0 (female), 1 (male)"],
        ),
        ("gender", [0, 0.5, 1], ["gender", "row 2", "0.5"]),
        ("gender", ["male", "female", "male"], ["gender", "row 1", "'male'", "0 (female)"]),
        ("gender", [0, 1, np.inf], ["gender", "row 3", "inf"]),
        ("gender", [-2, 0, 1], ["gender", "row 1", "-2"]),
        ("gender", [0, 1, 10**30], ["gender", "row 3", "1000000"]),
        ("age", [3, 1900, 3], ["age", "row 2", "1900", "0 to 116 years"]),
        ("age", [3, np.inf, 3], ["age", "row 2", "inf"]),
        ("age", [-1, 3, 3], ["age", "row 1", "-1", "nothing where it is missing"]),
        ("age", ["3", "old", "5"], ["age", "row 2", "'old'"]),
        ("race", ["White", "Black", "Asian"], ["race", "row 1", "'White'", "1 (Black)"]),
        ("race", [0, 3, 1], ["race", "row 2", "is 3", "2 (Asian)"]),
        ("nose_x", [1.0, -np.inf, 2.0], ["nose_x", "row 2", "-inf", "pixels"]),
        ("Smiling", [7, 0, 1], ["Smiling", "row 1", "is 7"]),
        ("split", ["train", "Test", "val"], ["split", "row 2", "'Test'", "train, val or test"]),
        ("split", ["train", None, "val"], ["split", "row 2", "empty"]),
        ("image", ["a.jpg", None, "c.jpg"], ["image", "row 2", "empty"]),
        ("image", ["a.jpg", "b.jpg", "a.jpg"], ["a.jpg", "row 1 (train)", "row 3 (test)"]),
        ("image", ["a.jpg", "b.jpg", "./a.jpg"], ["a.jpg", "row 1 (train)", "row 3 (test)"]),
        ("image", ["x/a.jpg", "x//a.jpg", "x\\a.jpg"], ["x/a.jpg", "2 rows repeat"]),
    ],
)
def test_a_cell_that_cannot_be_is_one_clear_error(column, cells, named):
    with pytest.raises(MtlfaceError) as error:
        table(**{column: cells})
    for words in ["/my/faces", *named]:
        assert words in str(error.value)


@pytest.mark.parametrize("place", [0.0, 12.0])
def test_points_all_in_one_place_are_an_error(place):
    with pytest.raises(MtlfaceError, match=r"row 2 \(image b\.jpg\) has all points of 'landmarks'"):
        table(**{point: [float(k), place, np.nan] for k, point in enumerate(POINTS)})


def test_both_eyes_in_one_place_are_an_error():
    with pytest.raises(MtlfaceError, match="both eyes"):
        table(right_eye_x=[0.0, 1.0, 2.0], right_eye_y=[1.0, 7.0, 2.0])


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, -1, -1.0, "-1"])
def test_whatever_stands_for_nothing_is_a_missing_class(missing):
    found = table(gender=pd.Series([1, missing, 0], dtype=object)).frame["gender"]
    assert found.tolist() == [1, -1, 0] and found.dtype == np.int64


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "float32", "boolean", "string", "category"])
def test_pandas_own_types_are_read(dtype):
    found = table(gender=pd.Series([1, None, 0], dtype=object).astype(dtype))
    assert found.labels["gender"].values(found.frame).tolist() == [1, -1, 0]


def test_numbers_written_as_text_are_numbers():
    found = table(age=["3", " 4.5 ", None])
    np.testing.assert_array_equal(found.labels["age"].values(found.frame), [3, 4.5, np.nan])


def test_columns_that_are_right_stay_as_they_are():
    whole = frame(Smiling=np.array([0, 1, -1], dtype=np.int8))
    pd.testing.assert_frame_equal(FaceTable(whole, LABELS, Path()).frame, whole)


def test_rows_are_counted_anew_whatever_index_a_reader_leaves():
    rows = frame().iloc[[2, 0]]
    assert FaceTable(rows, LABELS, Path()).frame.index.tolist() == [0, 1]


def test_an_absent_column_names_its_label_s_table():
    with pytest.raises(MtlfaceError, match="no columns 'age' and needs one; it has: image, split"):
        FaceTable(frame().drop(columns="age"), LABELS, Path())


@pytest.mark.parametrize("labels", [[Binary("size")], [Binary("gender"), Number("gender")]])
def test_a_name_that_is_taken_is_an_error(labels):
    with pytest.raises(MtlfaceError, match="name"):
        FaceTable(frame(size=0), Labels(labels), Path())
