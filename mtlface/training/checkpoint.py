"""Checkpoints: tensors and plain data, written whole or not at all."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from mtlface.atomic import atomic_write
from mtlface.errors import MtlfaceError

# The key of what mtlface adds to a Lightning checkpoint: the resolved config and the label schema.
EXTRA = "mtlface"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside the old one and then puts it in its place."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Saves with fsync, so that a power cut leaves the old file or the new one.

        Raises:
            OSError: The disk is full or the folder locked; the old file is as it was.
        """
        try:
            with atomic_write(Path(path)) as file:
                torch.save(checkpoint, file)
        except RuntimeError as error:
            # torch's writer is C++, and reports a write that failed as a position that is wrong.
            cause = error.__context__
            if not isinstance(cause, OSError):
                raise
            raise OSError(cause.errno, cause.strerror, str(path)) from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint of mtlface onto the CPU, without running any code that it brings.

    The check sums of its parts are compared first, which torch itself does not do.

    Raises:
        MtlfaceError: There is no such file, it is torn, or it is not a checkpoint of mtlface.
    """
    if not path.is_file():
        raise MtlfaceError(f"There is no checkpoint {path}. Give checkpoint=<a .ckpt file>.")
    try:
        with zipfile.ZipFile(path) as parts:
            if (damaged := parts.testzip()) is not None:
                raise zipfile.BadZipFile(f"check sum of {damaged}")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise MtlfaceError(
            f"{path} is torn, or holds more than tensors and plain data, and was not loaded "
            f"({type(error).__name__}). Take another checkpoint of the run."
        ) from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get(EXTRA), dict):
        raise MtlfaceError(
            f"{path} is no checkpoint of mtlface: it lacks the entry '{EXTRA}' with its config."
        )
    return checkpoint
