"""The report's tables for a paper: LaTeX with booktabs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mtlface.analysis.table import WORDS, Table
from mtlface.atomic import write_text

_SPECIAL = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\N{MINUS SIGN}": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "Δ": r"$\Delta$",
    "Σ": r"$\Sigma$",
    "²": r"$^2$",
    "≤": r"$\leq$",
    "·": r"$\cdot$",
    "–": "--",
    "…": r"\ldots{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def write_latex(tables: Sequence[Table], answer: str, path: Path) -> None:
    """Writes every table as a `table` environment; needs the packages booktabs and graphicx."""
    parts = [
        "% Written by mtlface. In the preamble: \\usepackage{booktabs} and \\usepackage{graphicx}.",
        f"% {' '.join(answer.split())}",
        *(_table(table, number) for number, table in enumerate(tables, 1)),
    ]
    write_text(path, "\n\n".join(parts) + "\n")


def escaped(text: str) -> str:
    """Text as LaTeX prints it; what has no sign of its own in LaTeX is left to UTF-8."""
    return "".join(_SPECIAL.get(c, c) for c in text.replace("\n", " "))


def _table(table: Table, number: int) -> str:
    align = "".join(
        "l" if i == 0 or column in WORDS else "r" for i, column in enumerate(table.columns)
    )
    rows = [" & ".join(map(escaped, row)) + r" \\" for row in table.rows]
    note = [rf"\par\smallskip\footnotesize {escaped(table.note)}"] if table.note else []
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escaped(table.title)}}}",
            rf"\label{{tab:mtlface-{number}}}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{align}}}",
            r"\toprule",
            " & ".join(map(escaped, table.columns)) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}}",
            *note,
            r"\end{table}",
        ]
    )
