"""One job of a sweep, or the only one: skip what is done, run the rest, write down failures.

Nothing here imports torch before there is something to train.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from mtlface.atomic import write_text
from mtlface.errors import DivergedError, MtlfaceError, disk_error
from mtlface.training.arm import only_task
from mtlface.training.identity import RunId
from mtlface.training.pruned import Pruned
from mtlface.training.ranks import is_first_rank, repeatable
from mtlface.training.reports import Lines, Listener, Outcome, heard_by, listener
from mtlface.training.result import read_result

log = logging.getLogger(__name__)


def job(cfg: DictConfig) -> Outcome:
    """What Hydra calls, in this process or in another one, with a composed config.

    An error does not leave it, so that other jobs go on: it is the outcome, and lies in the run
    folder as `error.json` until the run succeeds. With `debug=true` or HYDRA_FULL_ERROR=1 it does.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    if not is_first_rank():
        logging.getLogger().setLevel(logging.ERROR)
        # What a user can mend, the first rank says as well. A rank that ended with an error would
        # make Lightning kill the first one, and with it the other runs of a sweep.
        with heard_by(None), suppress(MtlfaceError, Pruned):
            _train(cfg, folder)
        return Outcome(folder, "done")
    who = listener() or _own_listener()
    with heard_by(who):
        outcome = _outcome(cfg, folder, who)
    if who is not None:
        who.ended(outcome)
    return outcome


def monitored(cfg: DictConfig) -> float:
    """The same for a sweeper that optimises: the best value of the monitor on validation.

    Raises:
        MtlfaceError: The run failed; the sweeper decides what that means.
    """
    outcome = job(cfg)
    if outcome.state == "failed":
        raise MtlfaceError(f"{outcome.folder}: {outcome.error}")
    result = read_result(outcome.folder / "result.json")
    return float("nan") if result is None else float(result["selection"]["value"])


def _own_listener() -> Listener | None:
    """A bar needs a terminal, and no other job that draws on it."""
    alone = HydraConfig.get().mode != RunMode.MULTIRUN
    return None if alone and sys.stderr.isatty() else Lines()


def _outcome(cfg: DictConfig, folder: Path, who: Listener | None) -> Outcome:
    if RunId.of(only_task(cfg)).result_in(folder) is not None:
        return Outcome(folder, "skipped")
    if who is not None:
        who.started(folder)
    began, failure = time.monotonic(), folder / "error.json"
    failure.unlink(missing_ok=True)
    try:
        with repeatable(HydraConfig.get().overrides):
            _train(cfg, folder)
    except Pruned:
        outcome = Outcome(folder, "pruned", time.monotonic() - began)
    except Exception as error:
        known = error if isinstance(error, MtlfaceError) else disk_error(error)
        diverged = isinstance(error, DivergedError)
        line = one_line(known or error)
        with suppress(OSError):  # the disk may be what failed
            write_text(failure, json.dumps({"error": line}) + "\n")
        traced = cfg.debug or os.environ.get("HYDRA_FULL_ERROR") == "1"
        if traced and not (diverged and cfg.get("trial")):  # which is what a search finds out
            raise
        log.debug("The stack trace of the failure", exc_info=True)  # into the run's train.log
        seconds = time.monotonic() - began
        outcome = Outcome(folder, "failed", seconds, line, known is not None, diverged)
    else:
        failure.unlink(missing_ok=True)
        outcome = Outcome(folder, "done", time.monotonic() - began)
    gc.collect()  # the next job wants the memory that this one's cycles hold
    return outcome


def one_line(error: Exception) -> str:
    """An error as a table has room for it; CUDA's have many lines, and some have none."""
    line = " ".join(str(error).split())
    if isinstance(error, MtlfaceError):
        return line
    line = f"{type(error).__name__}: {line}"
    # Tidying up after an error may fail as well, and would hide what is to be mended.
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return f"{line} (after {one_line(before)})" if isinstance(before, Exception) else line


def _train(cfg: DictConfig, folder: Path) -> None:
    import torch

    from mtlface.training.run import run

    warnings.filterwarnings("ignore", module="lightning|torch.optim.lr_scheduler")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    torch.set_float32_matmul_precision("high")
    overrides = [o for o in HydraConfig.get().overrides.task if not o.startswith("arm=")]
    try:
        run(cfg, folder, overrides)
    except SystemExit as error:
        # Lightning's way to end after Ctrl-C.
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
