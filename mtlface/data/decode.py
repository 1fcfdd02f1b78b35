"""Bytes of one picture file → RGB pixels, upright, or a reason why not.

Plain JPEGs (nearly every face picture) take the fast path: libjpeg-turbo through `simplejpeg`,
which refuses damaged data instead of filling the rest with grey. Everything else goes through
Pillow, see `mtlface.data.decode_pillow`.
"""

import os
import stat
from pathlib import Path

import numpy as np
import simplejpeg
import torch
import torch.nn.functional as F

from mtlface.data.decode_pillow import (
    MAX_PIXELS,
    BadImageError,
    check_dimensions,
    decode_with_pillow,
    exif_orientation,
)

__all__ = ["MAX_PIXELS", "BadImageError", "decode", "decode_resized", "read_file"]

_MAX_SCANS = 100
"""Encoders write about ten; each costs a pass over all pixels, so a small file could take hours."""


MAX_FILE_BYTES = 2**29
"""Files above 512 MiB are not read: no picture below the pixel limit needs as much."""


def read_file(path: str | Path) -> bytes:
    """The content of an image file, through links.

    A pipe would wait for a writer and a device never end: neither is read.

    Raises:
        BadImageError: It is no regular file, has more than `MAX_FILE_BYTES`, or no file can have
            this name.
        OSError: It is not there, or cannot be read.
    """
    try:
        # O_NONBLOCK: opening a pipe that nobody writes to would wait.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except ValueError as error:  # a null byte, from a list that is no text
        raise BadImageError("no file can have this name") from error
    with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 (a descriptor)
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise BadImageError("not a file")
        if found.st_size > MAX_FILE_BYTES:
            raise BadImageError(f"a file of {found.st_size:,} bytes is no picture")
        return file.read()


def decode(data: bytes) -> np.ndarray:
    """Decodes a picture of any common format to RGB.

    EXIF rotation is applied, transparency is composited on white, 16-bit grey is scaled (not
    clipped) to 8 bits, of an animation the first frame is taken, and the file name plays no role.

    Args:
        data: The whole file.

    Returns:
        Pixels, uint8 (H, W, 3).

    Raises:
        BadImageError: The file is empty, truncated, damaged, of no known format, or has more than
            `MAX_PIXELS` pixels or 100 JPEG scans (refused before anything is decoded).
    """
    if _plain_jpeg_header(data) is None:
        return _upright(*decode_with_pillow(data))
    return _upright(_decode_jpeg(data), exif_orientation(data))


def decode_resized(data: bytes, size: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]]:
    """Decodes a picture and stretches it to a working size.

    The resize is bilinear with antialiasing and agrees with `PIL.Image.resize(…, BILINEAR)`: fewer
    than one value in a hundred differs, by one grey level. JPEGs are decoded at their full size:
    libjpeg's scaled decoding is faster for large images, but a network exported to others would
    then see other pixels than it was trained on.

    Args:
        data: The whole file.
        size: Height and width to stretch to.

    Returns:
        Pixels, uint8 (height, width, 3), and the (width, height) of the upright picture on disk.

    Raises:
        BadImageError: As for `decode`.
    """
    if (header := _plain_jpeg_header(data)) is None:
        pixels = _upright(*decode_with_pillow(data))
        return _resize(pixels, size), (pixels.shape[1], pixels.shape[0])
    orientation = exif_orientation(data)
    sideways = orientation >= 5
    lying = (size[1], size[0]) if sideways else size
    pixels = _resize(_decode_jpeg(data), lying)
    height, width = header
    return _upright(pixels, orientation), (height, width) if sideways else (width, height)


def _plain_jpeg_header(data: bytes) -> tuple[int, int] | None:
    """Height and width of a grey, RGB or YCbCr JPEG; None for what Pillow has to look at."""
    if not data:
        raise BadImageError("the file is empty")
    if data[:3] != b"\xff\xd8\xff":
        return None
    if (scans := data.count(b"\xff\xda")) > _MAX_SCANS:
        raise BadImageError(f"a JPEG of {scans} scans, more than the limit of {_MAX_SCANS}")
    try:
        height, width, colorspace, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    check_dimensions(width, height)
    return (height, width) if colorspace in ("YCbCr", "RGB", "Gray") else None


def _decode_jpeg(data: bytes) -> np.ndarray:
    """Pixels of a JPEG as they lie."""
    try:
        pixels: np.ndarray = simplejpeg.decode_jpeg(data)
    except ValueError as error:
        reason = str(error)
        # Stray bytes between segments leave the picture whole; Pillow still refuses a short one.
        if "extraneous" not in reason and reason.startswith(("Premature", "Corrupt")):
            raise BadImageError(f"truncated or damaged JPEG ({reason})") from error
        pixels, _ = decode_with_pillow(data)
    return pixels


def _resize(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Stretches (H, W, 3) uint8 pixels to `size` (height, width)."""
    if pixels.shape[:2] == size:
        return pixels
    # torch's uint8 kernel computes the same fixed-point filter as Pillow, at three times the speed,
    # and leaves the interpreter lock to other threads. The batch axis comes first of all: only then
    # does torch see that the channels lie last, and copies nothing.
    batch = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)
    resized = F.interpolate(batch, size=size, mode="bilinear", antialias=True)
    return resized.permute(0, 2, 3, 1)[0].numpy()


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undoes the camera's rotation and mirroring (EXIF tag 0x0112, values 1 to 8)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
