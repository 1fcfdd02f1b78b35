"""Which values the keys of `data` may have, checked before anything is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from mtlface.data.augment import Augment
from mtlface.errors import MtlfaceError, did_you_mean

Loader = Literal["auto", "workers", "device"]
OnBadImage = Literal["omit", "raise"]


def check_settings(
    batch_size: int,
    image_size: Sequence[int],
    loader: str,
    on_bad_image: str,
    augment: Augment,
) -> None:
    """Checks the settings of a `FaceDataModule`, alone and together.

    Raises:
        MtlfaceError: A value is not possible, or two exclude each other.
    """
    _one_of("loader", loader, get_args(Loader))
    _one_of("on_bad_image", on_bad_image, get_args(OnBadImage))
    if not _positive(batch_size):
        raise MtlfaceError(f"data.batch_size is {batch_size}; expected a positive number.")
    if not isinstance(image_size, Sequence) or len(image_size) != 2 or not _positive(*image_size):
        raise MtlfaceError(
            f"data.image_size is {image_size}; expected height and width in pixels, for example "
            "data.image_size=[128,128]."
        )
    if loader == "device" and augment.needs_cpu:
        raise MtlfaceError(
            "loader=device cannot run this augmentation: weather effects exist on the CPU only. "
            "Take data.loader=workers, or an augment without weather."
        )


def _one_of(key: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise MtlfaceError(
            f"data.{key} is '{value}'; expected one of {', '.join(known)}."
            f"{did_you_mean(str(value), list(known))}"
        )


def _positive(*numbers: Any) -> bool:
    return all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in numbers)
