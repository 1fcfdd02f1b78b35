import numpy as np

from mtlface.plots.bars import grouped_bars


def test_bars_leave_out_what_is_unknown():
    series = {"a": (np.array([0.9, np.nan]), np.array([0.1, np.nan]))}
    axes = grouped_bars(["clear", "fog"], series, ["a"], "accuracy", "by condition").axes[0]
    assert axes.patches[0].get_width() == 0.9
    assert [label.get_text() for label in axes.get_yticklabels()] == ["clear", "fog"]
