"""The one error that a user's mistake raises, and what a disk's refusals look like."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
LIMITS = {  # what a shell's `ulimit` allows
    errno.EFBIG: "is larger than files may be here. Raise the limit (ulimit -f unlimited)",
    errno.EMFILE: "is one open file too many here. Raise the limit (ulimit -n 4096)",
}
LOCKED = {errno.EROFS, errno.EACCES, errno.EPERM}
_NO_HOME = "Could not determine home directory."  # of pathlib's RuntimeError


class MtlfaceError(Exception):
    """Something a user can mend: a wrong path, key, label, file or machine.

    The message is one short paragraph that names the thing, says what was expected and what was
    found, and how to mend it. The doors print it without a stack trace.
    """


class DivergedError(MtlfaceError):
    """A training whose loss is no number any more: its settings are at fault, not the machine."""


def did_you_mean(name: str, known: list[str]) -> str:
    """Returns `` Did you mean 'x'?`` for the closest of the known names, or an empty string."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""


def how_to_install(module: str) -> str:
    """`` pip install 'mtlface[x]' brings it.`` where an extra has the module, or an empty string.

    Args:
        module: As it is imported; packages are taken to be called like their modules.
    """
    from importlib.metadata import PackageNotFoundError, requires

    package = module.partition(".")[0].replace("_", "-")
    try:
        requirements = requires("mtlface") or ()
    except PackageNotFoundError:  # a checkout that was never installed
        return ""
    for requirement in requirements:
        found = re.fullmatch(r"([\w.-]+).*; extra == '(\w+)'", requirement)
        if found and found[1] == package and found[2] != "dev":
            return f" pip install 'mtlface[{found[2]}]' brings it."
    return ""


def disk_error(error: BaseException) -> MtlfaceError | None:
    """The error to show where a disk's refusal is behind `error`; None elsewhere.

    A refusal is a full disk, a locked folder, or a `~` whose user has no home here. Libraries in
    C++ raise errors of their own while Python's is being handled, so it is looked for in what came
    before, too.
    """
    for cause in _causes(error):
        if str(cause) == _NO_HOME:
            return MtlfaceError(
                "A path begins with ~, but the user meant by it has no home folder on this "
                "machine. Write the path in full."
            )
        if not isinstance(cause, OSError):
            continue
        name = cause.filename or "a file of the run"
        if cause.errno in LIMITS:
            return MtlfaceError(f"{name} {LIMITS[cause.errno]}; the same command then goes on.")
        if cause.errno in FULL | LOCKED:
            if cause.errno in FULL:
                return MtlfaceError(
                    f"The disk is full: {name} could not be written ({cause.strerror}). What was "
                    "written before is whole. Make room, or choose another disk with outputs=… "
                    "and data.cache=…; the same command then goes on."
                )
            return MtlfaceError(
                f"{name} may not be read or written ({cause.strerror}). Choose a folder of your "
                "own with outputs=… or data.cache=…, or mend its permissions."
            )
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    while isinstance(current, OSError | RuntimeError):
        yield current
        current = current.__cause__ or current.__context__
