"""What stands below a picture is what the prediction says, and whether it is right."""

import numpy as np
import pytest
from torch import nn

from mtlface.data.schema import Binary, Labels, Multilabel, Number, Points
from mtlface.models import linear_head
from mtlface.plots.panels import Caption
from mtlface.tasks import BinaryTask, LandmarkTask, MultilabelTask, NumberTask
from mtlface.training.captions import prediction_panels, worst

IMAGES, SIZES = np.zeros((3, 4, 4, 3), np.uint8), np.array([[200.0, 100.0]] * 3)


KINDS = {kind.label_type: kind for kind in (BinaryTask, LandmarkTask, MultilabelTask, NumberTask)}


def task_of(label):
    known = {"labels": Labels([label]), "in_features": 4, "frame": (4, 4), "head": linear_head}
    return KINDS[type(label)](name="task", label=label.name, loss=nn.MSELoss(), **known)


def of(label, **columns):
    task = task_of(label)
    columns = {name: np.array(values, dtype=object) for name, values in columns.items()}
    return prediction_panels([task], columns, IMAGES, SIZES)


def test_a_class_says_how_sure_it_is_and_what_is_true():
    panels = of(
        Binary("gender", ("female", "male")),
        gender=["male", "female", "female"],
        gender_true=["male", "male", ""],
        gender_probability=[0.9, 0.2, 0.4],
    )
    assert [panel.captions for panel in panels] == [
        [Caption("male 90%", True)],
        [Caption("female 80%, is male", False)],
        [Caption("female 60%")],
    ]


def test_a_number_is_neither_right_nor_wrong():
    panels = of(Number("age"), age=[31.4, 8.0, 9.0], age_true=[30.0, np.nan, 9.0])
    words = [panel.captions[0] for panel in panels]
    assert words == [Caption("age 31, is 30"), Caption("age 8"), Caption("age 9, is 9")]


def test_wrong_attributes_are_named_by_the_truth():
    label = Multilabel("attributes", ("Smiling", "Bald"))
    panels = of(
        label,
        Smiling=[1, 0, 1], Smiling_true=[0.0, 1.0, np.nan],
        Bald=[1, 1, 1], Bald_true=[1.0, 0.0, np.nan],
    )  # fmt: skip
    assert panels[0].captions == [Caption("1/2 task", False), Caption("not Smiling")]
    assert panels[1].captions[1:] == [Caption("Smiling"), Caption("not Bald")]
    assert panels[2].captions == [Caption("0/0 task")]


def test_points_are_shares_of_the_picture_as_it_lies_on_disk():
    panels = of(
        Points("landmarks", ("nose",)),
        nose_x=[99.5] * 3, nose_y=[24.5] * 3, nose_x_true=[-0.5] * 3, nose_y_true=[99.5] * 3,
        **{"task/error": [0.034, np.nan, 0.1]},
    )  # fmt: skip
    assert panels[0].aspect == 2
    assert panels[0].found == pytest.approx(np.array([[0.5, 0.25]]))
    assert panels[0].truth == pytest.approx(np.array([[0.0, 1.0]]))
    assert panels[0].captions == [Caption("task error 3.4%")]


def test_the_worst_are_wrong_and_the_surest_of_them_come_first():
    task = task_of(Binary("gender"))
    columns = {
        "gender": np.array(["yes", "yes", "yes", "no", "yes"], dtype=object),
        "task/error": np.array([1.0, 0.0, np.nan, 1.0, 1.0]),
        "gender_probability": np.array([0.6, 0.99, 0.99, 0.05, 0.8]),
    }
    assert worst(task, columns, 2).tolist() == [3, 4]
    assert worst(task, columns, 9).tolist() == [3, 4, 0]
