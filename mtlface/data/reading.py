"""From the settings of `data` to a table of images and labels; no image is opened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from hydra.utils import instantiate

from mtlface.data.draws import limited, seeded_draw
from mtlface.data.sources import resolve
from mtlface.data.table import SPLITS, FaceTable, Reader
from mtlface.errors import MtlfaceError


def read_table(
    reader: Reader,
    seed: int,
    *,
    root: str | None,
    source: Literal["kaggle", "demo"],
    kaggle: str | None,
    demo: str | None,
    cache: str | Path,
    limit: Mapping[str, Any] | None = None,
    draw: Mapping[str, Any] | None = None,
) -> tuple[FaceTable, str]:
    """The chosen images with their labels, and the kind of root: `folder`, `kaggle` or `demo`.

    The arguments are those of `FaceDataModule`.

    Raises:
        MtlfaceError: The data cannot be had or read, or a split is empty.
    """
    folder, kind = resolve(root, source, kaggle, demo, Path(cache).expanduser(), reader.layout)
    table = reader.read(folder, seed)
    if limit:
        table = limited(table, limit)
    if draw:
        table = seeded_draw(table, **draw)
    return with_all_splits(table), kind


def with_all_splits(table: FaceTable) -> FaceTable:
    """The table, if each of its splits has an image.

    Raises:
        MtlfaceError: One has none.
    """
    for split in SPLITS:
        if not table.counts[split]:
            raise MtlfaceError(
                f"The data in {table.root} has no usable image in its {split} split "
                f"(it has {table.counts}). Check the folder, or data.limit and data.draw."
            )
    return table


def content_of(settings: Mapping[str, Any], seed: int) -> str | None:
    """The fingerprint of the data as it lies on disk now, or None where that cannot be known.

    Nothing is downloaded: a data set of Kaggle is known by its pinned version. A label file is read
    once in a process.

    Args:
        settings: The resolved section `data` of a config.
        seed: The run's seed, which splits that the data lacks depend on.
    """
    return _content_of(json.dumps(settings, sort_keys=True, default=str), seed)


@lru_cache(maxsize=256)
def _content_of(settings: str, seed: int) -> str | None:
    data = json.loads(settings)
    if data["root"] is None and data["source"] == "kaggle":
        return None
    keys = ("root", "source", "kaggle", "demo", "cache", "limit", "draw")
    try:
        reader = instantiate(data["reader"])
        return read_table(reader, seed, **{key: data[key] for key in keys})[0].fingerprint()
    except Exception:  # whatever keeps it from being read will be said when it is needed
        return None
