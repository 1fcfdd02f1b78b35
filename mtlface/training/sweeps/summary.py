"""What a sweep says at its end: how each run is, and how to go on with those that failed."""

from __future__ import annotations

import json
import os
import shlex
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from mtlface.training.reports import Outcome, duration
from mtlface.training.result import read_result
from mtlface.training.sweeps.plan import PlannedRun
from mtlface.training.sweeps.tune import Search

COMMAND = "python -m mtlface.train"


def outcomes(runs: Iterable[PlannedRun], done_before: Collection[Path]) -> dict[Path, Outcome]:
    """How the runs ended, read from their folders: they may have run on other machines.

    A run with neither a result nor an error has no outcome: it was cut off, or never started.
    """
    found = {}
    for run in runs:
        if run.done:
            result = read_result(run.folder / "result.json") or {}
            seconds = float(result.get("budget", {}).get("fit_s", 0.0))
            state = "skipped" if run.folder in done_before else "done"
            found[run.folder] = Outcome(run.folder, state, seconds)  # type: ignore[arg-type]
        elif (error := _error(run.folder)) is not None:
            found[run.folder] = Outcome(run.folder, "failed", error=error)
    return found


def _error(folder: Path) -> str | None:
    try:
        return str(json.loads((folder / "error.json").read_bytes())["error"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def summary(
    runs: Sequence[PlannedRun], ended: Mapping[Path, Outcome], hydra_overrides: Sequence[str]
) -> Group:
    """A line a run, each reason once, and the commands that repeat what is missing.

    Args:
        runs: All runs of the sweep.
        ended: How they ended.
        hydra_overrides: The command line's `hydra.…` changes.
    """
    table = Table(box=None, padding=(0, 1))
    for name in ("arm", "seed", "state", "best", "training"):
        table.add_column(name, justify="right" if name in {"seed", "training"} else "left")
    reasons: dict[str, int] = {}
    for run in runs:
        outcome = ended.get(run.folder)
        state, style = "not finished", "yellow"
        if outcome is not None and outcome.error is not None:
            number = reasons.setdefault(outcome.error, len(reasons) + 1)
            state, style = f"failed [{number}]", "red"
        elif outcome is not None:
            state, style = outcome.state, "dim" if outcome.state == "skipped" else "green"
        training = duration(outcome.seconds) if outcome and not outcome.error else ""
        best = _best(run) if outcome and not outcome.error else ""
        table.add_row(Text(run.arm), run.seed, Text(state, style), best, training)
    parts: list[Table | Text] = [table]
    parts += [Text(f"[{number}] {error}", "red") for error, number in reasons.items()]
    left = [r for r in runs if r.folder not in ended or ended[r.folder].error is not None]
    if left:
        parts.append(Text(f"{len(left)} of {len(runs)} runs are not done. To run just those:"))
        parts += [Text(f"  {line}", "bold") for line in commands(left, hydra_overrides)]
    return Group(*parts)


def searched(searches: Sequence[Search]) -> Group:
    """What each arm's search found, and why one found nothing."""
    table = Table(box=None, padding=(0, 1))
    for name in ("arm", "trials", "pruned", "diverged", "best", "chosen"):
        table.add_column(name, justify="left" if name in {"arm", "chosen"} else "right")
    reasons = []
    for one in searches:
        best = None if one.error else one.best()
        value = "" if best is None else _shown(best.value)
        chosen = ", ".join(
            f"{key}={_shown(found) if isinstance(found, float) else found}"
            for key, found in (best.params if best else {}).items()
        )
        over = sum(trial.state.is_finished() for trial in one.trials)
        counts = [str(one.count(state)) for state in ("PRUNED", "FAIL")]
        table.add_row(Text(one.arm), str(over), *counts, value, Text(chosen))
        if best is None:
            why = one.error or "no trial trained to its end; narrow tune.space, or more tune.trials"
            reasons.append(Text(f"{one.arm} has no settings to go on with: {why}", "red"))
    return Group(table, *reasons)


def ending(folder: Path) -> Group:
    """What a single run says at its end: its test metrics, where it lies, and what to do next.

    Args:
        folder: The run folder.
    """
    result = read_result(folder / "result.json") or {}
    table = Table(box=None, padding=(0, 1))
    for name in ("task", "test metric", "value", "constant predictor"):
        table.add_column(name, justify="left" if name in {"task", "test metric"} else "right")
    metrics, trivial = result.get("metrics") or {}, result.get("trivial") or {}
    for task, of in (result.get("tasks") or {}).items():
        key = f"test/{task}/{of['primary']}"
        ahead = _ahead(metrics.get(key), trivial.get(key), of.get("higher_is_better"))
        style = {True: "green", False: "yellow", None: ""}[ahead]
        value = Text(_shown(metrics.get(key)), style)
        table.add_row(Text(task), Text(str(of["primary"])), value, _shown(trivial.get(key)))
    place = os.path.relpath(folder)
    quoted = shlex.quote(place)
    chosen = result.get("selection") or {}
    epoch = chosen.get("epoch")
    lines = [
        Text(f"Run folder: {place}" + ("" if epoch is None else f" (best epoch: {epoch + 1})"))
    ]
    lines += [
        Text("Next:"),
        Text(f"  python -m mtlface.evaluate checkpoint={quoted}", "bold"),
        Text(f"  python -m mtlface.predict checkpoint={quoted} images=<your images>", "bold"),
    ]
    return Group(table, *lines)


def _ahead(value: float | None, constant: float | None, higher: bool | None) -> bool | None:
    if value is None or constant is None or higher is None:
        return None
    return value > constant if higher else value < constant


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def commands(runs: Sequence[PlannedRun], hydra_overrides: Sequence[str]) -> list[str]:
    """Command lines that start just these runs, one for all seeds of an arm."""
    seeds: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for run in runs:
        rest = tuple(o for o in run.overrides if not o.startswith("seed="))
        seeds[rest].append(next((o[5:] for o in run.overrides if o.startswith("seed=")), ""))
    kept = [o for o in hydra_overrides if not o.startswith(("hydra.mode=", "hydra.sweeper."))]
    lines = []
    for rest, chosen in seeds.items():
        several = [] if any(o.startswith("sweep=") for o in rest) else ["-m"]
        seed = [f"seed={','.join(chosen)}"] if any(chosen) else []
        lines.append(f"{COMMAND} {shlex.join([*several, *rest, *seed, *kept])}")
    return lines


def show(group: Group) -> None:
    """Prints a summary; a file or a pipe gets lines that are not wrapped at 80 columns."""
    console = Console(markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(width=200, markup=False, emoji=False)
    console.print(group, highlight=False, soft_wrap=True)


def _best(run: PlannedRun) -> str:
    chosen = (read_result(run.folder / "result.json") or {}).get("selection", {})
    if chosen.get("value") is None:
        return ""
    return f"{chosen['monitor']} {chosen['value']:.4g}"
