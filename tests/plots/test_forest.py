from itertools import pairwise

from mtlface.plots.forest import ForestRow, forest


def test_forest_draws_the_interval_the_mean_and_every_seed():
    rows = [
        ForestRow("a", "gender", [1.0, 2.0, 3.0], (-0.5, 4.5), "undecided"),
        ForestRow("b", "gender", [5.0], None, "better"),
    ]
    axes = forest(rows, "benefit (%)", "title").axes[0]
    drawn = [tuple(line.get_xdata()) for line in axes.lines]
    assert (-0.5, 4.5) in drawn
    assert (1.0, 2.0, 3.0) in drawn
    assert (2.0,) in drawn
    low, high = axes.get_xlim()
    assert low < -0.5
    assert high > 5.0


def test_labels_of_a_long_forest_do_not_touch():
    names = [f"balancing=geometric_mean_{i}@features" for i in range(26)]
    rows = [ForestRow(n, g, [1.0, 2.0], (0.0, 3.0), "better") for g in "ab" for n in names]
    figure = forest(rows, "benefit (%)", "title")
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].get_yticklabels()]
    assert all(upper.y0 >= lower.y1 for upper, lower in pairwise(boxes))
