"""Which values the keys of `data` may have, checked before anything is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from mtlface.data.augment import Augment
from mtlface.errors import MtlfaceError
from mtlface.values import (
    Rule,
    choice,
    either,
    fixed,
    free,
    mapping,
    name,
    number,
    optional,
    path,
    several,
    shares,
    text,
    whole,
)

Loader = Literal["auto", "workers", "device"]
OnBadImage = Literal["omit", "raise"]

LONGEST_SIDE = 8192  # px
LARGEST_SEED = 2**32 - 1  # NumPy's

RULES: dict[str, Rule] = {
    "name": name("celeba"),
    "kaggle": optional(text("a kagglehub handle", "owner/name/versions/1")),
    "demo": optional(name("celeba.zip")),
    "root": optional(path("a folder's path", "/data/celeba")),
    "source": optional(choice("kaggle", "demo")),
    "people": optional(choice("apart")),
    "batch_size": whole(1, example=32),
    "image_size": several(whole(1, LONGEST_SIDE, example=128), 2, 2),
    "loader": choice(*get_args(Loader)),
    "workers": optional(whole(0, 1024, example=4)),
    "cache": path("a folder's path", "~/.cache/mtlface"),
    "max_bad_fraction": number(0.0, 1.0, example=0.01),
    "on_bad_image": choice(*get_args(OnBadImage)),
    "label_fraction": optional(mapping(number(0.0, 1.0, above=True), "{landmarks: 0.1}")),
    "terms": optional(free()),
    "ratios": shares(),
    "points": several(either(text(example="nose"), whole(0))),
    "attributes": either(fixed("all", ""), several(text(example="Smiling"))),
}
"""By key of `data`, and of each data set that is joined; one may have keys of its own beside these.

`mix`, `limit` and `draw` have checks of their own.
"""


def check_settings(settings: Mapping[str, Any], augment: Augment) -> None:
    """Checks the settings of `data`, alone and together.

    Args:
        settings: By key of `data`, resolved; keys that are not there are not checked.
        augment: What happens to training images.

    Raises:
        MtlfaceError: A value is not possible, or two exclude each other.
    """
    for key, rule in RULES.items():
        if key in settings:
            rule.check(f"data.{key}", settings[key])
    if settings.get("loader") == "device" and augment.needs_cpu:
        raise MtlfaceError(
            "loader=device cannot run this augmentation: weather effects exist on the CPU only. "
            "Take data.loader=workers, or an augment without weather."
        )
