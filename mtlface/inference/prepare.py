"""Pictures from files or memory to pieces for the network, in threads and in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image

from mtlface.data.decode import BadImageError, decode, decode_resized, read_file
from mtlface.inference.crops import Cut
from mtlface.inference.piece import Piece, as_pixels, resized

Source: TypeAlias = str | Path | Image.Image | np.ndarray

CHUNK = 16  # pictures a task: a JPEG takes less than a millisecond, a task's own cost counts
AHEAD = 256  # pictures that are decoded ahead of the network, at most
THREADS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class Prepared:
    """A picture that was asked for: its pieces, or why there are none.

    Attributes:
        name: What tables call it.
        pieces: One, or one a face.
        error: Why there is none; None where there is.
    """

    name: str
    pieces: tuple[Piece, ...] = ()
    error: str | None = None


def prepare(name: str, source: Source, frame: tuple[int, int], cut: Cut | None) -> Prepared:
    """Decodes, cuts and resizes one picture.

    Args:
        name: What tables call it.
        source: A path, or a picture in memory.
        frame: (height, width) of the working frame.
        cut: How it is cut; None stretches the whole picture.
    """
    try:
        return Prepared(name, tuple(_pieces(source, frame, cut)))
    except BadImageError as error:
        return Prepared(name, error=error.reason)
    except FileNotFoundError:
        return Prepared(name, error="there is no such file")
    except OSError as error:
        return Prepared(name, error=error.strerror or type(error).__name__)


def _pieces(source: Source, frame: tuple[int, int], cut: Cut | None) -> list[Piece]:
    if isinstance(source, str | Path):
        data = read_file(source)
        if cut is None:
            return [Piece(*decode_resized(data, frame))]
        return cut(decode(data))
    pixels = as_pixels(source)
    if cut is not None:
        return cut(pixels)
    return [Piece(resized(pixels, frame), (pixels.shape[1], pixels.shape[0]))]


def prepare_all(
    pictures: Iterable[tuple[str, Source]], frame: tuple[int, int], cut: Cut | None
) -> Iterator[Prepared]:
    """Prepares pictures in a few threads, a bounded number ahead, in the order given.

    Decoding and resizing leave the interpreter lock, so that they run beside the network.

    Args:
        pictures: A name and a source each.
        frame: (height, width) of the working frame.
        cut: How pictures are cut; None stretches the whole.
    """

    def some(chunk: list[tuple[str, Source]]) -> list[Prepared]:
        return [prepare(name, source, frame, cut) for name, source in chunk]

    rest = iter(pictures)
    waiting: deque[Future[list[Prepared]]] = deque()
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="decode")
    try:
        while True:
            while len(waiting) < AHEAD // CHUNK and (chunk := list(islice(rest, CHUNK))):
                waiting.append(pool.submit(some, chunk))
            if not waiting:
                return
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
