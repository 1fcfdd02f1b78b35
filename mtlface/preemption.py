"""SIGTERM: a cluster wants its machine back, and the job is to be queued again.

Doors `listen`. While nothing is being trained, the process ends at once; while something is, it
ends after the step (`wait_for_step`), so that all ranks of a run leave together. Slurm's
`--signal=USR1@…` counts as the same wish.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

PREEMPTED = 75
"""The exit code: EX_TEMPFAIL of sysexits.h, "try again later"."""

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)
)  # Windows has no SIGUSR1


class Preempted(SystemExit):
    """Ends the process with the exit code that asks for another try."""

    def __init__(self) -> None:
        super().__init__(PREEMPTED)


_waits_for_step = False
_asked = False


def listen() -> None:
    """From now on the signals end this process with exit code 75, unless something else has them.

    Does nothing outside of the main thread, where Python allows no handlers.
    """
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _stop)


def wait_for_step(wait: bool) -> None:
    """Says whether a signal has to wait, because a training step is on.

    Lightning has a handler of its own for SIGTERM, called before ours, which ends training on all
    ranks after the step.
    """
    global _waits_for_step
    _waits_for_step = wait


def check() -> None:
    """Ends the process if a signal came while it had to wait.

    Raises:
        Preempted: It did.
    """
    if _asked:
        raise Preempted


def _stop(number: int, frame: FrameType | None) -> None:
    global _asked
    _asked = True
    if not _waits_for_step:
        raise Preempted
    if number != signal.SIGTERM:
        signal.raise_signal(signal.SIGTERM)
