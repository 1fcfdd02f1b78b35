"""A table of text: one source for the terminal, Markdown and HTML."""

from __future__ import annotations

from dataclasses import dataclass, replace

# Columns of words; all others are numbers and stand to the right.
WORDS = {"arm", "task", "verdict", "metric", "group", "instead of", "each task's part %"}
WORDS |= {"best known", "each task's rank", "choice", "arms", "reference", "setting", "value"}
WORDS |= {"more images", "more tasks", "more data sets"}
WORDS |= {"tested on", "by data set", "calibration error (ECE) by data set"}
WORDS |= {"settings (arm and reference)", "differs from most arms in"}


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

    def without_empty(self) -> Table:
        """The table without columns that have nothing to say in any row."""
        kept = [
            i
            for i in range(len(self.columns))
            if not self.rows or any(row[i] not in ("", "–") for row in self.rows)
        ]
        rows = tuple(tuple(row[i] for i in kept) for row in self.rows)
        return replace(self, columns=tuple(self.columns[i] for i in kept), rows=rows)
