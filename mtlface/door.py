"""What all doors share: one clear line for a user's mistake, and where the configs lie."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from mtlface import preemption
from mtlface.errors import MtlfaceError, disk_error
from mtlface.values import as_line

USER_ERROR = 2
INTERRUPTED = 130

# What becomes of the work of a door that was stopped.
STARTS_ANEW = "No file is left half written; the same command starts anew."
GOES_ON = "The same command goes on from here."


def config_folder() -> Path:
    """The folder of the configs: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def wants_trace(arguments: list[str]) -> bool:
    """Whether stack traces are asked for, by `debug=true` or HYDRA_FULL_ERROR=1."""
    return "debug=true" in arguments or os.environ.get("HYDRA_FULL_ERROR") == "1"


def guarded(main: Callable[[], int | None], stopped: str = STARTS_ANEW) -> None:
    """Runs a door and exits.

    A user's mistake, a full disk or a locked folder is one paragraph on stderr and exit code 2,
    Ctrl-C is 130, and SIGTERM is 75, on which schedulers queue a job again.

    Args:
        main: The door; returns its exit code.
        stopped: What is said after Ctrl-C and SIGTERM of the work that was done until then.
    """
    preemption.listen()
    _open_closed_streams()
    try:
        code = main()
    except BrokenPipeError:  # the reader, such as head, has seen enough
        sys.stdout = None
        sys.exit(0)
    except (MtlfaceError, OSError, RuntimeError) as error:
        shown = error if isinstance(error, MtlfaceError) else disk_error(error)
        if shown is None or wants_trace(sys.argv):
            raise
        print(f"error: {as_line(str(shown))}", file=sys.stderr)
        sys.exit(USER_ERROR)
    except preemption.Preempted:
        print(f"\nStopped by the scheduler. {stopped}", file=sys.stderr)
        raise
    except KeyboardInterrupt:
        print(f"\nInterrupted. {stopped}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    sys.exit(code or 0)


def _open_closed_streams() -> None:
    """Gives a process that was started without stdin, stdout or stderr somewhere to write to.

    The next file that it opens would take the stream's number, and get what was meant for it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("r" if number == 0 else "w"))  # noqa: SIM115
