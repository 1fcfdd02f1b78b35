"""One run: train an arm with one seed, test its best epoch, write down what came out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from lightning import Trainer, seed_everything
from omegaconf import DictConfig, OmegaConf

from mtlface import preemption
from mtlface.atomic import remove_parts, write_text
from mtlface.data.batch import Split
from mtlface.data.csv_cells import to_csv
from mtlface.data.datamodule import FaceDataModule
from mtlface.errors import MtlfaceError
from mtlface.training import extension
from mtlface.training.arm import only_task
from mtlface.training.build import (
    build_datamodule,
    build_module,
    build_trainer,
    check_tasks,
    check_trainer,
)
from mtlface.training.checkpoint import EXTRA, load_checkpoint
from mtlface.training.config_schema import check_values
from mtlface.training.evaluation import evaluate
from mtlface.training.flops import flops_per_image, matched_epochs
from mtlface.training.identity import RunId
from mtlface.training.loggers import check_loggers, closing_logs, events_folder
from mtlface.training.mishaps import explained
from mtlface.training.module import MultiTaskModule
from mtlface.training.outputs import show_results
from mtlface.training.own_runs import data_places, remember
from mtlface.training.places import without_places
from mtlface.training.ranks import is_first_rank, leave_group
from mtlface.training.record import record
from mtlface.training.result import read_result, write_result
from mtlface.training.run_folder import RunFolder, find_resume
from mtlface.training.selection import check_skill, constant_losses
from mtlface.training.start_weights import take_weights
from mtlface.training.trusted import foreign_sections
from mtlface.training.used_data import write_used_data

log = logging.getLogger(__name__)


def run(cfg: DictConfig, folder: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Trains, tests and writes `result.json`, or returns the result that is already there.

    Args:
        cfg: The composed config.
        folder: The run folder.
        overrides: The command line's changes, for the record.

    Raises:
        MtlfaceError: The configuration, the data or the machine does not allow the run.
        Preempted: The scheduler wants the machine back; the same call goes on from the start of
            the epoch.
    """
    check_values(cfg)
    whole, cfg = cfg, only_task(cfg)
    files, run_id = RunFolder(folder), RunId.of(cfg)
    if (done := run_id.result_in(folder)) is not None:
        log.info("%s is done already; nothing to do.", folder)
        return done
    try:
        with explained(cfg):
            if not is_first_rank():
                return _run(cfg, whole, files, run_id, overrides)
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / ".lock", blocking=False):
                for place in (files.path, files.checkpoints):
                    remove_parts(place)
                if cfg.extend:
                    extension.prepare(files, run_id, events_folder(cfg, folder))
                elif (other := read_result(files.result)) is not None:
                    found = str(other.get("identity"))
                    what = "other data" if found == run_id.fingerprint else "another configuration"
                    aside = files.set_aside(found, events_folder(cfg, folder))
                    log.warning("%s has a result of %s; it is kept in %s.", folder, what, aside)
                return _run(cfg, whole, files, run_id, overrides)
    except Timeout as error:
        raise MtlfaceError(
            f"Another process is training in {folder} right now. Wait for it, or choose another "
            "seed, arm or outputs folder."
        ) from error


