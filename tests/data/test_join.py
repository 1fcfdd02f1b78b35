"""Tables of several sources unite where they agree; a contradiction is one error naming both."""

import numpy as np
import pandas as pd
import pytest

from mtlface.data.join import join, join_labels
from mtlface.data.schema import Binary, Category, Labels, Multilabel, Number, Points
from mtlface.data.table import FaceTable, Omission
from mtlface.errors import MtlfaceError

GENDER = Binary("gender", ("female", "male"))
POINTS = Points("landmarks", ("a", "b"))


def table(folder, labels, rows=3, people=(), **columns):
    """Rows `0.jpg` …, one of each split in turn; `people` names the classes of `identity`."""
    folder.mkdir()
    frame = pd.DataFrame({"image": [f"{i}.jpg" for i in range(rows)]})
    frame["split"] = [("train", "val", "test")[i % 3] for i in range(rows)]
    frame = frame.assign(**columns)
    if people:
        labels = [*labels, Category("identity", tuple(people), persons=True)]
        frame["identity"] = np.arange(rows) % (len(people) + 1) - 1
    return FaceTable(frame, Labels(labels), folder, (Omission("x.jpg", None, "torn"),), ("odd",))


@pytest.fixture
def joined(tmp_path):
    points = {f"{p}_{axis}": [1.0, 2.0, np.nan] for p in "ab" for axis in "xy"}
    points["a_x"] = [5.0, 6.0, np.nan]
    one = table(
        tmp_path / "one", [GENDER, POINTS], people=["ann", "bob"], gender=[0, 1, -1], **points
    )
    age = Number("age", 0, 116, "years")
    two = table(tmp_path / "two", [age, GENDER], people=["eve"], age=[3, 4, 5], gender=[1, 1, 0])
    return join({"one": one, "two": two})


def test_images_and_what_is_said_of_a_source_carry_its_name(joined, tmp_path):
    assert joined.frame["image"].tolist() == [
        f"{s}/{i}.jpg" for s in ("one", "two") for i in range(3)
    ]
    assert joined.path("two/1.jpg") == tmp_path / "two" / "1.jpg"
    assert [o.file for o in joined.omitted] == ["one/x.jpg", "two/x.jpg"]
    assert joined.remarks == ("one: odd", "two: odd")
    assert joined.frame["source"].tolist() == [0, 0, 0, 1, 1, 1]
    assert joined.labels["source"] == Category("source", ("one", "two"), group=True)
    assert joined.frame["row"].tolist() == [0, 1, 2, 0, 1, 2]


def test_labels_of_one_name_unite_and_absent_ones_are_missing(joined):
    values = {name: label.values(joined.frame) for name, label in joined.labels.items()}
    assert values["gender"].tolist() == [0, 1, -1, 1, 1, 0]
    np.testing.assert_array_equal(values["age"], [np.nan] * 3 + [3, 4, 5])
    assert np.isnan(values["landmarks"][3:]).all() and values["landmarks"][0, 0, 0] == 5


def test_people_of_two_sources_stay_apart(joined):
    label = joined.labels["identity"]
    assert label.classes == ("one/ann", "one/bob", "two/eve") and label.persons
    names = [label.classes[code] if code >= 0 else "" for code in joined.frame["identity"]]
    assert names == ["", "one/ann", "one/bob", "", "two/eve", ""]


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (Binary("x", ("a", "b")), Binary("x", ("b", "a")), "classes a, b against b, a"),
        (Category("x", ("a", "b")), Binary("x"), "category against binary"),
        (Number("x", unit="years"), Number("x", unit="months"), "unit 'years' against 'months'"),
        (Points("x", ("a", "b")), Points("x", ("b", "a")), "names a, b against b, a"),
        (Points("x", ("a", "b")), Points("x", ("a", "b"), (("a", "b"),)), "mirror"),
        (Multilabel("x", names=("a", "b")), Multilabel("x", names=("a",)), "names a, b against a"),
        (Category("x", ("a", "b")), Category("x", ("a",)), "classes a, b against a"),
        (Category("x", ("a",)), Category("x", ("a",), persons=True), "persons False against True"),
    ],
)
def test_a_contradiction_names_both_sources_and_what_differs(one, other, said):
    with pytest.raises(MtlfaceError, match="'x' is not the same in one and in two: ") as error:
        join_labels({"one": Labels([one]), "two": Labels([other])})
    assert said in str(error.value)


def test_ranges_of_a_number_unite():
    ages = [Number("age", 0, 100, "years"), Number("age", 1, 116, "years")]
    found = join_labels({"one": Labels(ages[:1]), "two": Labels(ages[1:])})["age"]
    assert (found.low, found.high) == (0, 116)


def test_a_person_in_two_sources_is_an_error_unless_they_are_said_to_be_two(tmp_path):
    tables = {
        name: table(tmp_path / name, [GENDER], people=["ann"], gender=0) for name in ("one", "two")
    }
    with pytest.raises(MtlfaceError, match=r"'ann' is in one and in two.*data\.people=apart"):
        join(tables)
    found = join(tables, people="apart").labels["identity"]
    assert found.classes == ("one/ann", "two/ann")


def test_one_folder_under_two_names_is_an_error(tmp_path):
    one = table(tmp_path / "one", [GENDER], gender=0)
    with pytest.raises(MtlfaceError, match=r"one and two are the same folder"):
        join({"one": one, "two": one})


def test_a_label_called_source_is_an_error():
    with pytest.raises(MtlfaceError, match="'source', which a join uses"):
        join_labels({"one": Labels([Binary("source")])})
