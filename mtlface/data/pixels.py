"""The packed store: all pictures of a table in one memory-mapped array, decoded once.

A store is a folder below the cache, `<height>x<width>-<key>/`, with `pixels.npy`, `sizes.npy`,
`checks.npy` and `index.json`. The key is made of the names, sizes and times of the picture files,
the working size and the version of the decoder, so that changed data makes a new store and stores
of several sizes lie side by side. A store folder appears whole or not at all.

What happens to it later is noticed by check sums, of rows and of image files, drawn anew whenever
it is opened: disks forget, and a copy may keep an image's size and time but not its content.
"""

import hashlib
import json
import logging
import os
import shutil
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from mtlface.data.store_build import (
    CHECKS,
    INDEX,
    PIXELS,
    SIZES,
    BadImage,
    build,
    content_digest,
)
from mtlface.data.store_files import PictureFiles, file_check, list_files
from mtlface.data.store_lock import sole_builder, whole_or_nothing
from mtlface.errors import MtlfaceError

__all__ = ["BadImage", "JoinedStore", "PixelStore", "open_store"]

CHECKED_BYTES, CHECKED_ROWS = 2**25, 4096
"""The most pixels, and rows, that are compared with their check sums when a store is opened."""

CHECKED_FILES = 32
"""Of images that are read again when a store is opened."""

DECODER_VERSION = 3
"""Part of every key: raised when the same files are to give other pixels or another layout."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PixelStore:
    """Decoded pictures, a row each, in the order that they were asked for.

    Attributes:
        pixels: (N, H, W, 3) uint8 RGB, a read-only memory map; rows of bad pictures are zero.
        sizes: (N, 2) int32, width and height of the upright picture on disk; (0, 0) where bad.
        bad: The pictures that could not be decoded, in row order.
        digest: Hash of the decoded pixels and `sizes` (a CRC-32 a row, SHA-256 over all): the same
            wherever the files lie. It tells data sets apart; it is no protection from forgery.
        folder: Where the store lies.
        build_s: Seconds that this call took to build it; None when it was there already.
    """

    pixels: np.ndarray
    sizes: np.ndarray
    bad: tuple[BadImage, ...]
    digest: str
    folder: Path
    build_s: float | None = None

    @property
    def working(self) -> tuple[int, int]:
        """Height and width of the rows in pixels."""
        return int(self.pixels.shape[1]), int(self.pixels.shape[2])

    def gather(self, rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The images in these rows, int64 (B,), as uint8 (B, H, W, 3), in `out` if given."""
        # With mode="raise" NumPy would copy once more on the way to `out`.
        images: np.ndarray = np.take(self.pixels, rows, axis=0, out=out, mode="clip")
        return images

    @property
    def bytes(self) -> int:
        """Bytes of pixels on disk."""
        return self.pixels.nbytes

    def __reduce__(self) -> tuple[Any, ...]:
        # Sent to another process, a memory map would travel as gigabytes of pixels.
        return _reopen, (self.folder, self.build_s)


