"""The tables of docs/benchmarks.md, from the JSON files of all devices."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import RESULTS

COLUMNS = ("measure", "result (lowest to highest, n)", "goal", "device")


def table(folder: Path = RESULTS) -> str:
    """A Markdown row for each headline of `<folder>/<device>/<name>.json`, and whole tables below.

    Args:
        folder: The results.
    """
    rows: list[Sequence[str]] = []
    details: list[str] = []
    for path in sorted(folder.glob("*/*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        where = content["machine"]
        device = f"{where['device']}, {where['cores']} cores"
        for found in content.get("headlines", []):
            rows.append((found["measure"], _result(found), found["goal"], device))
        if detail := content.get("detail"):
            title = f"{detail['title']} ({device})"
            details += ["", title, "", *_markdown(detail["columns"], detail["rows"])]
    return "\n".join([*_markdown(COLUMNS, rows), *details])


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(row) + " |" for row in (columns, *rows)]
    return [lines[0], "|---" * len(columns) + "|", *lines[1:]]


def _result(found: Mapping[str, Any]) -> str:
    middle = f"{_number(found['median'])}{found['unit']}"
    if found["n"] == 1:
        return middle
    return f"{middle} ({_number(found['low'])} to {_number(found['high'])}, n={found['n']})"


def _number(value: float) -> str:
    """Three significant digits, and no decimals from a hundred on."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
