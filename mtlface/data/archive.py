"""Unpacking zip archives that may be broken or hostile."""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from mtlface.errors import MtlfaceError

MAX_BYTES = 50 * 2**30  # CelebA is 1.4 GB, the largest face sets some tens
MAX_RATIO = 200  # pictures hardly compress, label files about 20 times
MAX_ENTRIES = 2_000_000
_CHUNK = 2**20


def unpack(
    archive: Path, folder: Path, max_bytes: int = MAX_BYTES, max_ratio: float = MAX_RATIO
) -> None:
    """Unpacks a zip into a new folder, which is there whole or not at all.

    All names and sizes are checked before anything is written. Only plain files and folders are
    taken; an archive with anything else, or with a name that leaves the folder, is refused.

    Args:
        archive: The zip file.
        folder: The folder to make; it must not be there yet.
        max_bytes: The largest size of the whole that is unpacked.
        max_ratio: The largest size of the whole in relation to the archive's.

    Raises:
        MtlfaceError: The archive is missing, damaged or refused, or the disk is full.
    """
    try:
        with zipfile.ZipFile(archive) as zipped:
            entries = zipped.infolist()
            _check(archive, entries, max_bytes, max_ratio)
            folder.parent.mkdir(parents=True, exist_ok=True)
            unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
            try:
                for entry in entries:
                    _extract(zipped, entry, unfinished)
                unfinished.chmod(0o755)
                unfinished.rename(folder)
            except BaseException:
                shutil.rmtree(unfinished, ignore_errors=True)
                raise
    except FileNotFoundError:
        raise MtlfaceError(f"{archive} is missing.") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise MtlfaceError(
            f"{archive} cannot be unpacked: {error}. It is damaged, encrypted or no zip file; "
            "get it again."
        ) from error
    except OSError as error:
        raise MtlfaceError(f"{archive} cannot be unpacked into {folder}: {error}.") from error


def _check(archive: Path, entries: list[zipfile.ZipInfo], max_bytes: int, max_ratio: float) -> None:
    total = sum(entry.file_size for entry in entries)
    allowed = min(max_bytes, max_ratio * archive.stat().st_size)
    if total > allowed or len(entries) > MAX_ENTRIES:
        raise MtlfaceError(
            f"{archive} holds {len(entries)} files of {total} bytes in all, more than the "
            f"{allowed:.0f} bytes that a data set of its size plausibly has. It was not unpacked; "
            "check where it is from."
        )
    seen: set[str] = set()
    for entry in entries:
        reason = _refusal(entry)
        key = entry.filename.casefold().rstrip("/")
        if reason is None and key in seen:
            reason = "occurs twice"
        if reason is not None:
            raise MtlfaceError(
                f"{archive} was not unpacked: its entry {entry.filename!r} {reason}. "
                "No data set needs that; check where the archive is from."
            )
        seen.add(key)


def _refusal(entry: zipfile.ZipInfo) -> str | None:
    name, kind = entry.filename, stat.S_IFMT(entry.external_attr >> 16)
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or ":" in parts[0]:
        return "leads out of the folder"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    return None


def _extract(zipped: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    target = folder / entry.filename
    if entry.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    left = entry.file_size
    with zipped.open(entry) as source, target.open("xb") as file:
        while chunk := source.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise zipfile.BadZipFile(f"{entry.filename} is larger than it claims")
            file.write(chunk)