@dataclass(frozen=True)
class JoinedStore:
    """Several stores of one working size as one: the rows of each follow those of the one before.

    Attributes:
        stores: The stores; nothing of them is copied.
    """

    stores: tuple[PixelStore, ...]

    @property
    def starts(self) -> np.ndarray:
        """The first row of each store, and the number of all rows: int64 (S + 1,)."""
        return np.cumsum([0, *(len(store.sizes) for store in self.stores)])

    @property
    def sizes(self) -> np.ndarray:
        """(N, 2) int32, as in `PixelStore`."""
        return np.concatenate([store.sizes for store in self.stores])

    @property
    def digest(self) -> str:
        """Hash of the stores' digests."""
        content = " ".join(store.digest for store in self.stores)
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def bytes(self) -> int:
        """Bytes of pixels on disk."""
        return sum(store.bytes for store in self.stores)

    @property
    def working(self) -> tuple[int, int]:
        """Height and width of the rows in pixels."""
        return self.stores[0].working

    def gather(self, rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The images in these rows, int64 (B,), as uint8 (B, H, W, 3), in `out` if given.

        Each is copied once; fastest where the rows of a store are next to each other, as they are
        in a sampler's batches.
        """
        images = np.empty((len(rows), *self.working, 3), dtype=np.uint8) if out is None else out
        starts = self.starts
        store_of = np.searchsorted(starts, rows, side="right") - 1
        breaks = np.flatnonzero(np.diff(store_of)) + 1
        for begin, end in pairwise([0, *breaks.tolist(), len(rows)]):
            if begin < end:
                store = int(store_of[begin])
                own = rows[begin:end] - starts[store]
                self.stores[store].gather(own, images[begin:end])
        return images


def open_store(
    images: Sequence[str],
    root: Path,
    size: tuple[int, int],
    cache: Path,
    workers: int | None = None,
    progress: bool = True,
) -> PixelStore:
    """Opens the packed store of these pictures, and builds it first if need be.

    One process builds; others that want the same store wait for it. A build that was killed leaves
    nothing that a later call would mistake for a store.

    Args:
        images: Paths relative to root, in row order.
        root: The data folder.
        size: Height and width that every picture is stretched to.
        cache: Folder of stores; made if it is not there.
        workers: Decoding threads; None for one a usable core.
        progress: Whether to draw a progress bar while building.

    Raises:
        MtlfaceError: A name leaves root, a picture cannot be read for a reason outside of it, or
            the cache cannot be written or is too small.
    """
    if not images or min(size) < 1:
        raise MtlfaceError(
            f"A picture store needs pictures and a size; found {len(images)} pictures and a height "
            f"and width of {size[0]} and {size[1]} px. Check `data.root` and the input size."
        )
    files = list_files(images, root)
    key = files.key(DECODER_VERSION, *size)
    folder = cache.absolute() / f"{size[0]}x{size[1]}-{key[:24]}"
    if (store := _checked(folder, files)) is not None:
        return store
    needed = len(images) * size[0] * size[1] * 3
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with sole_builder(folder):
            return _checked(folder, files) or _build(files, size, folder, workers, progress, needed)
    except (OSError, NotImplementedError) as error:  # the latter: locks that are not supported
        reason = getattr(error, "strerror", None) or str(error)
        raise MtlfaceError(
            f"The picture store cannot be written in {cache}: {reason}. It takes "
            f"{needed / 2**30:.2f} GiB. Choose a cache folder on a local disk with room that you "
            "may write."
        ) from error


def _build(
    files: PictureFiles,
    size: tuple[int, int],
    folder: Path,
    workers: int | None,
    progress: bool,
    needed: int,
) -> PixelStore:
    free = shutil.disk_usage(folder.parent).free
    if free < needed:
        raise OSError(0, f"only {free / 2**30:.2f} GiB are free there")
    if folder.exists():
        log.warning("the picture store %s is damaged or out of date and is built again", folder)
    threads = workers or _usable_cores()
    with whole_or_nothing(folder) as unfinished:
        seconds = build(files, size, unfinished, threads, progress)
    store = _reopen(folder, seconds)
    log.info(
        "packed %d pictures (%d bad) in %.1f s, %.0f a second, %.2f GiB in %s",
        len(files.names), len(store.bad), seconds, len(files.names) / seconds,
        store.bytes / 2**30, folder,
    )  # fmt: skip
    return store


def _read(folder: Path) -> PixelStore | None:
    """The store in `folder`; None where there is none, or a damaged one."""
    try:
        index = json.loads((folder / INDEX).read_bytes())
        pixels = np.load(folder / PIXELS, mmap_mode="r")
        sizes, checks = np.load(folder / SIZES), np.load(folder / CHECKS)
        bad = tuple(BadImage(int(row), str(image), str(why)) for row, image, why in index["bad"])
        digest = str(index["digest"])
        height, width = index["size"]
        shape = (int(index["count"]), int(height), int(width), 3)
    # A torn .npy or JSON file raises nearly anything; whatever it is, the store is built again.
    except Exception as error:
        if not isinstance(error, FileNotFoundError):
            log.warning("the picture store %s is damaged: %s", folder, error)
        return None
    whole = (
        pixels.shape == shape
        and pixels.dtype == np.uint8
        and (folder / PIXELS).stat().st_size == pixels.offset + pixels.nbytes
        and sizes.shape == (shape[0], 2)
        and sizes.dtype == np.int32
        and checks.shape == (shape[0], 2)
        and checks.dtype == np.uint32
        and digest == content_digest(shape[1:3], sizes, checks)
        and all(0 <= item.row < shape[0] for item in bad)
    )
    return PixelStore(pixels, sizes, bad, digest, folder) if whole else None


def _checked(folder: Path, files: PictureFiles) -> PixelStore | None:
    """The store in `folder`, if what is drawn of it is as it was built; else None, with a word."""
    store = _read(folder)
    if store is None:
        return None
    checks = np.load(folder / CHECKS)
    count = len(checks)
    draw = np.random.default_rng()  # never the same rows twice, and no seed of a training's
    rows = np.arange(count)
    share = min(CHECKED_ROWS, max(1, CHECKED_BYTES // store.pixels[0].nbytes))
    if share < count:
        rows = np.sort(draw.choice(count, share, replace=False))
    wrong = [int(row) for row in rows if zlib.crc32(store.pixels[row].tobytes()) != checks[row, 0]]
    if wrong:
        log.warning(
            "the picture store %s holds other pixels than it was built with (%d of %d rows that "
            "were checked, the first of %s)",
            folder, len(wrong), len(rows), files.names[wrong[0]],
        )  # fmt: skip
        return None
    there = np.flatnonzero(files.sizes >= 0)
    for row in draw.choice(there, min(CHECKED_FILES, len(there)), replace=False):
        if file_check(files, int(row)) not in (None, int(checks[row, 1])):
            name = files.names[int(row)]
            log.warning(
                "%s was replaced by an image of the same size and time since the picture store %s "
                "was built",
                name, folder,
            )  # fmt: skip
            return None
    return store


def _reopen(folder: Path, build_s: float | None) -> PixelStore:
    if (store := _read(folder)) is None:
        raise MtlfaceError(f"The picture store {folder} was removed or damaged. Start again.")
    return replace(store, build_s=build_s)


def _usable_cores() -> int:
    # A batch system may grant fewer cores than the machine has; macOS cannot tell.
    granted = getattr(os, "sched_getaffinity", None)
    return len(granted(0)) if granted else os.cpu_count() or 1
