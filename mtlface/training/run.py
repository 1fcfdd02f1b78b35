"""One run: train an arm with one seed, test its best epoch, write down what came out."""

from __future__ import annotations

import logging
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from lightning import Trainer, seed_everything
from omegaconf import DictConfig, OmegaConf

from mtlface.atomic import write_text
from mtlface.data.datamodule import FaceDataModule
from mtlface.errors import MtlfaceError
from mtlface.training.build import build_datamodule, build_module, build_trainer, check_tasks
from mtlface.training.callbacks import History
from mtlface.training.checkpoint import EXTRA, load_checkpoint
from mtlface.training.evaluation import (
    constant_predictions,
    predict_split,
    prediction_table,
    score,
    score_groups,
)
from mtlface.training.module import MultiTaskModule
from mtlface.training.result import (
    SCHEMA,
    config_fingerprint,
    environment,
    git_commit,
    read_result,
    write_result,
)

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
            return _run(cfg, files, fingerprint, arm, overrides)
    except Timeout as error:
        raise MtlfaceError(
            f"Another process is training in {folder} right now. Wait for it, or choose another "
            "seed, arm or outputs folder."
        ) from error


def _run(
    cfg: DictConfig, files: RunFolder, fingerprint: str, arm: str, overrides: list[str]
) -> dict[str, Any]:
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
    resolved = OmegaConf.to_container(cfg, resolve=True)
    write_text(files.path / "config.yaml", OmegaConf.to_yaml(cfg, resolve=True))
    module.checkpoint_extra = {
        EXTRA: {"config": resolved, "labels": labels.to_dict(), "arm": arm, "fingerprint": fingerprint}
    }
    resume = _resumable(files, fingerprint)
    trainer = build_trainer(cfg, files.path, purge_step=resume[1] if resume else None)
    trainer.fit(module, datamodule, ckpt_path=resume and resume[0], weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt
    return _finish(cfg, files, fingerprint, arm, overrides, trainer, module, datamodule)


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


def _finish(
    cfg: DictConfig,
    files: RunFolder,
    fingerprint: str,
    arm: str,
    overrides: list[str],
    trainer: Trainer,
    module: MultiTaskModule,
    datamodule: FaceDataModule,
) -> dict[str, Any]:
    best = load_checkpoint(files.best)
    module.load_state_dict(best["state_dict"])
    device = trainer.strategy.root_device
    table, train = datamodule.table, datamodule.split("train")
    metrics: dict[str, float] = {}
    trivial: dict[str, float] = {}
    for name in ("val", "test"):
        split = datamodule.split(name)
        found = predict_split(module, split, 4 * datamodule.batch_size, device)
        constant = constant_predictions(module, train, split)
        metrics |= _prefixed(name, score(module, found))
        trivial |= _prefixed(name, score(module, constant))
    metrics |= _prefixed("test", score_groups(module, found, table))
    prediction_table(module, found, table).to_csv(files.path / "test_predictions.csv", index=False)
    history = next(c for c in trainer.callbacks if isinstance(c, History))  # type: ignore[attr-defined]
    trainer.logger.log_metrics(  # type: ignore[union-attr]
        {k: v for k, v in metrics.items() if k.startswith("test/") and "@" not in k},
        step=trainer.global_step,
    )
    result = {
        "schema": SCHEMA,
        "experiment": cfg.name,
        "arm": arm,
        "sweep": cfg.group if cfg.group != cfg.name else None,
        "data": {
            "name": datamodule.name,
            "root_kind": datamodule.root_kind,
            "counts": table.counts,
            "fingerprint": datamodule.fingerprint(),
            "omitted": len(table.omitted),
        },
        "seed": cfg.seed,
        "tasks": {n: {"label": t.label.name, "primary": t.primary} for n, t in module.tasks.items()},
        "directions": directions(module),
        "references": OmegaConf.to_container(cfg.references),
        "metrics": metrics,
        "trivial": trivial,
        "monitor": {
            "name": cfg.monitor.name,
            "mode": cfg.monitor.mode,
            "best": float(trainer.checkpoint_callback.best_model_score),  # type: ignore[union-attr]
            "epoch": best["epoch"],
        },
        "timing": {
            "fit_s": history.fit_s,
            "images_per_s": history.pictures / history.fit_s if history.fit_s else None,
            "epochs": len(history.rows),
            "peak_memory_mb": peak_memory_mb(device),
        },
        "model": {
            "parameters": sum(p.numel() for p in module.parameters()),
            "backbone": cfg.backbone.get("name") or cfg.backbone._target_.rsplit(".", 1)[-1],
        },
        "protocol": {
            "image_size": list(datamodule.image_size),
            "max_epochs": cfg.trainer.max_epochs,
            "patience": cfg.patience,
            "batch_size": datamodule.batch_size,
            "selection": "val",
            "limit": OmegaConf.to_container(cfg.data)["limit"],
            "pretrained": cfg.pretrained,
        },
        "environment": environment(device, str(trainer.precision)),
        "git": git_commit(),
        "overrides": overrides,
        "config_fingerprint": fingerprint,
    }
    write_result(files.result, result)
    return result


def directions(module: MultiTaskModule) -> dict[str, bool]:
    """For each metric and score that has a better end, whether higher is better."""
    tasks = {
        f"{name}/{metric}": higher
        for name, task in module.tasks.items()
        for metric, higher in task.directions.items()
    }
    scores = {f"score/{name}": s.higher_is_better for name, s in module.scores.items()}
    return tasks | scores


def peak_memory_mb(device: torch.device) -> float:
    """The most memory so far in MB: of the GPU where there is one, else resident in the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _prefixed(prefix: str, metrics: dict[str, float]) -> dict[str, float]:
    return {f"{prefix}/{name}": value for name, value in metrics.items()}
