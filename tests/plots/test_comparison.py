from itertools import pairwise

import numpy as np
import pytest

from mtlface.plots import comparison as plots
from mtlface.plots.comparison import Curve, ForestRow
from mtlface.plots.labels import wrap_name
from mtlface.plots.style import OKABE_ITO, save

ARMS = ["celeba_gender", "celeba_landmarks_gender_improved"]


def curve(label, band=None):
    x = np.linspace(0, 1, 5)
    return Curve(label, x, x**2, band)


def colour_of(figure, label):
    legend = figure.legends[0]
    texts = [text.get_text().replace("\n", "") for text in legend.get_texts()]
    return legend.legend_handles[texts.index(label)].get_color()


def test_forest_draws_the_interval_the_mean_and_every_seed():
    rows = [
        ForestRow("a", "gender", [1.0, 2.0, 3.0], (-0.5, 4.5), "no difference shown"),
        ForestRow("b", "gender", [5.0], None, "better"),
    ]
    axes = plots.forest(rows, "benefit (%)", "title").axes[0]
    drawn = [tuple(line.get_xdata()) for line in axes.lines]
    assert (-0.5, 4.5) in drawn
    assert (1.0, 2.0, 3.0) in drawn
    assert (2.0,) in drawn
    low, high = axes.get_xlim()
    assert low < -0.5
    assert high > 5.0


def test_an_arm_has_one_colour_in_every_figure():
    learning = plots.learning_curves({"nme": [curve(ARMS[1])]}, ARMS)
    errors = plots.error_curves({"nme": [curve(ARMS[0]), curve(ARMS[1])]}, ARMS)
    assert colour_of(learning, ARMS[1]) == colour_of(errors, ARMS[1]) == OKABE_ITO[1]


def test_bands_are_drawn_around_the_line():
    band = np.full(5, 0.1)
    figure = plots.learning_curves({"nme": [curve("a", band)]}, ["a"])
    corners = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert corners.min() == pytest.approx(-0.1)
    assert corners.max() == pytest.approx(1.1)


def test_bars_leave_out_what_is_unknown():
    series = {"a": (np.array([0.9, np.nan]), np.array([0.1, np.nan]))}
    axes = plots.grouped_bars(["clear", "fog"], series, ["a"], "accuracy", "by condition").axes[0]
    assert axes.patches[0].get_width() == 0.9
    assert [label.get_text() for label in axes.get_yticklabels()] == ["clear", "fog"]


def test_heat_map_writes_known_cosines_only():
    cosines = np.array([[1.0, -0.25], [np.nan, 1.0]])
    axes = plots.cosine_heat_map(["gender", "age"], cosines, "arm").axes[0]
    assert sorted(text.get_text() for text in axes.texts) == ["1.00", "1.00", "−0.25"]


def test_reliability_has_its_diagonal():
    figure = plots.reliability({"gender": [curve("a")]}, ["a"])
    assert [0, 1] in [list(line.get_xdata()) for line in figure.axes[0].lines]


def test_saved_twice_is_the_same_and_mathematics_in_names_is_text(tmp_path):
    drawn = [
        save(plots.learning_curves({"$x_{": [curve("$\\bad{")]}, ["$\\bad{"]), tmp_path / name)
        for name in "ab"
    ]
    assert drawn[0] == drawn[1] == (tmp_path / "a.svg").read_text()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("celeba_landmarks_gender", ["celeba_", "landmarks_", "gender"]),
        ("short", ["short"]),
        ("averyverylongword", ["averyverylongword"]),
    ],
)
def test_names_break_after_their_joints(name, lines):
    assert wrap_name(name, 10).split("\n") == lines


def test_cosines_of_many_arms_are_a_row_each():
    cosines = np.array([[-0.25], [np.nan], [0.5]])
    axes = plots.cosines_of_arms(["a", "b", "c"], ["gender · age"], cosines).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    assert [text.get_text() for text in axes.texts] == ["−0.25", "0.50"]


def test_labels_of_a_long_forest_do_not_touch():
    names = [f"balancing=geometric_mean_{i}@features" for i in range(26)]
    rows = [ForestRow(n, g, [1.0, 2.0], (0.0, 3.0), "better") for g in "ab" for n in names]
    figure = plots.forest(rows, "benefit (%)", "title")
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].get_yticklabels()]
    assert all(upper.y0 >= lower.y1 for upper, lower in pairwise(boxes))
