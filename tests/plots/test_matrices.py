import numpy as np

from mtlface.plots.matrices import heat_map


def test_heat_map_writes_known_cosines_only():
    cosines = np.array([[1.0, -0.25], [np.nan, 1.0]])
    axes = heat_map(["gender", "age"], ["gender", "age"], cosines, "arm", "cosine").axes[0]
    assert sorted(text.get_text() for text in axes.texts) == ["1.00", "1.00", "−0.25"]


def test_cosines_of_many_arms_are_a_row_each():
    cosines = np.array([[-0.25], [np.nan], [0.5]])
    axes = heat_map(["a", "b", "c"], ["gender · age"], cosines, "title", "cosine").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    assert [text.get_text() for text in axes.texts] == ["−0.25", "0.50"]