def _run(
    cfg: DictConfig, whole: DictConfig, files: RunFolder, run_id: RunId, overrides: Sequence[str]
) -> dict[str, Any]:
    check_trainer(cfg.trainer)
    check_loggers(cfg.get("logger") or {})
    datamodule = build_datamodule(cfg)
    check_tasks(cfg, datamodule.labels())
    seed_everything(cfg.seed, workers=True, verbose=False)
    labels = datamodule.table.labels
    module = build_module(cfg, labels)
    tasks = list(module.tasks.values())
    datamodule.batch_labels = tuple(dict.fromkeys(n for task in tasks for n in task.batch_labels))
    if cfg.match == "flops":
        cfg.trainer.max_epochs = _matched_epochs(cfg, whole, datamodule)
    train, val = datamodule.split("train"), datamodule.split("val")
    for task in tasks:
        task.initialise(train.targets)
    constants = constant_losses(module, train, val, datamodule.evaluation_batch_size)
    check_skill(module.loss_names, constants, module.monitor)
    module.constant_losses.copy_(constants)
    origin = take_weights(cfg, module, labels)
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    kept = without_places(config)
    kept.pop("logger", None)  # its addresses are nobody else's concern
    if is_first_rank():
        remember([*foreign_sections(kept), *data_places(config["data"])])
        write_text(files.path / "config.yaml", OmegaConf.to_yaml(cfg, resolve=True))
        write_used_data(datamodule.table, files.path)
    shorter = extension.former(files, run_id) if cfg.extend else ()
    resume = find_resume(files, run_id, datamodule.fingerprint(), shorter)
    # A constant rate, or one that follows the monitor, is the same however long training is.
    longer = resume is not None and resume.shorter and _knows_length(module)
    if resume is not None:
        run_id = run_id.extended((*resume.extended_at, *([resume.epoch] if longer else ())))
    extra = {
        "config": kept,
        "labels": labels.to_dict(),
        "arm": cfg.arm,
        "identity": run_id.fingerprint,
        "data": datamodule.fingerprint(),
    }
    if (extended_at := run_id.identity.get("extended_at")) is not None:
        extra["extended_at"] = extended_at
    module.checkpoint_extra = {EXTRA: extra}
    trainer = build_trainer(
        cfg, files.path, module.monitor, start_step=resume.step if resume else 0
    )
    if longer:
        trainer.callbacks.append(extension.LongerSchedule())  # type: ignore[attr-defined]
    start = resume.checkpoint if resume else None
    with closing_logs(trainer):
        trainer.fit(module, datamodule, ckpt_path=start, weights_only=True)
        preemption.check()
        if trainer.interrupted:
            raise KeyboardInterrupt
        if not trainer.is_global_zero:
            return {}  # the first rank alone measures and writes
        leave_group()
        result = _test(cfg, files, run_id, overrides, trainer, module, datamodule, origin)
    write_result(files.result, result)
    return result


def _knows_length(module: MultiTaskModule) -> bool:
    return module.schedule is not None and module.schedule.horizon is not None


def _matched_epochs(cfg: DictConfig, whole: DictConfig, datamodule: FaceDataModule) -> int:
    """The epochs in which this twin does its whole arm's FLOPs."""
    labels = datamodule.table.labels
    arm, twin = build_module(whole, labels), build_module(cfg, labels)
    names = dict.fromkeys(n for task in arm.tasks.values() for n in task.batch_labels)
    table, stored, store, *_ = datamodule.load()
    split = Split(table, store, stored, "train", tuple(names))
    return matched_epochs(arm, twin, split, cfg.trainer.max_epochs)


def _test(
    cfg: DictConfig,
    files: RunFolder,
    run_id: RunId,
    overrides: Sequence[str],
    trainer: Trainer,
    module: MultiTaskModule,
    datamodule: FaceDataModule,
    origin: dict[str, Any],
) -> dict[str, Any]:
    """The content of `result.json`: what the best epoch by validation scores on the test split."""
    best = load_checkpoint(files.best)
    # Another graph, for a few batches in fp32, would take longer than they do.
    eager = torch.compiler.set_stance("force_eager") if cfg.compile else nullcontext()
    with eager:
        flops = flops_per_image(module, datamodule.split("train"))
        module.load_state_dict(best["state_dict"])
        found = evaluate(module, datamodule, trainer.strategy.root_device)
    test = {k: v for k, v in found.metrics.items() if k.startswith("test/") and "@" not in k}
    for logger in trainer.loggers:
        logger.log_metrics(test, step=trainer.global_step)
    write_text(files.path / "test_predictions.csv", to_csv(found.predictions))
    epoch = best["epoch"]
    result = record(
        cfg, run_id, overrides, trainer, module, datamodule, found, epoch, flops, origin
    )
    show_results(cfg, files.path, trainer, module, datamodule, found, result)
    return result
