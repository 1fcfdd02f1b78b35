"""The pictures that are no plain JPEG, decoded with Pillow: PNG, GIF, WebP, TIFF, CMYK JPEG."""

import io
import re

import numpy as np
from PIL import Image, UnidentifiedImageError

from mtlface.errors import MtlfaceError

MAX_PIXELS = 89_478_485
"""Pictures with more pixels are refused before decoding; 256 MiB as RGB, Pillow's own limit."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000")
"""Raster formats only: Pillow would hand an EPS to Ghostscript, which runs it as a program."""

_EXIF_MARK = b"Exif\0\0"
_ORIENTATION = 0x0112


class BadImageError(MtlfaceError):
    """A file that cannot be decoded to a whole picture.

    Attributes:
        reason: Why, in a few words on one line, without the file's name.
    """

    def __init__(self, reason: str) -> None:
        self.reason = re.sub(r"\s+", " ", reason).strip()[:200]
        super().__init__(self.reason)


def check_dimensions(width: int, height: int) -> None:
    """Raises BadImageError for an empty picture and for a decompression bomb."""
    if width < 1 or height < 1:
        raise BadImageError(f"a picture of {width}x{height} pixels")
    if width * height > MAX_PIXELS:
        raise BadImageError(f"{width}x{height} pixels are more than the limit of {MAX_PIXELS:,}")


def decode_with_pillow(data: bytes) -> tuple[np.ndarray, int]:
    """Decodes the first frame of a picture file to RGB, as it lies.

    Transparent pixels are composited on white, as viewers show them. Grey with 16 bits is scaled to
    8 by 255/65535.

    Args:
        data: The whole file.

    Returns:
        Pixels, uint8 (H, W, 3), owned by the caller, and the EXIF orientation (1 to 8).

    Raises:
        BadImageError: The file cannot be decoded to a whole picture.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            check_dimensions(*image.size)
            image.load()
            # Read after loading: Pillow turns TIFFs itself and then drops their tag.
            return np.array(_to_rgb(image)), _orientation(image)
    except BadImageError:
        raise
    except UnidentifiedImageError as error:
        raise BadImageError("not a picture in a known format") from error
    # Pillow's plugins raise nearly anything on damaged files: a picture that cannot be decoded is
    # a bad picture, whatever the parser tripped over.
    except Exception as error:
        raise BadImageError(f"{type(error).__name__}: {error}") from error


def exif_orientation(data: bytes) -> int:
    """The EXIF orientation (1 to 8) of a JPEG; 1, as it lies, where none is given."""
    if _EXIF_MARK not in data:
        return 1
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            return _orientation(image)
    except Exception:  # damaged metadata must not cost a whole picture
        return 1


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # as above
        return 1
    return orientation if orientation in range(1, 9) else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _from_deep_grey(np.asarray(image))
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, picture).convert("RGB")
    return image.convert("RGB")


def _from_deep_grey(grey: np.ndarray) -> Image.Image:
    # Pillow opens 16-bit grey as 16 or 32-bit integers, by version, and would clip it at 255.
    if not np.issubdtype(grey.dtype, np.integer) or grey.min() < 0 or grey.max() > 65535:
        raise BadImageError(f"{grey.dtype} grey values have no agreed brightness range")
    return Image.fromarray(np.round(grey / 257).astype(np.uint8)).convert("RGB")
