"""From the settings of `data` to its sources; no image is opened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra.utils import instantiate

from mtlface.data.source import Source, source_settings


def sources_of(data: Mapping[str, Any]) -> list[Source]:
    """The data sets of the resolved section `data` of a config.

    Raises:
        MtlfaceError: See `source_settings` and `Source`.
    """
    return [
        Source(**settings | {"reader": instantiate(settings["reader"])})
        for settings in source_settings(data)
    ]


def contents_of(data: Mapping[str, Any], seed: int) -> dict[str, str | None]:
    """The fingerprint of each source as it is on disk now, or None where that cannot be known.

    Nothing is downloaded: a data set of Kaggle is known by its pinned version. A label file is read
    once in a process.

    Args:
        data: The resolved section `data` of a config.
        seed: The run's seed, which splits that the data lacks depend on.
    """
    cache = str(data["cache"])
    return {
        str(settings["name"]): _content_of(json.dumps(settings, sort_keys=True), cache, seed)
        for settings in source_settings(data)
    }


@lru_cache(maxsize=256)
def _content_of(settings: str, cache: str, seed: int) -> str | None:
    source = json.loads(settings)
    if source["root"] is None and source["source"] == "kaggle":
        return None
    try:
        found = Source(**source | {"reader": instantiate(source["reader"])})
        return found.read(Path(cache).expanduser(), seed)[0].fingerprint()
    except Exception:  # whatever keeps it from being read will be said when it is needed
        return None
