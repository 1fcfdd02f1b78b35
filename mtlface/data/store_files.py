"""The picture files of a store: named inside the root, measured, and hashed to the store's key."""

import errno
import hashlib
import json
import os
import stat
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mtlface.errors import MtlfaceError

MISSING = -1
"""In `PictureFiles.sizes`: there is no such file."""

NOT_A_FILE = -2
"""In `PictureFiles.sizes`: a folder, a pipe or a device."""

_NO_SUCH_FILE = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}


@dataclass(frozen=True)
class PictureFiles:
    """Picture files in row order, as they were when they were listed.

    Attributes:
        root: The folder that all names are relative to.
        names: Paths relative to root.
        sizes: int64 (N,), bytes; `MISSING` or `NOT_A_FILE` where there is no picture to read.
        modified: int64 (N,), time of the last change in ns.
    """

    root: Path
    names: Sequence[str]
    sizes: np.ndarray
    modified: np.ndarray

    def key(self, *parameters: object) -> str:
        """SHA-256 of names, sizes, times and `parameters` (JSON values); not of the root."""
        digest = hashlib.sha256(json.dumps([parameters, list(self.names)]).encode())
        digest.update(self.sizes.tobytes())
        digest.update(self.modified.tobytes())
        return digest.hexdigest()


def file_check(files: PictureFiles, row: int) -> int | None:
    """The CRC-32 of an image file as it is now; None where it cannot be read."""
    try:
        return zlib.crc32(Path(files.root, files.names[row]).read_bytes())
    except (OSError, ValueError):
        return None


def list_files(images: Sequence[str], root: Path) -> PictureFiles:
    """Measures the named files without opening them, about 3 µs each.

    Args:
        images: Paths relative to root, in row order; blanks and any unicode are fine.
        root: The data folder.

    Raises:
        MtlfaceError: Root is no folder, a name leaves root (absolute, `..`, or a link that points
            out of it), or a folder may not be entered.
    """
    if not root.is_dir():
        raise MtlfaceError(
            f"The picture folder {root} was not found. Set `data.root` to the folder that holds "
            "the data."
        )
    inside = os.path.realpath(root)
    sizes = np.full(len(images), MISSING, np.int64)
    modified = np.zeros(len(images), np.int64)
    prefixes: dict[str, str] = {}
    for row, name in enumerate(images):
        folder, _, leaf = name.rpartition("/")
        prefix = prefixes.get(folder)
        if prefix is None or leaf == ".." or name[:1] == "/":
            prefix = prefixes[folder] = _folder_inside(name, row, inside)
        try:
            found = os.lstat(prefix + leaf)
            if stat.S_ISLNK(found.st_mode):
                _require_inside(os.path.realpath(prefix + leaf), name, row, inside)
                found = os.stat(prefix + leaf)  # noqa: PTH116 (a Path a picture costs a second)
        except ValueError:  # a NUL or half a surrogate pair: no file can be called that
            continue
        except OSError as error:
            if error.errno in _NO_SUCH_FILE:
                continue
            raise MtlfaceError(
                f"The picture '{name}' (row {row}) in {root} cannot be reached: {error.strerror}. "
                "Make the data folder readable."
            ) from error
        sizes[row] = found.st_size if stat.S_ISREG(found.st_mode) else NOT_A_FILE
        modified[row] = found.st_mtime_ns
    return PictureFiles(root, images, sizes, modified)


def _folder_inside(name: str, row: int, inside: str) -> str:
    """The folder of a picture with a closing slash, once it is known to lie inside the root."""
    folder, _, leaf = name.rpartition("/")
    absolute = name.startswith("/") or os.path.isabs(name)  # noqa: PTH117 (names, not paths)
    try:
        path = os.path.realpath(os.path.join(inside, folder))  # noqa: PTH118
    except ValueError:  # as in list_files
        return os.path.join(inside, folder, "")  # noqa: PTH118
    _require_inside("" if absolute or leaf == ".." else path, name, row, inside)
    return os.path.join(path, "")  # noqa: PTH118


def _require_inside(path: str, name: str, row: int, inside: str) -> None:
    if path != inside and not path.startswith(os.path.join(inside, "")):  # noqa: PTH118
        raise MtlfaceError(
            f"The picture '{name}' (row {row}) lies outside the data folder {inside}. Expected a "
            "path below it; mend the label file, or copy what is linked into the folder."
        )
