"""What `result.json` says of a run: the contract that comparisons read."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from omegaconf import DictConfig, OmegaConf

from mtlface.data.datamodule import FaceDataModule
from mtlface.training.callbacks import History
from mtlface.training.evaluation import Evaluation
from mtlface.training.module import MultiTaskModule
from mtlface.training.result import SCHEMA
from mtlface.training.watch import BalancingWatch

PACKAGES = ("mtlface", "torch", "torchvision", "lightning", "torchmetrics", "torchjd", "numpy")


@dataclass(frozen=True)
class RunId:
    """Which configuration a run is of.

    Attributes:
        arm: What comparisons call it.
        fingerprint: Of everything in the config that can change a result.
        overrides: The command line's changes, for the record.
    """

    arm: str
    fingerprint: str
    overrides: tuple[str, ...]


def record(
    cfg: DictConfig,
    run_id: RunId,
    trainer: Trainer,
    module: MultiTaskModule,
    datamodule: FaceDataModule,
    found: Evaluation,
    best_epoch: int,
) -> dict[str, Any]:
    """The content of `result.json`, in plain data.

    Args:
        cfg: The composed config.
        run_id: Which configuration was run.
        trainer: After fitting.
        module: The network, of the best epoch.
        datamodule: Its data.
        found: Its metrics.
        best_epoch: The epoch, from 0, that validation chose.
    """
    device = trainer.strategy.root_device
    history = next(c for c in _callbacks(trainer) if isinstance(c, History))
    watch = next(c for c in _callbacks(trainer) if isinstance(c, BalancingWatch))
    best = trainer.checkpoint_callback.best_model_score  # type: ignore[union-attr]
    return {
        "schema": SCHEMA,
        "experiment": cfg.name,
        "arm": run_id.arm,
        "sweep": cfg.group if cfg.group != cfg.name else None,
        "data": datamodule.description(),
        "seed": cfg.seed,
        "tasks": {
            part: {"label": task.label.name, "primary": task.primary}
            for task in module.tasks.values()
            for part in task.parts
        },
        "labels": datamodule.table.labels.to_dict(),
        "directions": directions(module),
        "references": OmegaConf.to_container(cfg.references),
        "metrics": found.metrics | watch.averages(),
        "trivial": found.trivial,
        "balancing": watch.report,
        "monitor": {
            "name": cfg.monitor.name,
            "mode": cfg.monitor.mode,
            "best": float(best),
            "epoch": best_epoch,
        },
        "timing": {
            "fit_s": history.fit_s,
            "images_per_s": history.pictures / history.fit_s,
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
            "limit": OmegaConf.to_container(cfg.data.limit or OmegaConf.create()) or None,
            "pretrained": cfg.pretrained,
        },
        "environment": environment(device, str(trainer.precision)),
        "git": git_commit(),
        "overrides": list(run_id.overrides),
        "config_fingerprint": run_id.fingerprint,
    }


def directions(module: MultiTaskModule) -> dict[str, bool]:
    """For each metric and score that has a better end, whether higher is better."""
    tasks = {k: v for task in module.tasks.values() for k, v in task.result_directions.items()}
    scores = {f"score/{name}": s.higher_is_better for name, s in module.scores.items()}
    return tasks | scores


def peak_memory_mb(device: torch.device) -> float | None:
    """The most GPU memory so far in MB; None on a CPU, where earlier runs count in the peak."""
    return torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else None


def _callbacks(trainer: Trainer) -> list[Any]:
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    return callbacks


def environment(device: torch.device, precision: str) -> dict[str, str]:
    """Versions, device and precision of this run."""
    cuda = device.type == "cuda"
    return {
        **{name: found for name in PACKAGES if (found := _version(name))},
        "torch": torch.__version__,  # with the CUDA that it was built for
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if cuda else "cpu",
        "threads": str(torch.get_num_threads()),
        "precision": precision,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def git_commit() -> str | None:
    """The commit that the code comes from, with `+` where it was changed since; None if unknown."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", str(folder))
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
