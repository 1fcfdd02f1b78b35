"""`result.json`: what a run found, written last, so that it stands for a whole run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtlface.atomic import write_text
from mtlface.errors import MtlfaceError

SCHEMA = 2


MOST_BYTES = 2**26
LONGEST_TEXT = 20_000  # characters
DEEPEST = 64


def read_json(path: Path) -> Any:
    """Reads a JSON file that anybody may have written.

    Raises:
        OSError: There is no such file, or it cannot be read.
        ValueError: It is no JSON in UTF-8, or larger, deeper or longer in a text or a number than
            any file of a run is; the message says which.
    """
    if (size := path.stat().st_size) > MOST_BYTES:
        raise ValueError(f"it has {size:,} bytes")
    try:
        content = json.loads(path.read_bytes())
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    _check_plain(content)
    return content


def _check_plain(content: Any) -> None:
    waiting = [(content, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > DEEPEST:
            raise ValueError("it is nested too deeply")
        if isinstance(value, dict):
            waiting += [(item, depth + 1) for pair in value.items() for item in pair]
        elif isinstance(value, list):
            waiting += [(item, depth + 1) for item in value]
        elif isinstance(value, str):
            if len(value) > LONGEST_TEXT:
                raise ValueError(f"it has a text of {len(value):,} characters")
            value.encode()  # half of a surrogate pair can be in JSON, and nowhere else
        elif isinstance(value, int) and abs(value) >= 2**63:
            raise ValueError(f"it has an integer of {value.bit_length()} bits")


def read_result(path: Path) -> dict[str, Any] | None:
    """A run's result, or None if there is none or it is no whole JSON file.

    Raises:
        MtlfaceError: A folder has its name, so that none could be written.
    """
    if path.is_dir():
        raise MtlfaceError(
            f"{path} is a folder; expected the file that a run writes last, or nothing. Move the "
            "folder away, or choose another outputs=…."
        )
    try:
        result = read_json(path)
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
