"""Writes a run's two checkpoints beside its training: together, now and then, and when it ends."""

from __future__ import annotations

import copy
import threading
import time
from pathlib import Path
from typing import Any

from torch import Tensor
from typing_extensions import override

from mtlface.training.checkpoint import AtomicCheckpointIO
from mtlface.training.run_folder import RunFolder

SECONDS_BETWEEN_WRITES = 30.0
"""What a run that is killed can lose, unless an epoch takes longer."""


class CheckpointWriter(AtomicCheckpointIO):
    """Keeps the newest state and the best weights in memory, and writes both every half minute.

    A small network's epoch takes less time than its files do. So an epoch costs one copy of the
    state, where it lies; a thread takes it to the host and writes it. The best weights go to the
    disk together with the state that knows of them, the weights first: whenever a run is killed,
    `best.ckpt` is the one that `last.ckpt` means, or of the epoch behind it.

    Lightning saves through it as through any other plugin.

    Args:
        files: The run folder.
    """

    def __init__(self, files: RunFolder) -> None:
        super().__init__()
        self.files = files
        self._newest_best: Any = None  # no state knows of it yet
        self._best: Any = None
        self._last: Any = None
        # Memory of what was kept before; fresh memory costs more than the copy.
        self._spare_best: Any = None
        self._spare_last: Any = None
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._written = time.monotonic()

    @override
    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Keeps what is to become `best.ckpt` or `last.ckpt`, and with the latter writes if due.

        Raises:
            OSError: The disk refused what was written before.
        """
        if Path(path) == self.files.best:
            self._newest_best = snapshot(checkpoint, self._spare_best)
            self._spare_best = None
            return
        self._last = snapshot(checkpoint, self._last or self._spare_last)
        self._spare_last = None
        self._adopt_best()
        if time.monotonic() - self._written >= SECONDS_BETWEEN_WRITES:
            self._start()

    def write(self) -> None:
        """Writes what is kept and waits until it is on the disk.

        Raises:
            OSError: The disk refuses.
        """
        self._start()
        self._wait()

    def finish(self) -> None:
        """The same after the last epoch, whose weights may be the best; forgets what was kept.

        Raises:
            OSError: The disk refuses.
        """
        self._adopt_best()
        self.write()
        self._spare_best = self._spare_last = None

    def _adopt_best(self) -> None:
        if self._newest_best is not None:
            self._spare_best = self._best
            self._best, self._newest_best = self._newest_best, None

    def _start(self) -> None:
        self._wait()
        best, last = self._best, self._last
        self._best = self._last = None
        self._written = time.monotonic()
        if best is None and last is None:
            return
        self._thread = threading.Thread(
            target=self._save, args=(best, last), name="checkpoints", daemon=True
        )
        self._thread.start()

    def _wait(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _save(self, best: Any, last: Any) -> None:
        save = super().save_checkpoint
        try:
            if best is not None:
                save(on_host(best), self.files.best)
                self._spare_best = best
            if last is not None:
                save(on_host(last), self.files.next)
                if self.files.last.exists():
                    self.files.last.replace(self.files.previous)
                self.files.next.replace(self.files.last)
                self._spare_last = last
        except Exception as error:  # raised in the thread that trains
            self._error = error


def snapshot(value: Any, into: Any = None) -> Any:
    """A copy of tensors in plain containers.

    Args:
        value: A tensor, a container of such, or plain data.
        into: An older snapshot, whose tensors are overwritten where they fit: fresh memory costs
            more than the copy.
    """
    if isinstance(value, Tensor):
        value = value.detach()
        fits = isinstance(into, Tensor) and (into.shape, into.dtype, into.device) == (
            value.shape,
            value.dtype,
            value.device,
        )
        return into.copy_(value) if fits else value.clone()
    if isinstance(value, dict):
        old = into if isinstance(into, dict) else {}
        copied = copy.copy(value)  # a state dict has a version beside its entries
        for key, item in value.items():
            copied[key] = snapshot(item, old.get(key))
        return copied
    if isinstance(value, list | tuple):
        olds = (
            into
            if isinstance(into, list | tuple) and len(into) == len(value)
            else [None] * len(value)
        )
        return type(value)(snapshot(item, old) for item, old in zip(value, olds, strict=True))
    return value


def on_host(value: Any) -> Any:
    """The same with its tensors on the CPU."""
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, dict):
        copied = copy.copy(value)
        for key, item in value.items():
            copied[key] = on_host(item)
        return copied
    if isinstance(value, list | tuple):
        return type(value)(on_host(item) for item in value)
    return value
