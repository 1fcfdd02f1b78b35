"""Files that are either whole or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, cast

PART = ".part"


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Opens a temporary file that takes the place of `path` when the block ends without an error.

    The bytes and the folder entry are fsynced, so that after a power cut `path` holds either the
    old content or the new one.

    Raises:
        OSError: The folder cannot be written or the disk is full; `path` is as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", suffix=PART, delete=False
        ) as file:
            temporary = Path(file.name)
            try:
                yield cast(BinaryIO, file)
                file.flush()
                os.fsync(file.fileno())
                # Temporary files are private; the result follows the user's umask like any file.
                umask = os.umask(0)
                os.umask(umask)
                temporary.chmod(0o666 & ~umask)
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        _sync_folder(path.parent)
    except OSError as error:
        # A write that fails names no file, and a temporary name tells a user nothing.
        if error.filename is None or str(error.filename).endswith(PART):
            error.filename = str(path)
        raise


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text atomically; see `atomic_write`."""
    with atomic_write(path) as file:
        file.write(text.encode())


def remove_parts(folder: Path) -> None:
    """Deletes what writers that were killed left in a folder; nobody may be writing there."""
    for part in folder.glob(f".*{PART}"):
        part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
