"""Labels say what their columns mean, and come back from plain data as they were."""

import json

import numpy as np
import pandas as pd
import pytest

from mtlface.data.schema import (
    KINDS,
    Binary,
    Category,
    Labels,
    Multilabel,
    Number,
    Points,
    label_from_dict,
)
from mtlface.errors import MtlfaceError

ONE_OF_EACH = Labels(
    [
        Binary("gender", ("female", "male")),
        Category("race", ("a", "b", "c"), group=True),
        Multilabel("attributes", ("Bald", "Smiling")),
        Number("age", 0, 116, "years"),
        Points("landmarks", ("left_eye", "right_eye", "nose"), (("left_eye", "right_eye"),)),
    ]
)


def test_there_is_an_example_of_every_kind():
    assert {label.kind for label in ONE_OF_EACH.values()} == set(KINDS)


def test_labels_come_back_from_json_as_they_were():
    plain = json.loads(json.dumps(ONE_OF_EACH.to_dict()))
    assert list(Labels.from_dict(plain).values()) == list(ONE_OF_EACH.values())


@pytest.mark.parametrize(
    "plain",
    [{}, {"kind": "colour", "name": "x"}, {"kind": "binary"}, {"kind": "number", "x": 1}],
)
def test_a_description_that_is_none_is_an_error(plain):
    with pytest.raises(MtlfaceError, match="not readable"):
        label_from_dict(plain)


def test_an_unknown_label_suggests_the_nearest_and_names_what_there_is():
    with pytest.raises(MtlfaceError) as error:
        ONE_OF_EACH.require("gendr", asked_by="Task 'x'")
    assert "Did you mean 'gender'?" in str(error.value)
    assert "gender, race, attributes, age, landmarks" in str(error.value)


def test_mirrored_names_each_points_partner():
    assert ONE_OF_EACH["landmarks"].mirrored == (1, 0, 2)


def test_values_have_the_shape_and_type_of_a_batch():
    frame = pd.DataFrame({"gender": [0, -1], "age": [3.5, np.nan], "Bald": [1, 0]})
    frame = frame.assign(Smiling=[-1, 1], race=[2, -1])
    for k, column in enumerate(ONE_OF_EACH["landmarks"].columns):
        frame[column] = [float(k), np.nan]
    found = {name: label.values(frame) for name, label in ONE_OF_EACH.items()}
    assert found["gender"].tolist() == [0, -1] and found["gender"].dtype == np.int64
    assert found["race"].tolist() == [2, -1]
    assert found["attributes"].tolist() == [[1, -1], [0, 1]]
    assert found["attributes"].dtype == np.int64
    assert found["age"].dtype == found["landmarks"].dtype == np.float32
    assert found["age"][0] == 3.5 and np.isnan(found["age"][1])
    assert found["landmarks"][0].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert np.isnan(found["landmarks"][1]).all()
