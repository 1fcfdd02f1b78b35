"""Where a trained network lies: a run folder, a checkpoint or a bundle.

Nothing here imports torch: what a run starts from is part of what it is, which sweeps ask early.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mtlface.errors import MtlfaceError
from mtlface.values import quoted

BEST = Path("checkpoints") / "best.ckpt"
NAMING_RUNS = ("pretrained", "backbone.pretrained", "init")
WORDS = ("true", "false", "null")
PLAIN = re.compile(r"[\w./~:+-]*")  # what Hydra's grammar takes as it is
WEIGHTS = "model.safetensors"
"""Of a bundle."""


class Start(NamedTuple):
    """An earlier run whose weights a run starts from.

    Attributes:
        key: `pretrained`, which takes the trunk and the heads that fit, or `init`, which takes all.
        path: A run folder, a `.ckpt` file or a bundle, as the config says it.
    """

    key: str
    path: Path


def is_bundle(folder: Path) -> bool:
    """Whether a folder has the weights of a bundle."""
    return (folder / WEIGHTS).is_file()


def find_checkpoint(path: Path, key: str = "checkpoint") -> Path:
    """The file itself, the best checkpoint of a run folder, or the weights of a bundle.

    Args:
        path: What the user gave.
        key: With which key, for the error.

    Raises:
        MtlfaceError: It is a folder without a checkpoint, or with those of several runs.
    """
    if not path.is_dir():
        return path
    if (path / BEST).is_file():
        return path / BEST
    if is_bundle(path):
        return path / WEIGHTS
    found = sorted(path.glob(f"**/{BEST}"))
    if len(found) == 1:
        return found[0]
    if not found:
        raise MtlfaceError(
            f"There is no {BEST} in the folder {path}. Give {key}=<a run folder, a bundle or "
            "a .ckpt file>; python -m mtlface.train makes one."
        )
    raise MtlfaceError(
        f"{path} holds {len(found)} runs, first {found[0].parents[1]}. Give the folder of one."
    )


def is_trained(value: Any) -> bool:
    """Whether a value of `pretrained` is an earlier run, and no state dict of a trunk."""
    if not isinstance(value, str):
        return False
    path = Path(value).expanduser()
    return path.is_dir() or path.suffix == ".ckpt" or path.name == WEIGHTS


def start_of(cfg: Mapping[Any, Any]) -> Start | None:
    """The earlier run that a config starts from; None for published, other or random weights.

    Args:
        cfg: A composed config, or its resolved plain data.
    """
    if (init := cfg.get("init")) is not None:
        return Start("init", Path(init).expanduser())
    given = (cfg.get("backbone") or {}).get("pretrained", cfg.get("pretrained"))
    return Start("pretrained", Path(str(given)).expanduser()) if is_trained(given) else None


def with_quoted_runs(overrides: Sequence[str]) -> list[str]:
    """Quotes the paths of earlier runs: their folders have signs of Hydra's grammar, as in seed=0.

    Several paths with commas between stay several values; commas that are part of a path do not
    part it.
    """
    return [_with_quoted_runs(override) for override in overrides]


def _with_quoted_runs(override: str) -> str:
    key, _, value = override.partition("=")
    known = key.lstrip("+") in NAMING_RUNS
    if not known or PLAIN.fullmatch(value) or value[:1] in ("'", '"', "$"):
        return override
    values = _parts(value.split(",")) or [value]
    return f"{key}={','.join(v if PLAIN.fullmatch(v) else quoted(v) for v in values)}"


def _parts(pieces: Sequence[str]) -> list[str]:
    """Pieces of a text joined to paths that are there, the longest first; empty if some are not."""
    if not pieces:
        return []
    for end in range(len(pieces), 0, -1):
        path = ",".join(pieces[:end])
        rest = _parts(pieces[end:])
        there = path in WORDS or Path(path).expanduser().exists()
        if there and (rest or end == len(pieces)):
            return [path, *rest]
    return []


def check_start(cfg: Mapping[Any, Any]) -> None:
    """Checks that what a run starts from is there, before anything of it is read.

    Raises:
        MtlfaceError: It is not, or `init` and `pretrained` name weights both.
    """
    start = start_of(cfg)
    if start is None:
        return
    given = (cfg.get("backbone") or {}).get("pretrained", cfg.get("pretrained"))
    if start.key == "init" and isinstance(given, str):
        raise MtlfaceError(
            f"init={start.path} takes the trunk and all heads, and pretrained={given} a trunk. "
            "Give one of the two."
        )
    path = find_checkpoint(start.path, start.key)
    if not path.is_file():
        raise MtlfaceError(
            f"There is no {path}. Give {start.key}=<a run folder, a bundle or a .ckpt file>; "
            "python -m mtlface.train makes one."
        )
