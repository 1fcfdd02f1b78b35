"""Figures of runs and of data sets hold the numbers that they are given."""

import numpy as np
import pytest

from mtlface.plots import decisions, distributions, matrices
from mtlface.plots.raster import figure_png, png_pixels
from mtlface.plots.training import CurvePanel, training_curves


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_curves_have_a_line_a_split_and_the_best_epoch():
    lines = {"train": np.array([3.0, 2, 1]), "val": np.array([3.0, np.nan, 2])}
    figure = training_curves([CurvePanel("loss", lines)], np.arange(3.0), best_epoch=2)
    axes = figure.axes[0]
    drawn = [list(line.get_ydata()) for line in axes.lines]
    assert drawn[0] == [3, 2, 1] and list(axes.lines[2].get_xdata()) == [2, 2]
    assert [t.get_text() for t in figure.legends[0].get_texts()][-1] == "best epoch (2)"


def test_a_confusion_matrix_shows_counts_and_shares_of_the_truth():
    counts = np.array([[30.0, 10.0], [0.0, 0.0]])
    axes = matrices.confusion_matrix(["a", "b"], counts, "t").axes[0]
    assert texts(axes) == ["30\n75%", "10\n25%", "0", "0"]
    assert axes.get_xlabel() == "predicted" and axes.get_ylabel() == "true"


def test_many_classes_are_drawn_without_numbers():
    axes = matrices.confusion_matrix([str(i) for i in range(30)], np.eye(30), "t").axes[0]
    assert texts(axes) == []


def test_a_heat_map_leaves_the_unknown_empty():
    values = np.array([[0.5, np.nan]])
    axes = matrices.heat_map(["r"], ["a", "b"], values, "t", "correlation").axes[0]
    assert texts(axes) == ["0.50"]


def test_outcomes_of_an_attribute_fill_its_bar():
    shares = {name: np.array([0.25]) for name in ("tp", "fn", "fp", "tn")}
    axes = decisions.outcome_bars(["Smiling"], shares, "t").axes[0]
    ends = [patch.get_x() + patch.get_width() for patch in axes.patches]
    assert ends == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_agreement_counts_labelled_pictures_only():
    truth = np.array([10.0, np.nan, 30.0])
    axes = decisions.agreement(truth, np.array([12.0, 5.0, 26.0]), "age", "years").axes[0]
    assert axes.get_title(loc="left") == "n = 2, mean absolute error 3.00"


def test_counts_are_stacked_by_split():
    axes = distributions.count_bars({"White": {"train": 5, "val": 2}}, "t").axes[0]
    assert [patch.get_width() for patch in axes.patches] == [5, 2]
    assert texts(axes) == ["7"]


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0, np.nan])
def test_shares_of_any_size_can_be_drawn(share):
    figure = distributions.share_bars(["$x_{ <b>"], np.array([share]), "t", "share")
    assert png_pixels(figure_png(figure, dpi=40)).ndim == 3
