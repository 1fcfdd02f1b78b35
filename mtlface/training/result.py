"""`result.json`: what a run found, written last, so that it stands for a whole run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtlface.atomic import write_text

SCHEMA = 2


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
