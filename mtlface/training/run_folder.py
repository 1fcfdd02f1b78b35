"""Where a run keeps its files, and what an interrupted run goes on from."""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtlface.errors import MtlfaceError
from mtlface.training.checkpoint import EXTRA, load_checkpoint

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunFolder:
    """The files of a run: `<outputs>/<group>/<arm>/<data>/seed=<n>/`."""

    path: Path

    @property
    def result(self) -> Path:
        """Written last: a run that has it is done."""
        return self.path / "result.json"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """The weights of the best epoch by validation."""
        return self.checkpoints / "best.ckpt"

    @property
    def last(self) -> Path:
        """What an interrupted run goes on from: the start of an epoch."""
        return self.checkpoints / "last.ckpt"

    @property
    def previous(self) -> Path:
        """The one before, should the last not be readable."""
        return self.checkpoints / "last-1.ckpt"

    @property
    def next(self) -> Path:
        """The newest, in the moment before it takes the last one's name."""
        return self.checkpoints / "next-last.ckpt"

    def set_aside(self, name: str) -> Path:
        """Moves a finished run into a folder `replaced/<name>` of its own, and returns that.

        What this process has opened by now stays: the lock, the log and Hydra's own files.
        """
        count = itertools.count(2)
        aside = self.path / "replaced" / name
        while aside.exists():
            aside = self.path / "replaced" / f"{name}-{next(count)}"
        aside.mkdir(parents=True)
        for entry in sorted(self.path.iterdir()):
            if entry.name not in {"replaced", "train.log", ".lock", ".hydra"}:
                entry.rename(aside / entry.name)
        return aside


@dataclass(frozen=True)
class Resume:
    """From where a run goes on.

    Attributes:
        checkpoint: The file.
        step: The optimizer steps that were done.
    """

    checkpoint: Path
    step: int


def find_resume(files: RunFolder, extra: dict[str, Any]) -> Resume | None:
    """The newest whole checkpoint of this very configuration and data, or None to start anew.

    Args:
        files: The run folder.
        extra: What a checkpoint of this run holds under `mtlface`.
    """
    for path in (files.next, files.last, files.previous):
        if not path.is_file():
            continue
        try:
            checkpoint = load_checkpoint(path)
        except MtlfaceError as error:
            log.warning("%s Trying the one before.", error)
            continue
        if "optimizer_states" not in checkpoint:
            log.warning("%s has weights only, such as best.ckpt. Trying the one before.", path)
            continue
        found = checkpoint[EXTRA]
        for key, what in (("identity", "another configuration"), ("data", "other data")):
            if found.get(key) != extra[key]:
                log.warning("%s is of %s; starting anew.", path, what)
                return None
        if not _best_is_whole(files):
            return None
        log.info("Going on from epoch %d of %s.", checkpoint["epoch"], path)
        return Resume(path, checkpoint["global_step"])
    return None


def _best_is_whole(files: RunFolder) -> bool:
    try:
        load_checkpoint(files.best)
    except MtlfaceError as error:
        # The last epochs could go on without it, but a best one among them could not be tested.
        log.warning("%s The best epoch is gone with it; starting anew.", error)
        return False
    return True
