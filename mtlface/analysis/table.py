"""A table of text: one source for the terminal, Markdown and HTML."""

from dataclasses import dataclass

from mtlface.analysis import wording as w
from mtlface.analysis.comparison import Comparison, Metric

# Columns of words; all others are numbers and stand to the right.
WORDS = {"arm", "task", "verdict", "metric", "group", "instead of", "each task's part %"}
WORDS |= {"best known", "each task's rank", "choice", "arms"}


@dataclass(frozen=True)
class Table:
    """Rows of text under a title; the first column names the row.

    `wide_only` are columns that a narrow terminal leaves out.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    wide_only: frozenset[str] = frozenset()


def decimals_of(comparison: Comparison, metric: Metric) -> int:
    """One number of decimals for a metric in the whole report."""
    return w.decimals_for(
        [s.mean for (_, key), s in comparison.summaries.items() if key == metric.key]
    )
