"""What a run tells of itself while it is on, and who listens."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

log = logging.getLogger(__name__)

# Short epochs would fill a job's log with lines that nobody reads.
SECONDS_BETWEEN_LINES = 10.0

# The folder, beside those of a sweep's arms, of runs that a search makes to choose settings by.
TRIALS = "trials"


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        epoch: Epochs done, 2.5 in the middle of the third.
        epochs: Epochs at most.
        monitor: The metric that picks the best epoch.
        value: Its latest value, None before the first validation.
        best: Its best value so far.
        seconds_left: Until the last epoch ends, if training does not stop before.
    """

    epoch: float
    epochs: int
    monitor: str
    value: float | None = None
    best: float | None = None
    seconds_left: float | None = None


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    `done`, `skipped` because it was done already, `pruned` as a trial of no promise, or `failed`.
    """

    folder: Path
    state: Literal["done", "skipped", "pruned", "failed"]
    seconds: float = 0.0
    error: str | None = None
    expected: bool = True  # whether the error is one that a user can mend
    diverged: bool = False  # whether it failed because its loss is no number any more


class Listener(Protocol):
    """Who shows the runs."""

    def started(self, folder: Path) -> None:
        """A run begins."""

    def went_on(self, folder: Path, progress: Progress) -> None:
        """A run is so far."""

    def ended(self, outcome: Outcome) -> None:
        """A run is over."""


class Lines:
    """A short line now and then, for logs and for runs beside each other."""

    def __init__(self) -> None:
        self._last = 0.0

    def started(self, folder: Path) -> None:
        """Nothing: the first epoch speaks for itself."""

    def went_on(self, folder: Path, progress: Progress) -> None:
        """A line at the end of an epoch."""
        late = time.monotonic() - self._last >= SECONDS_BETWEEN_LINES
        last = progress.epoch == progress.epochs
        if progress.value is None or not progress.epoch.is_integer() or not (late or last):
            return
        self._last = time.monotonic()
        parts = [
            f"{name_of(folder)}: epoch {progress.epoch:.0f}/{progress.epochs}",
            f"{progress.monitor} {progress.value:.4g} (best {progress.best:.4g})",
        ]
        if progress.seconds_left:
            parts.append(f"{duration(progress.seconds_left)} left")
        log.info(", ".join(parts))

    def ended(self, outcome: Outcome) -> None:
        """How it ended."""
        name = name_of(outcome.folder)
        if outcome.state == "failed":
            log.error("%s: failed: %s", name, outcome.error)
        elif outcome.state == "skipped":
            log.info("%s: done already", name)
        elif outcome.state == "pruned":
            log.info("%s: stopped, its epochs are below the median of the trials before", name)
        else:
            log.info("%s: done in %s", name, duration(outcome.seconds))


_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def listener() -> Listener | None:
    """Who listens in this process; None where a progress bar is at its place."""
    return _listener.get()


@contextmanager
def heard_by(who: Listener | None) -> Iterator[None]:
    """Lets someone listen to the runs of this block."""
    token = _listener.set(who)
    try:
        yield
    finally:
        _listener.reset(token)


def name_of(folder: Path) -> str:
    """A run in words, from its folder `…/<arm>/<data>/seed=<n>`."""
    arm, data, seed = folder.parts[-3:]
    if folder.parts[-5:-4] == (TRIALS,):  # …/trials/<arm>/<number>/<data>/seed=<n>
        return f"{folder.parts[-4]} on {data}, trial {arm}"
    return f"{arm} on {data}, {seed}"


def duration(seconds: float) -> str:
    """Seconds as `12 s`, `3 min 05 s` or `2 h 07 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
