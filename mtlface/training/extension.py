"""A finished run that goes on to more epochs: `extend=true`."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from typing import Any

from lightning import Callback, LightningModule, Trainer

from mtlface.errors import MtlfaceError
from mtlface.training.identity import RunId, difference
from mtlface.training.module import MultiTaskModule
from mtlface.training.result import read_result
from mtlface.training.run_folder import RunFolder
from mtlface.training.schedule import rescale
from mtlface.values import shown

log = logging.getLogger(__name__)

EPOCHS = "trainer.max_epochs"


def prepare(files: RunFolder, run_id: RunId) -> None:
    """Makes a finished run one that can go on, and keeps a copy of it as it was.

    Without its `result.json` a run is unfinished; that goes last, so that whatever interrupts this
    leaves a finished run or an unfinished one.

    Args:
        files: The run folder, which has a result.
        run_id: The longer run.

    Raises:
        MtlfaceError: The run in the folder is not a shorter one of the same settings and data, or
            it ended before its epochs were over.
    """
    result = read_result(files.result)
    assert result is not None
    check(files, result, run_id)
    before, after = _epochs(result["config"]), _epochs(run_id.identity)
    aside = files.keep_copy(str(result["identity"]))
    files.result.unlink()
    log.info(
        "%s is extended from %d to %d epochs; as it was, it is kept in %s.",
        files.path,
        before,
        after,
        aside,
    )


def check(files: RunFolder, result: Mapping[str, Any], run_id: RunId) -> None:
    """Checks that a finished run can be extended to another one.

    Raises:
        MtlfaceError: It cannot; the settings in which they differ are named.
    """
    config, folder = result["config"], files.path
    differing = difference(config, run_id.identity, ["extended_at", EPOCHS])
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
    """The identities of the shorter runs that lie beside, which this one may go on from."""
    found = set()
    for path in sorted(files.path.glob("replaced/*/result.json")):
        result = read_result(path)
        if result is None:
            continue
        try:
            check(files, result, run_id)
        except MtlfaceError:
            continue
        found.add(str(result["identity"]))
    return frozenset(found)


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
