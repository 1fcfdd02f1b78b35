"""What `result.json` says of a run: the contract that comparisons read."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from omegaconf import DictConfig, OmegaConf

from mtlface.data.datamodule import FaceDataModule
from mtlface.training.callbacks import History
from mtlface.training.clock import Clock
from mtlface.training.conformal import conformal_quantiles
from mtlface.training.evaluation import Evaluation
from mtlface.training.identity import RunId
from mtlface.training.module import MultiTaskModule
from mtlface.training.result import SCHEMA
from mtlface.training.selection import each_task_best
from mtlface.training.shortcut import shortcut
from mtlface.training.watch import BalancingWatch

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

PACKAGES = ("mtlface", "torch", "torchvision", "lightning", "torchmetrics", "torchjd", "numpy")


def record(
    cfg: DictConfig,
    run_id: RunId,
    overrides: Sequence[str],
    trainer: Trainer,
    module: MultiTaskModule,
    datamodule: FaceDataModule,
    found: Evaluation,
    best_epoch: int,
    flops_per_image: float | None,
    weights: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of `result.json`, in plain data.

    Args:
        cfg: The composed config.
        run_id: Which run it is.
        overrides: The command line's changes.
        trainer: After fitting.
        module: The network, of the best epoch.
        datamodule: Its data.
        found: Its metrics.
        best_epoch: The epoch, from 0, that validation chose.
        flops_per_image: Of a training step, or None if unknown.
        weights: Where the first weights came from; see `start_weights.take_weights`.
    """
    device = trainer.strategy.root_device
    history = next(c for c in _callbacks(trainer) if isinstance(c, History))
    clock = next(c for c in _callbacks(trainer) if isinstance(c, Clock))
    watch = next(c for c in _callbacks(trainer) if isinstance(c, BalancingWatch))
    best = trainer.checkpoint_callback.best_model_score  # type: ignore[union-attr]
    tasks = describe_tasks(module)
    return {
        "schema": SCHEMA,
        "experiment": cfg.name,
        "label": cfg.label,
        "arm": cfg.arm,
        "sweep": cfg.group if cfg.group != cfg.name else None,
        "seed": cfg.seed,
        "identity": run_id.fingerprint,
        "config": run_id.identity,
        "data": cfg.data.name,
        "labels": datamodule.table.labels.to_dict(),
        "tasks": tasks,
        "directions": module.directions,
        "effects": OmegaConf.to_container(cfg.effects),
        "references": OmegaConf.to_container(cfg.references),
        "trained_on": datamodule.description(),
        "label_counts": datamodule.label_counts(),
        "evaluated_on": evaluated_on(datamodule, module, found),
        "metrics": found.metrics | watch.averages(),
        "trivial": found.trivial,
        "balancing": watch.report,
        "shortcut": shortcut(module, datamodule, found.tested, device),
        "conformal": conformal_quantiles(module.tasks, found.held_out),
        "selection": {
            "monitor": module.monitor.name,
            "mode": module.monitor.mode,
            "epoch": best_epoch,
            "value": float(best),
            "each_task_best": each_task_best(history.rows, tasks, best_epoch),
        },
        "budget": {
            "epochs": len(history.rows),
            "steps": trainer.global_step,
            "images": clock.images,
            "flops": flops_per_image and flops_per_image * clock.images,
            "fit_s": clock.fit_s,
            "images_per_s": clock.images_per_s,
            "peak_memory_mb": peak_memory_mb(device),
        },
        "model": {
            "parameters": sum(p.numel() for p in module.parameters()),
            "backbone": cfg.backbone.get("name") or cfg.backbone._target_.rsplit(".", 1)[-1],
            "weights": weights,
        },
        "environment": environment(device, str(trainer.precision)),
        "git": git_commit(),
        "overrides": list(overrides),
        "tuned": OmegaConf.to_container(cfg.tuned) if cfg.get("tuned") else None,
    }


def describe_tasks(module: MultiTaskModule) -> dict[str, dict[str, Any]]:
    """What comparisons must know of each task: its label, its kind and what stands for it."""
    return {
        part: {
            "label": task.label.name,
            "kind": task.label.kind,
            "primary": task.primary,
            "higher_is_better": module.directions.get(f"{part}/{task.primary}"),
        }
        for task in module.tasks.values()
        for part in task.parts
    }


def evaluated_on(
    datamodule: FaceDataModule, module: MultiTaskModule, found: Evaluation
) -> dict[str, dict[str, Any]]:
    """What the test split of each source is, and what was found on it.

    `fingerprint` is of the test images and their split; `labels` has one for each task of them
    with its labels, so that arms with other tasks can be compared on those that they share. Both
    are those of a run on the source alone.
    """
    return {
        name: {
            "fingerprint": part.table.fingerprint("test", []),
            "labels": {
                task: part.table.fingerprint("test", [label])
                for task, label in (
                    (part_of, task.label.name)
                    for task in module.tasks.values()
                    for part_of in task.parts
                )
                if label in part.table.labels
            },
            "n": part.table.counts["test"],
            "metrics": found.sources[name].metrics,
            "trivial": found.sources[name].trivial,
        }
        for name, part in datamodule.load().parts.items()
    }


def peak_memory_mb(device: torch.device) -> float | None:
    """The most memory so far in MB: on a GPU the tensors', on a CPU the process's resident set.

    None where the system does not say (Windows). Of several runs in one process, a later one has at
    least the peak of those before.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


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
