"""Where images come from: one data set with its own folder, limit and draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mtlface.data.draws import check_choice, limited, seeded_draw
from mtlface.data.sources import resolve
from mtlface.data.split_file import check_split, with_split
from mtlface.data.table import SPLITS, FaceTable, Reader
from mtlface.errors import MtlfaceError

# Keys of `data` that are about batches, those that a join has for all its sources, and those that
# are about a source.
COMMON = (
    "batch_size", "image_size", "loader", "workers", "cache", "max_bad_fraction", "on_bad_image",
    "label_fraction",
)  # fmt: skip
SHARED = ("name", "mix", "people", "root", "source", "limit", "draw")
OF_A_SOURCE = ("name", "kaggle", "demo", "root", "source", "split", "limit", "draw")


@dataclass(frozen=True)
class Source:
    """A data set.

    Attributes:
        name: What run folders and results call it.
        reader: Knows the native layout.
        kaggle: The pinned kagglehub handle, `owner/name/versions/N`.
        demo: The zip of rendered faces in the same layout.
        root: A folder with the native layout; it wins over `source`.
        source: Where the data comes from when no root is given: `kaggle` or `demo`.
        split: A file with splits of the user's own, see `mtlface.data.split_file`.
        limit: `{train, val, test, order, seed}`: n images of each split, see `limited`.
        draw: `{count, ratios, seed}`: a seeded draw over all splits, split again.

    Raises:
        MtlfaceError: `limit` or `draw` is not possible.
    """

    name: str
    reader: Reader
    kaggle: str | None = None
    demo: str | None = None
    root: str | None = None
    source: Literal["kaggle", "demo"] = "kaggle"
    split: str | Mapping[str, Any] | None = None
    limit: Mapping[str, Any] | None = None
    draw: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        check_choice(self.limit, self.draw)
        if self.split is not None:
            check_split(self.split)
            if self.draw:
                raise MtlfaceError("data.split and data.draw exclude each other; set one to null.")

    def read(self, cache: Path, seed: int) -> tuple[FaceTable, str]:
        """The chosen images with their labels, and the kind of root: `folder`, `kaggle` or `demo`.

        No image is opened.

        Args:
            cache: Where the demo set is unpacked.
            seed: Decides splits that the data set does not define itself.

        Raises:
            MtlfaceError: The data cannot be had or read, or a split is empty.
        """
        layout = self.reader.layout
        root, kind = resolve(self.root, self.source, self.kaggle, self.demo, cache, layout)
        table = self.reader.read(root, seed)
        if self.split is not None:
            table = with_split(table, self.split)
        if self.limit:
            table = limited(table, self.limit)
        if self.draw:
            table = seeded_draw(table, **self.draw)
        return with_all_splits(table, self.name), kind


def with_all_splits(table: FaceTable, source: str) -> FaceTable:
    """The table, if each of its splits has an image.

    Raises:
        MtlfaceError: One has none.
    """
    for split in SPLITS:
        if not table.counts[split]:
            raise MtlfaceError(
                f"The data of {source} in {table.root} has no usable image in its {split} split "
                f"(it has {table.counts}). Check the folder, or data.limit and data.draw."
            )
    return table


def source_sections(data: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The part of `data` that each source has, by its key: the whole where there is one only."""
    if "reader" in data:
        return {str(data["name"]): data}
    return {
        str(key): value
        for key, value in data.items()
        if isinstance(value, Mapping) and "reader" in value
    }


def source_settings(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The settings of each source: its own, and those that a join has for all of them.

    Args:
        data: The resolved section `data` of a config.

    Raises:
        MtlfaceError: A key is of no use where it is, or two sources have one name.
    """
    sections = source_sections(data)
    if "reader" in data:
        return [{"reader": data["reader"]} | {key: data.get(key) for key in OF_A_SOURCE}]
    stray = [key for key in data if key not in (*SHARED, *COMMON, *sections)]
    if stray:
        raise MtlfaceError(
            f"data.{stray[0]} is a setting of one data set, but {data['name']} joins several. Set "
            f"it where it belongs, as in data.{next(iter(sections))}.{stray[0]}=…, and take this "
            f"one away with '~data.{stray[0]}'."
        )
    if data["root"] is not None and len(sections) > 1:
        keys = ", ".join(f"data.{key}.root" for key in sections)
        raise MtlfaceError(
            f"data.root={data['root']} names one folder for {len(sections)} data sets. Set {keys}."
        )
    found: dict[str, dict[str, Any]] = {}
    for key, section in sections.items():
        if useless := [name for name in section if name in COMMON]:
            raise MtlfaceError(
                f"data.{key}.{useless[0]} has no effect: all sources share data.{useless[0]}."
            )
        settings = {"reader": section["reader"]} | {name: section.get(name) for name in OF_A_SOURCE}
        settings["source"] = data["source"] or settings["source"]
        settings["root"] = settings["root"] if data["root"] is None else data["root"]
        if settings["limit"] is None and settings["draw"] is None:
            settings |= {"limit": data["limit"], "draw": data["draw"]}
        if settings["name"] in found:
            raise MtlfaceError(
                f"Two sources are called '{settings['name']}'. Give one of them another name with "
                f"data.{key}.name=…."
            )
        found[settings["name"]] = settings
    return list(found.values())
