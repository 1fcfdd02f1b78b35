"""A finished run that goes on to more epochs: `extend=true`."""

from __future__ import annotations

import glob
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from mtlface.errors import MtlfaceError
from mtlface.training.identity import RunId, difference
from mtlface.training.loggers import events_of
from mtlface.training.module import MultiTaskModule
from mtlface.training.result import read_result
from mtlface.training.run_folder import RunFolder
from mtlface.training.schedule import rescale
from mtlface.values import shown

log = logging.getLogger(__name__)

EPOCHS = "trainer.max_epochs"


def prepare(files: RunFolder, run_id: RunId, events: Path) -> None:
    """Makes of a finished shorter run one that can go on in this folder, and keeps it as it was.

    Where `trainer.max_epochs` is part of the arms' names the shorter run lies beside, and is
    copied from there. A run in the folder itself is copied to `replaced/`, and goes on as soon as
    its `result.json` is gone. Whatever interrupts this can start again.

    Args:
        files: The run folder.
        run_id: The longer run.
        events: Where TensorBoard finds it.

    Raises:
        MtlfaceError: The run in the folder is not a shorter one of the same settings and data, or
            the shorter run ended before its epochs were over.
    """
    result = read_result(files.result)
    if result is None and any(files.checkpoints.glob("*.ckpt")):
        return  # an extension that was interrupted, or a run that was
    if result is not None:
        check(files.path, result, run_id)
        kept = files.keep_copy(str(result["identity"]), events)
        files.result.unlink()
    else:
        beside = {folder: found for folder, found in _beside(files) if _shorter(found, run_id)}
        if not beside:
            log.warning(
                "extend=true: no finished run with fewer epochs and else the same settings lies in "
                "%s; training starts anew.",
                _group(files) / _pattern(files),
            )
            return
        kept = max(beside, key=lambda folder: _epochs(beside[folder]["config"]))
        result = beside[kept]
        check(kept, result, run_id)
        files.take_over(kept, events_of(kept), events)
    before, after = _epochs(result["config"]), _epochs(run_id.identity)
    log.info(
        "%s is extended from %d to %d epochs; as it was, it is kept in %s.",
        files.path,
        before,
        after,
        kept,
    )


def check(folder: Path, result: Mapping[str, Any], run_id: RunId) -> None:
    """Checks that the finished run in a folder can be extended to another one.

    Raises:
        MtlfaceError: It cannot; the settings in which they differ are named.
    """
    config = result["config"]
    differing = _differing(config, run_id)
    if differing:
        key, (there, here) = next(iter(differing.items()))
        raise MtlfaceError(
            f"extend=true: the run in {folder} differs in more than {EPOCHS}: {key} was "
            f"{shown(there)} and is {shown(here)}. Leave that as it was, or leave out extend: that "
            "trains anew and keeps the old run aside."
        )
    before, after = _epochs(config), _epochs(run_id.identity)
    if after <= before:
        raise MtlfaceError(
            f"extend=true: the run in {folder} had {EPOCHS}={before}, and {EPOCHS}={after} is not "
            f"more. Give more epochs, or leave out extend, which trains anew."
        )
    if not run_id.same_data(result):
        raise MtlfaceError(
            f"extend=true: the data of the run in {folder} has changed since. Leave out extend, "
            "which trains anew and keeps the old run aside."
        )
    done = int(result["budget"]["epochs"])
    if done < before and "match" not in config:
        raise MtlfaceError(
            f"extend=true: the run in {folder} stopped after {done} of its {before} epochs, and "
            "would stop there again. Train anew with another patience."
        )


def former(files: RunFolder, run_id: RunId) -> frozenset[str]:
    """The identities of the finished shorter runs that this one may go on from."""
    replaced = [(p.parent, read_result(p)) for p in files.path.glob("replaced/*/result.json")]
    found = (result for _, result in (*replaced, *_beside(files)) if result is not None)
    return frozenset(str(result["identity"]) for result in found if _shorter(result, run_id))


def _beside(files: RunFolder) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The finished runs of other arms with the same data and seed, and their results."""
    for path in sorted(_group(files).glob(_pattern(files, "result.json"))):
        if path != files.result and (result := read_result(path)) is not None:
            yield path.parent, result


def _group(files: RunFolder) -> Path:
    return files.path.absolute().parents[2]


def _pattern(files: RunFolder, *last: str) -> str:
    folder = files.path.absolute()
    return "/".join(("*", glob.escape(folder.parent.name), glob.escape(folder.name), *last))


def _shorter(result: Mapping[str, Any], run_id: RunId) -> bool:
    """Whether a result is of a run that differs in having fewer epochs, and in nothing else."""
    try:
        config = result["config"]
        return not _differing(config, run_id) and _epochs(config) < _epochs(run_id.identity)
    except (KeyError, TypeError, ValueError, AttributeError):  # no run wrote it
        return False


def _differing(config: Mapping[str, Any], run_id: RunId) -> dict[str, tuple[Any, Any]]:
    return difference(dict(config), run_id.identity, ["extended_at", EPOCHS])


def _epochs(identity: Mapping[str, Any]) -> int:
    return int(identity["trainer"]["max_epochs"])


class LongerSchedule(Callback):
    """Puts a schedule that knows how long training is where the longer one would be.

    A checkpoint brings the schedule of the shorter run, which is at its end. In its place comes
    that of the whole length, as far on as training is: the rate jumps there, once.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the rates and the state of a fresh schedule that has come as far."""
        assert isinstance(pl_module, MultiTaskModule)
        config, optimizer = trainer.lr_scheduler_configs[0], trainer.optimizers[0]
        fresh = pl_module.configure_optimizers()
        longer = fresh["lr_scheduler"]["scheduler"]
        with warnings.catch_warnings():  # of steps of a schedule without those of its optimizer
            warnings.simplefilter("ignore")
            for _ in range(config.scheduler.last_epoch):
                longer.step()
        before = optimizer.param_groups[0]["lr"]
        for group, other in zip(optimizer.param_groups, longer.optimizer.param_groups, strict=True):
            group.update({key: value for key, value in other.items() if key != "params"})
            if "rescaled" in group:
                group["scheduled_lr"] = group["lr"]
                rescale(group, *group["rescaled"])
        state = longer.state_dict()
        config.scheduler.load_state_dict(state)
        if trainer.is_global_zero:
            log.info(
                "The schedule is that of %s epochs from here on: the learning rate goes from %.3g "
                "to %.3g.",
                trainer.max_epochs,
                before,
                optimizer.param_groups[0]["lr"],
            )
