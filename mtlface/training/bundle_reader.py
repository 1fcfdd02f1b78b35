"""A bundle folder back to what a checkpoint holds: weights, config, label schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from mtlface.errors import MtlfaceError
from mtlface.training.checkpoint import EXTRA
from mtlface.training.trained_files import WEIGHTS

CONFIG, LABELS = "config.yaml", "labels.json"


def read_bundle(folder: Path) -> dict[str, Any]:
    """Reads the files that `mtlface.export` wrote, without running anything that they bring.

    YAML's safe loader makes plain data only, and safetensors are tensors only. Whether the config
    may be built is checked by who builds it, as for a checkpoint.

    Args:
        folder: The bundle.

    Returns:
        The weights and the config as `mtlface.training.checkpoint.load_checkpoint` gives them.

    Raises:
        MtlfaceError: A file is missing, damaged or of another program, or safetensors is not
            installed.
    """
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise MtlfaceError(
            f"{folder / WEIGHTS} needs safetensors: pip install 'mtlface[export]'."
        ) from error
    readers: dict[str, Callable[[Path], Any]] = {
        WEIGHTS: load_file,
        CONFIG: lambda path: yaml.safe_load(path.read_text(encoding="utf-8")),
        LABELS: lambda path: json.loads(path.read_text(encoding="utf-8"))["labels"],
    }
    found = {}
    for name, read in readers.items():
        try:
            found[name] = read(folder / name)
        except FileNotFoundError as error:
            raise MtlfaceError(
                f"{folder} is a bundle without {name}. Export it again: python -m mtlface.export."
            ) from error
        except Exception as error:  # every format has errors of its own
            raise MtlfaceError(
                f"{folder / name} is damaged, or not what mtlface.export wrote "
                f"({type(error).__name__}). Export the bundle again."
            ) from error
    return {"state_dict": found[WEIGHTS], EXTRA: {"config": found[CONFIG], "labels": found[LABELS]}}
