"""The sample pictures of an exploration, with their labels as captions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from mtlface.analysis.labels import coordinates, parts
from mtlface.data.decode import decode
from mtlface.data.schema import Binary, Category, Labels, Multilabel, Number, Points
from mtlface.data.table import FaceTable
from mtlface.errors import MtlfaceError
from mtlface.plots.panels import Caption, Panel

NAMED = 3  # attributes below a sample picture


def samples(table: FaceTable, count: int, seed: int) -> list[Panel]:
    """Pictures drawn at random, with their labels; those that cannot be read are passed over."""
    order = np.random.default_rng(seed).permutation(len(table))
    found: list[Panel] = []
    for row in order[: 2 * count]:
        line = table.frame.iloc[[int(row)]]
        try:
            image = decode(table.path(str(line["image"].iloc[0])).read_bytes())
        except (MtlfaceError, OSError):
            continue
        height, width = image.shape[:2]
        names = coordinates(table.labels, line).to_numpy().reshape(-1, 2)
        points = (names + 0.5) / (width, height) if len(names) else None
        captions = list(_captions(table.labels, line))
        found.append(Panel(image, width / height, captions, points))
        if len(found) == count:
            break
    return found


def _captions(labels: Labels, line: pd.DataFrame) -> Iterator[Caption]:
    yield Caption(str(line["image"].iloc[0]).rsplit("/", 1)[-1])
    words, attributes = [], parts(labels)
    for label in labels.values():
        if label.name in attributes or isinstance(label, Points | Multilabel):
            continue
        value = label.values(line)[0]
        if isinstance(label, Number):
            words += [] if np.isnan(value) else [f"{label.name} {value:g}"]
        elif isinstance(label, Binary | Category) and value >= 0 and label.classes:
            words.append(label.classes[int(value)])
    if words:
        yield Caption(", ".join(words))
    for label in labels.values():
        if isinstance(label, Multilabel):
            codes = label.values(line)[0]
            has = [name for name, code in zip(label.names, codes, strict=True) if code == 1]
            yield from (Caption(name) for name in has[:NAMED])
