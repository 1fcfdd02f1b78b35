"""The live overview of a sweep: a line a run."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mtlface.training.reports import Outcome, Progress, duration
from mtlface.training.sweeps.plan import PlannedRun

MARKS = {"waiting": "", "running": "▶", "done": "✓", "skipped": "✓", "failed": "✗"}
STYLES = {"running": "bold", "failed": "red", "waiting": "dim", "done": "", "skipped": "dim"}


class Overview:
    """Shows the runs of a sweep while they follow each other in this process.

    Args:
        runs: All of them.
        console: The terminal.
    """

    def __init__(self, runs: Sequence[PlannedRun], console: Console) -> None:
        self.runs = {run.folder: run for run in runs}
        self.states = {run.folder: "skipped" if run.done else "waiting" for run in runs}
        self.progress: dict[Path, Progress] = {}
        self.seconds: dict[Path, float] = {}
        self._began: dict[Path, float] = {}
        self._console = console
        # Twice a second is lively; drawing more often would take time from training. The bar of
        # a store that is being packed draws on stderr over the last line, and is drawn over again.
        self._live = Live(
            get_renderable=self.table,
            console=console,
            refresh_per_second=2,
            transient=True,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def started(self, folder: Path) -> None:
        """A run begins."""
        self.states[folder] = "running"
        self._began[folder] = time.monotonic()
        for handler in logging.getLogger().handlers:
            if type(handler) is logging.StreamHandler:
                # The table says the rest, and every line of a log would push it down.
                handler.setLevel(logging.WARNING)

    def went_on(self, folder: Path, progress: Progress) -> None:
        """A run is so far."""
        self.progress[folder] = progress

    def ended(self, outcome: Outcome) -> None:
        """A run is over."""
        self.states[outcome.folder] = outcome.state
        if outcome.state != "skipped":
            self.seconds[outcome.folder] = outcome.seconds
        if outcome.state == "failed":
            run = self.runs[outcome.folder]
            self._console.print(f"✗ {run.arm} seed={run.seed}: {outcome.error}", markup=False)

    def table(self) -> Table:
        """The runs around the one that is on, as many as the terminal has lines for."""
        table = Table(caption=self._caption(), caption_justify="left", box=None, padding=(0, 1))
        for name in ("", "arm", "seed", "epoch", "best", "time left"):
            right = name in {"seed", "epoch", "time left"}
            table.add_column(name, justify="right" if right else "left", no_wrap=True)
        for folder in self._window():
            table.add_row(*self._cells(folder), style=STYLES[self.states[folder]])
        return table

    def _window(self) -> list[Path]:
        folders, height = list(self.runs), max(3, self._console.height - 6)
        on = next((i for i, f in enumerate(folders) if self.states[f] == "running"), 0)
        first = max(0, min(on - height // 2, len(folders) - height))
        return folders[first : first + height]

    def _cells(self, folder: Path) -> tuple[str | Text, ...]:
        run, state, progress = self.runs[folder], self.states[folder], self.progress.get(folder)
        epoch = best = ""
        left = state if state in {"waiting", "skipped", "failed"} else "reading data"
        if progress is not None:
            epoch = f"{progress.epoch:.1f}/{progress.epochs}"
            if progress.best is not None:
                best = f"{progress.monitor} {progress.best:.4g}"
            left = "" if progress.seconds_left is None else duration(progress.seconds_left)
            left = "testing" if progress.epoch >= progress.epochs else left
        if folder in self.seconds:
            left = f"{state}, {duration(self.seconds[folder])}"
        return MARKS[state], Text(run.arm), run.seed, epoch, best, left

    def _caption(self) -> str:
        over = sum(state in {"done", "skipped", "failed"} for state in self.states.values())
        caption = f"{over} of {len(self.states)} runs over"
        if left := self._seconds_left():
            caption += f", about {duration(left)} left if every run takes as long as those before"
        return caption

    def _seconds_left(self) -> float | None:
        """The mean of the runs so far for each that waits, less what the present one has had."""
        if not self.seconds:
            return None
        mean = sum(self.seconds.values()) / len(self.seconds)
        waiting = sum(state == "waiting" for state in self.states.values())
        on = [time.monotonic() - self._began[f] for f, s in self.states.items() if s == "running"]
        return waiting * mean + sum(max(0.0, mean - passed) for passed in on)
