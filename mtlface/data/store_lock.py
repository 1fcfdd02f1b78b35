"""One builder a folder, and a folder that appears whole or not at all.

Beside a folder `name` lie `.name.lock` and, while it is built, `.name.<random>.part`. The operating
system drops the lock of a process that dies, so a dead builder blocks no one; whoever gets a lock
while unfinished folders of its name exist knows that their builders are dead.
"""

import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

_PART = ".part"


@contextmanager
def sole_builder(folder: Path) -> Iterator[None]:
    """Holds the lock of `folder`; says so where another process has it, and waits.

    Raises:
        OSError: The lock file cannot be written.
    """
    lock = _lock(folder)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.warning("another process builds %s; waiting for it to finish", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def whole_or_nothing(folder: Path) -> Iterator[Path]:
    """Gives an empty folder that takes the place of `folder` when the block ends without an error.

    The caller holds the lock of `folder` and fsyncs what it writes. A rename that a power cut
    undoes leaves no `folder`, never half of one.

    Raises:
        OSError: The parent cannot be written.
    """
    _remove_leftovers(folder)
    unfinished = _part(folder)
    unfinished.mkdir()
    try:
        yield unfinished
        if folder.exists():
            discarded = _part(folder)
            folder.rename(discarded)
            shutil.rmtree(discarded, ignore_errors=True)
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _remove_leftovers(folder: Path) -> None:
    """Deletes what killed builders left in the parent; `folder`'s own lock is held already."""
    for part in folder.parent.glob(f".*{_PART}"):
        name = part.name[1:].rsplit(".", 2)[0]
        if name == folder.name:
            shutil.rmtree(part, ignore_errors=True)
            continue
        try:
            with _lock(folder.parent / name).acquire(timeout=0):
                shutil.rmtree(part, ignore_errors=True)
        except Timeout:  # its builder is at work
            continue


def _lock(folder: Path) -> FileLock:
    return FileLock(folder.parent / f".{folder.name}.lock")


def _part(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.{os.getpid()}-{secrets.token_hex(4)}{_PART}"
