"""Where a run keeps its files, and what an interrupted run goes on from."""

from __future__ import annotations

import itertools
import logging
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from mtlface.errors import MtlfaceError
from mtlface.training.checkpoint import EXTRA, load_checkpoint
from mtlface.training.identity import RunId

log = logging.getLogger(__name__)


LEFT = ("train.log", ".lock", ".hydra")  # what this process has opened stays where it is


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

    def set_aside(self, name: str, events: Path) -> Path:
        """Moves a finished run into a folder `replaced/<name>` of its own, and returns that.

        What this process has opened by now stays: the lock, the log and Hydra's own files.

        Args:
            name: What the run was.
            events: Where TensorBoard finds it, in the run folder or elsewhere.
        """
        aside = self._aside(name)
        aside.mkdir(parents=True)
        for entry in sorted(self.path.iterdir()):
            if entry.name not in {"replaced", *LEFT}:
                entry.rename(aside / entry.name)
        if events.is_dir():
            shutil.move(events, aside / "tensorboard")
        return aside

    def keep_copy(self, name: str, events: Path) -> Path:
        """Copies a finished run into such a folder, whole or not at all, and returns that.

        Args:
            name: What the run was.
            events: As for `set_aside`.
        """
        aside = self._aside(name)
        part = aside.with_name(f".{aside.name}.copy")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(self.path, part, ignore=shutil.ignore_patterns("replaced", *LEFT))
        if events.is_dir():
            shutil.copytree(events, part / "tensorboard", dirs_exist_ok=True)
        part.rename(aside)
        return aside

    def take_over(self, other: Path, theirs: Path, events: Path) -> None:
        """Copies what a run goes on from out of another run's folder; the checkpoints last.

        Args:
            other: The other run's folder.
            theirs: Where TensorBoard finds the other run.
            events: Where it finds this one.
        """
        if theirs.is_dir():
            shutil.copytree(theirs, events, dirs_exist_ok=True)
        part = self.path / ".checkpoints.copy"
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(other / self.checkpoints.name, part)
        if self.checkpoints.exists():
            self.checkpoints.rmdir()
        part.rename(self.checkpoints)

    def _aside(self, name: str) -> Path:
        count = itertools.count(2)
        aside = self.path / "replaced" / name
        while aside.exists():
            aside = self.path / "replaced" / f"{name}-{next(count)}"
        return aside


@dataclass(frozen=True)
class Resume:
    """From where a run goes on.

    Attributes:
        checkpoint: The file.
        step: The optimizer steps that were done.
        epoch: The epoch, from 0, that it starts with.
        extended_at: Where the run was extended before.
        shorter: Whether the checkpoint is of a shorter run, which is now to be extended.
    """

    checkpoint: Path
    step: int
    epoch: int
    extended_at: tuple[int, ...] = ()
    shorter: bool = False


def find_resume(
    files: RunFolder, run_id: RunId, data: str, shorter: Collection[str] = ()
) -> Resume | None:
    """The newest whole checkpoint of this very configuration and data, or None to start anew.

    Args:
        files: The run folder.
        run_id: The run.
        data: The fingerprint of its data.
        shorter: The fingerprints of finished runs that it extends.
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
        known, extended_at = found.get("identity"), tuple(found.get("extended_at") or ())
        own = run_id.goes_by(known, extended_at)
        same = {
            "another configuration": own or known in shorter,
            "other data": found.get("data") == data,
        }
        for what, fine in same.items():
            if not fine:
                log.warning("%s is of %s; starting anew.", path, what)
                return None
        if not _best_is_whole(files):
            return None
        log.info("Going on from epoch %d of %s.", checkpoint["epoch"], path)
        step, epoch = checkpoint["global_step"], checkpoint["epoch"]
        return Resume(path, step, epoch, extended_at, not own)
    return None


def _best_is_whole(files: RunFolder) -> bool:
    try:
        load_checkpoint(files.best)
    except MtlfaceError as error:
        # The last epochs could go on without it, but a best one among them could not be tested.
        log.warning("%s The best epoch is gone with it; starting anew.", error)
        return False
    return True
