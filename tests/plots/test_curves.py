import numpy as np
import pytest

from mtlface.plots.curves import Curve, error_curves, learning_curves, reliability
from mtlface.plots.style import OKABE_ITO, save

ARMS = ["celeba_gender", "celeba_landmarks_gender_improved"]


def curve(label, band=None):
    x = np.linspace(0, 1, 5)
    return Curve(label, x, x**2, band)


def colour_of(figure, label):
    legend = figure.legends[0]
    texts = [text.get_text().replace("\n", "") for text in legend.get_texts()]
    return legend.legend_handles[texts.index(label)].get_color()


def test_an_arm_has_one_colour_in_every_figure():
    learning = learning_curves({"nme": [curve(ARMS[1])]}, ARMS)
    errors = error_curves({"nme": [curve(ARMS[0]), curve(ARMS[1])]}, ARMS)
    assert colour_of(learning, ARMS[1]) == colour_of(errors, ARMS[1]) == OKABE_ITO[1]


def test_bands_are_drawn_around_the_line():
    band = np.full(5, 0.1)
    figure = learning_curves({"nme": [curve("a", band)]}, ["a"])
    corners = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert corners.min() == pytest.approx(-0.1)
    assert corners.max() == pytest.approx(1.1)


def test_reliability_has_its_diagonal():
    figure = reliability({"gender": [curve("a")]}, ["a"])
    assert [0, 1] in [list(line.get_xdata()) for line in figure.axes[0].lines]


def test_saved_twice_is_the_same_and_mathematics_in_names_is_text(tmp_path):
    drawn = [
        save(learning_curves({"$x_{": [curve("$\\bad{")]}, ["$\\bad{"]), tmp_path / name)
        for name in "ab"
    ]
    assert drawn[0] == drawn[1] == (tmp_path / "a.svg").read_text()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
