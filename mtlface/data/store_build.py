"""Writes a store: every picture decoded and resized by a pool of threads, row by row to disk.

The decoders release the interpreter lock, so threads are as fast as processes here and need no
start-up and no pickling. Rows are written with `pwrite` rather than through a memory map: memory
does not grow with the set, and a full disk is an error instead of a crash.
"""

import hashlib
import json
import os
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mtlface.atomic import write_text
from mtlface.data.decode import BadImageError, decode_resized, read_file
from mtlface.data.store_files import MISSING, NOT_A_FILE, PictureFiles
from mtlface.errors import MtlfaceError

PIXELS, SIZES, CHECKS, INDEX = "pixels.npy", "sizes.npy", "checks.npy", "index.json"

_BLOCK_BYTES = 2**22  # of pixels that a thread holds before it writes them


@dataclass(frozen=True)
class BadImage:
    """A picture that could not be decoded; its row in the store is black and its size (0, 0).

    Attributes:
        row: Row in the store.
        image: Path relative to the data folder.
        reason: Why, in a few words.
    """

    row: int
    image: str
    reason: str


@dataclass(frozen=True)
class _Block:
    rows: range
    sizes: np.ndarray  # (rows, 2) int32
    checks: np.ndarray  # (rows, 2) uint32: of the pixels and of the file
    bad: list[BadImage]


def build(
    files: PictureFiles, size: tuple[int, int], folder: Path, workers: int, progress: bool
) -> float:
    """Decodes all pictures into `folder` and returns the seconds that it took.

    Args:
        files: The pictures in row order.
        size: Height and width of the rows.
        folder: An empty folder; it holds a whole, fsynced store when the call returns.
        workers: Number of decoding threads.
        progress: Whether to draw a progress bar on stderr.

    Raises:
        MtlfaceError: A picture changed since it was listed, or the disk failed to read it.
        OSError: `folder` cannot be written, or its disk is full.
    """
    started = time.perf_counter()
    count = len(files.names)
    sizes = np.zeros((count, 2), np.int32)
    checks = np.zeros((count, 2), np.uint32)
    bad: list[BadImage] = []
    with (folder / PIXELS).open("wb", buffering=0) as file, _bar(count, size, progress) as bar:
        start = _write_header(file.fileno(), (count, *size, 3))
        with ThreadPoolExecutor(workers, "decode") as pool:
            blocks = [
                pool.submit(_decode_block, files, rows, size, file.fileno(), start)
                for rows in _blocks(count, size, workers)
            ]
            try:
                for future in as_completed(blocks):
                    block = future.result()
                    sizes[block.rows] = block.sizes
                    checks[block.rows] = block.checks
                    bad.extend(block.bad)
                    bar.update(len(block.rows))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        os.fsync(file.fileno())
    for name, array in ((SIZES, sizes), (CHECKS, checks)):
        with (folder / name).open("wb") as file:
            np.save(file, array)
            file.flush()
            os.fsync(file.fileno())
    seconds = time.perf_counter() - started
    index = {
        "count": count,
        "size": size,
        "digest": content_digest(size, sizes, checks),
        "build_s": seconds,
        "bad": [[item.row, item.image, item.reason] for item in sorted(bad, key=_row)],
    }
    write_text(folder / INDEX, json.dumps(index))
    return seconds


def _bar(count: int, size: tuple[int, int], progress: bool) -> "tqdm[None]":
    return tqdm(
        total=count,
        desc=f"packing pictures at {size[1]}x{size[0]} px",
        unit="pictures",
        disable=not progress,
        mininterval=0.2 if sys.stderr.isatty() else 20,  # a job's log is not a screen
    )


def _blocks(count: int, size: tuple[int, int], workers: int) -> list[range]:
    """Row ranges of a few MiB each, smaller where a small set would leave threads idle."""
    length = min(_BLOCK_BYTES // (size[0] * size[1] * 3), count // (4 * workers))
    length = max(1, length)
    return [range(row, min(row + length, count)) for row in range(0, count, length)]


def _decode_block(
    files: PictureFiles, rows: range, size: tuple[int, int], descriptor: int, start: int
) -> _Block:
    pixels = np.zeros((len(rows), *size, 3), np.uint8)
    sizes = np.zeros((len(rows), 2), np.int32)
    checks = np.zeros((len(rows), 2), np.uint32)
    bad = []
    for place, row in enumerate(rows):
        try:
            data = _read(files, row)
            checks[place, 1] = zlib.crc32(data)
            pixels[place], sizes[place] = decode_resized(data, size)
        except BadImageError as error:
            bad.append(BadImage(row, files.names[row], error.reason))
    checks[:, 0] = [zlib.crc32(picture.data) for picture in pixels]
    _write(descriptor, pixels, start + rows.start * pixels[0].nbytes)
    return _Block(rows, sizes, checks, bad)


def _read(files: PictureFiles, row: int) -> bytes:
    expected = int(files.sizes[row])
    if expected == MISSING:
        raise BadImageError("missing")
    if expected == NOT_A_FILE:
        raise BadImageError("not a file")
    path = f"{files.root}/{files.names[row]}"
    try:
        data = read_file(path)
    except OSError as error:
        # Not a bad picture: kept as one, it would stay bad after the disk or the mode is mended.
        raise MtlfaceError(
            f"The picture {path} (row {row}) cannot be read: {error.strerror}. Make it readable "
            "(or remove it, then its row counts as missing) and start again."
        ) from error
    if len(data) != expected:
        raise MtlfaceError(
            f"The picture {path} (row {row}) changed while the store was built: {expected:,} bytes "
            f"before, {len(data):,} now. Start again when the data is completely copied."
        )
    return data


def _write_header(descriptor: int, shape: tuple[int, ...]) -> int:
    """Writes the `.npy` header of a uint8 array and returns its length."""
    with os.fdopen(os.dup(descriptor), "wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": shape}
        )
        return file.tell()


def _write(descriptor: int, pixels: np.ndarray, offset: int) -> None:
    rest = pixels.data.cast("B")
    while rest:  # a nearly full disk takes a part before it refuses
        written = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[written:], offset + written


def content_digest(size: tuple[int, int], sizes: np.ndarray, checks: np.ndarray) -> str:
    """SHA-256 of the working size, the images' own sizes and the CRC-32 of each row's pixels."""
    digest = hashlib.sha256(np.array(size, "<i4").tobytes())
    digest.update(sizes.astype("<i4").tobytes())
    digest.update(checks[:, 0].astype("<u4").tobytes())
    return digest.hexdigest()


def _row(item: BadImage) -> int:
    return item.row
