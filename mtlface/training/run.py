"""One run: train an arm with one seed, test its best epoch, write down what came out."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from lightning import seed_everything
from omegaconf import DictConfig, OmegaConf

from mtlface.atomic import atomic_write, write_text
from mtlface.errors import MtlfaceError
from mtlface.training.build import build_datamodule, build_module, build_trainer, check_tasks
from mtlface.training.checkpoint import EXTRA, load_checkpoint
from mtlface.training.evaluation import evaluate
from mtlface.training.record import RunId, record
from mtlface.training.result import config_fingerprint, read_result, write_result

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps its files: `<outputs>/<group>/<arm>/<data>/seed=<n>/`."""

    path: Path

    @property
    def result(self) -> Path:
        """Written last: a run that has it is done."""
        return self.path / "result.json"

    @property
    def best(self) -> Path:
        """The weights of the best epoch by validation."""
        return self.path / "checkpoints" / "best.ckpt"

    @property
    def last(self) -> Path:
        """What an interrupted run goes on from."""
        return self.path / "checkpoints" / "last.ckpt"


def run(cfg: DictConfig, folder: Path, arm: str, overrides: list[str]) -> dict[str, Any]:
    """Trains, tests and writes `result.json`, or returns the result that is already there.

    Args:
        cfg: The composed config.
        folder: The run folder.
        arm: What comparisons call the configuration.
        overrides: The command line's changes, for the record.

    Raises:
        MtlfaceError: The configuration, the data or the machine does not allow the run.
    """
    files, fingerprint = RunFolder(folder), config_fingerprint(cfg)
    done = read_result(files.result)
    if done and done.get("config_fingerprint") == fingerprint:
        log.info("%s is done already; nothing to do.", folder)
        return done
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", blocking=False):
            return _run(cfg, files, RunId(arm, fingerprint, tuple(overrides)))
    except Timeout as error:
        raise MtlfaceError(
            f"Another process is training in {folder} right now. Wait for it, or choose another "
            "seed, arm or outputs folder."
        ) from error


def _run(cfg: DictConfig, files: RunFolder, run_id: RunId) -> dict[str, Any]:
    datamodule = build_datamodule(cfg)
    check_tasks(cfg, datamodule.reader.labels())
    seed_everything(cfg.seed, workers=True, verbose=False)
    labels = datamodule.table.labels
    module = build_module(cfg, labels)
    tasks = list(module.tasks.values())
    datamodule.batch_labels = tuple(dict.fromkeys(n for task in tasks for n in task.batch_labels))
    train = datamodule.split("train")
    for task in tasks:
        task.initialise(train.targets)
    write_text(files.path / "config.yaml", OmegaConf.to_yaml(cfg, resolve=True))
    module.checkpoint_extra = {
        EXTRA: {
            "config": OmegaConf.to_container(cfg, resolve=True),
            "labels": labels.to_dict(),
            "arm": run_id.arm,
            "fingerprint": run_id.fingerprint,
        }
    }
    resume = _resumable(files, run_id.fingerprint)
    trainer = build_trainer(cfg, files.path, purge_step=resume[1] if resume else None)
    trainer.fit(module, datamodule, ckpt_path=resume and resume[0], weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt
    best = load_checkpoint(files.best)
    module.load_state_dict(best["state_dict"])
    found = evaluate(module, datamodule, trainer.strategy.root_device)
    test = {k: v for k, v in found.metrics.items() if k.startswith("test/") and "@" not in k}
    for logger in trainer.loggers:
        logger.log_metrics(test, step=trainer.global_step)
    with atomic_write(files.path / "test_predictions.csv") as file:
        found.predictions.to_csv(file, index=False)
    result = record(cfg, run_id, trainer, module, datamodule, found, best["epoch"])
    write_result(files.result, result)
    return result


def _resumable(files: RunFolder, fingerprint: str) -> tuple[Path, int] | None:
    """The checkpoint to go on from and its step, if it belongs to this very configuration."""
    if not files.last.is_file():
        return None
    checkpoint = load_checkpoint(files.last)
    if checkpoint[EXTRA]["fingerprint"] != fingerprint:
        log.info("The checkpoint in %s is of another configuration; starting anew.", files.path)
        return None
    log.info("Going on from epoch %d of %s.", checkpoint["epoch"], files.last)
    return files.last, checkpoint["global_step"]
