"""Tables as CSV that neither a terminal nor a spreadsheet takes for commands, and back again.

Names of images, classes and people come from files that anybody may have made.
"""

from __future__ import annotations

import pandas as pd

from mtlface.values import FORMULA, cell


def as_cells(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its texts as `mtlface.values.cell` writes them; numbers as they are."""
    texts = table.select_dtypes(exclude="number").columns
    return table.assign(**{str(name): table[name].map(cell, na_action="ignore") for name in texts})


def to_csv(table: pd.DataFrame, header: bool = True) -> str:
    """The table as CSV, a row per line."""
    named = table.rename(columns=cell)
    return str(as_cells(named).to_csv(index=False, header=header, lineterminator="\n"))


def from_cells(column: pd.Series) -> pd.Series:
    """The texts of a column as they were before `as_cells` made formulas harmless."""
    quoted = column.str[:1].eq("'") & column.str[1:2].isin(list(FORMULA))
    return column.mask(quoted, column.str[1:])
