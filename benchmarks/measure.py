"""Repeated, interleaved timings and the report that they end in."""

import argparse
import json
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


def interleave(
    cases: Mapping[str, Callable[[], object]],
    repeats: int,
    cpu_seconds: dict[str, list[float]] | None = None,
) -> dict[str, list[float]]:
    """Times every case `repeats` times, in turns, and returns the wall seconds of each.

    Turns make a ratio fair on a machine that others use: what slows one case down for a while slows
    its rival too. Every case runs once unmeasured before.

    Args:
        cases: What to run, by name.
        repeats: Turns.
        cpu_seconds: A dictionary to fill with the CPU seconds of this process, all threads.
    """
    for case in cases.values():
        case()
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    busy = {} if cpu_seconds is None else cpu_seconds
    for _ in range(repeats):
        for name, case in cases.items():
            started, started_cpu = time.perf_counter(), time.process_time()
            case()
            seconds[name].append(time.perf_counter() - started)
            busy.setdefault(name, []).append(time.process_time() - started_cpu)
    return seconds


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest, highest and number of the values."""
    return {
        "median": statistics.median(values),
        "low": min(values),
        "high": max(values),
        "n": len(values),
    }


def ratio(slow: Sequence[float], fast: Sequence[float]) -> dict[str, float]:
    """Spread of slow ÷ fast over the turns in which they ran side by side."""
    return spread([a / b for a, b in zip(slow, fast, strict=True)])


def shown(found: Mapping[str, float], decimals: int = 2, unit: str = "") -> str:
    """A `spread` as a table's cell: `1.03 s (0.94 to 1.04)`."""
    median, low, high = (f"{found[key]:.{decimals}f}" for key in ("median", "low", "high"))
    return f"{median}{unit} ({low} to {high})"


def headline(
    measure: str, found: Mapping[str, float], unit: str = "×", goal: str = ""
) -> dict[str, Any]:
    """A row of the table that `python -m benchmarks --table` prints.

    Args:
        measure: What was measured, on what.
        found: Its `spread`.
        unit: What stands behind the number.
        goal: What it should be at least or at most.
    """
    return {"measure": measure, **found, "unit": unit, "goal": goal}


def options(description: str | None, repeats: int) -> argparse.ArgumentParser:
    """A command line with what all benchmarks have: `--repeats` and `--quick`."""
    parser = argparse.ArgumentParser(description=str(description).splitlines()[0])
    parser.add_argument("--repeats", type=int, default=repeats, help="turns")
    parser.add_argument("--quick", action="store_true", help="see that it runs; nothing is kept")
    return parser


def machine(device: str | None = None) -> dict[str, Any]:
    """What the numbers were taken on; `device` names an accelerator."""
    return {
        "device": device or f"{platform.machine()} CPU",
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "system": platform.system(),
    }


def report(
    name: str,
    results: Mapping[str, Any],
    rows: Sequence[Sequence[str]],
    columns: Sequence[str],
    where: Mapping[str, Any] | None = None,
    headlines: Sequence[Mapping[str, Any]] = (),
    keep: bool = True,
    detail: str = "",
    merge: bool = False,
) -> Path | None:
    """Prints the rows as a table and writes `results/<device>/<name>.json`.

    Args:
        name: Of the benchmark.
        results: Everything that was measured.
        rows: Cells of the table.
        columns: Titles of the table.
        where: `machine()` of the run, taken before it started.
        headlines: What the table of docs/benchmarks.md says of it.
        keep: False prints only.
        detail: A title, where docs/benchmarks.md shows the rows too.
        merge: Add to what the file has from before, case by case and headline by headline, so that
            neither a kill nor a second call loses what was measured.

    Returns:
        The JSON file, if one was written.
    """
    where = where or machine()
    table = Table(*columns, title=f"{name} on {where['device']}, {where['cores']} cores")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    if not keep:
        return None
    folder = RESULTS / re.sub(r"[^a-z0-9]+", "-", str(where["device"]).lower()).strip("-")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    content = {"machine": where, "headlines": list(headlines), "results": results}
    if merge and path.exists():
        before = json.loads(path.read_text())
        new = {row["measure"] for row in headlines}
        kept = [row for row in before["headlines"] if row["measure"] not in new]
        content |= {"headlines": [*kept, *headlines], "results": before["results"] | results}
    if detail:
        content["detail"] = {"title": detail, "columns": list(columns), "rows": list(rows)}
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(f"wrote {path}")
    return path
