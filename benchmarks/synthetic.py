"""A data module of noise pictures in memory, as many as one likes."""

from pathlib import Path

import numpy as np
import pandas as pd
from omegaconf import DictConfig

from mtlface.data.datamodule import FaceDataModule, _Loaded
from mtlface.data.pixels import PixelStore
from mtlface.data.schema import Points
from mtlface.data.table import FaceTable
from mtlface.training.build import build_datamodule

DISTINCT = 2048  # different pictures; drawing them all would take longer than an epoch
EVALUATED = 32  # pictures of the validation and test splits, which nothing here looks at


def synthetic(cfg: DictConfig, count: int) -> FaceDataModule:
    """The data module of a config with noise in place of its pictures and labels.

    Args:
        cfg: Its `data.image_size` is the pictures' size on disk, too.
        count: Training pictures.
    """
    datamodule = build_datamodule(cfg)
    height, width = datamodule.image_size
    generator = np.random.default_rng(0)
    total = count + 2 * EVALUATED
    block = generator.integers(0, 256, (min(DISTINCT, total), height, width, 3), dtype=np.uint8)
    pixels = np.empty((total, height, width, 3), dtype=np.uint8)
    for start in range(0, total, len(block)):
        pixels[start : start + len(block)] = block[: total - start]
    sizes = np.full((total, 2), (width, height), dtype=np.int32)
    labels = datamodule.labels()
    columns = {
        column: generator.uniform(0, min(height, width), total)
        if isinstance(label, Points)
        else generator.integers(0, 2, total)
        for label in labels.values()
        for column in label.columns
    }
    splits = ["train"] * count + ["val"] * EVALUATED + ["test"] * EVALUATED
    names = {"image": [f"{i}.jpg" for i in range(total)], "split": splits}
    table = FaceTable(pd.DataFrame(names | columns), labels, Path())
    store = PixelStore(pixels, sizes, (), "0" * 16, Path())
    loaded = _Loaded(table, np.arange(total), store, "synthetic", {})
    datamodule.load = lambda: loaded  # type: ignore[method-assign]
    return datamodule
