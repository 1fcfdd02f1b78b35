"""Where things lie on this machine: kept in a run's own folder, and in nothing that is handed on.

A checkpoint travels; folders, with a user's name in them, are of no use to whoever gets it. What
rebuilds the network stays as it is. `evaluate` finds the data of a run again by `config.yaml` in
its folder, which does not travel with the checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from mtlface.training.identity import by_content

NOT_KEPT = "(not kept)"
"""What a checkpoint holds in the place of a path."""

# The user's own modules are built again with the arguments that they had, but without `pretrained`.
REBUILT = ("backbone", "tasks", "balancing")
PATHS = ("root", "cache", "outputs")


def without_places(config: Mapping[str, Any]) -> dict[str, Any]:
    """A resolved config without paths of this machine; files that count by content keep its digest.

    Args:
        config: Plain data.
    """
    return {
        key: _rebuilt(key, value) if key in REBUILT else _without(key, value)
        for key, value in config.items()
    }


def data_of_run(folder: Path, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The section `data` of a run with its paths, from the `config.yaml` in its folder.

    Args:
        folder: The run folder.
        config: What the checkpoint says that the run was.

    Returns:
        None where there is no such file, or it is not of this run.
    """
    try:
        whole = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return None
    data = whole.get("data") if isinstance(whole, dict) else None
    if not isinstance(data, dict):
        return None
    here = {"data": {**config["data"], "cache": None}}
    there = {"data": {**data, "cache": None}}
    return data if without_places(there) == without_places(here) else None


def _rebuilt(key: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _rebuilt(name, item) for name, item in value.items()}
    return _without(key, value) if key == "pretrained" else value


def _without(key: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without(name, item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without(key, item) for item in value]
    digest = by_content(key, value)
    if digest is not value:
        return digest
    is_path = isinstance(value, str) and (
        key in PATHS or value.startswith(("/", "~")) or value[1:3] in (":\\", ":/")
    )
    return NOT_KEPT if is_path else value
