"""`result.json`: what a run found, written last, so that it stands for a whole run."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mtlface.atomic import write_text

SCHEMA = 1
# Where a run's files lie and how fast it runs do not decide what it finds.
WITHOUT_EFFECT = (
    "outputs",
    "group",
    "debug",
    "grids",
    "figures",
    "watch",
    "data.cache",
    "data.workers",
    "trainer.enable_progress_bar",
)
# Texts about the data. They are taken out altogether: runs from before they were there stay done.
DESCRIPTIONS = (("data", "terms"),)


def config_fingerprint(cfg: DictConfig) -> str:
    """16 hexadecimal digits of everything in a resolved config that can change a result."""
    plain = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    for key in WITHOUT_EFFECT:
        if OmegaConf.select(plain, key) is not None:
            OmegaConf.update(plain, key, None)
    content: Any = OmegaConf.to_container(plain)
    for section, key in DESCRIPTIONS:
        if isinstance(content.get(section), dict):
            content[section].pop(key, None)
    text = json.dumps(content, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def read_result(path: Path) -> dict[str, Any] | None:
    """A run's result, or None if there is none or it is no whole JSON file."""
    try:
        result = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return result if isinstance(result, dict) and result.get("schema") == SCHEMA else None


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """Writes the result atomically; numbers that are not finite become null."""
    write_text(path, json.dumps(_finite(result), indent=1, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
