"""From a resolved config to objects."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_class, instantiate
from lightning import Trainer
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import EarlyStopping, ProgressBar
from omegaconf import DictConfig, OmegaConf

from mtlface.data.datamodule import FaceDataModule
from mtlface.data.reading import sources_of
from mtlface.data.schema import Labels
from mtlface.data.source import COMMON
from mtlface.errors import MtlfaceError, did_you_mean
from mtlface.models import Shared, Trunks, multiply_small_maps, pool_deterministically
from mtlface.models.backbone import Backbone
from mtlface.models.sharing import WAYS
from mtlface.tasks.task import Task, require_label
from mtlface.training.callbacks import (
    BestCheckpoint,
    EpochSeed,
    Finetuning,
    History,
    LastCheckpoint,
    StopAtStep,
    StopOnBadLoss,
    TrainLosses,
)
from mtlface.training.checkpoint_writer import CheckpointWriter
from mtlface.training.clock import Clock
from mtlface.training.composition import check_names, check_width
from mtlface.training.dashboard import Dashboard
from mtlface.training.hooks import NoProfiler, hide_absent_gpu, skip_unused_hooks
from mtlface.training.loggers import LoggedRun, build_loggers
from mtlface.training.module import MultiTaskModule
from mtlface.training.progress import progress_callbacks
from mtlface.training.pruning import Prune
from mtlface.training.run_folder import RunFolder
from mtlface.training.selection import CheckMonitor, Monitor
from mtlface.training.sharing import SHARED_WHOLE, parse_sharing
from mtlface.training.trained_files import start_of
from mtlface.training.unwrapped import unwrapped
from mtlface.training.watch import BalancingWatch

log = logging.getLogger(__name__)


@unwrapped()
def build_datamodule(cfg: DictConfig) -> FaceDataModule:
    """The data module; keys of a source that it does not know are quoted by its reader's settings.

    Raises:
        MtlfaceError: A setting is not possible or of no use, or two sources have one name.
    """
    data: Any = OmegaConf.to_container(cfg.data, resolve=True)
    settings = {key: data[key] for key in COMMON if key in data}  # older runs lack some
    if "reader" not in data:
        settings |= {"mix": data["mix"] or "proportional", "people": data["people"]}
    return FaceDataModule(
        data["name"], sources_of(data), augment=instantiate(cfg.augment), seed=cfg.seed, **settings
    )


def check_tasks(cfg: DictConfig, labels: Labels) -> None:
    """Checks that the data will have what the tasks learn, before anything is read.

    Raises:
        MtlfaceError: There are no tasks, or a task's label is not there or of another kind.
    """
    if not cfg.get("tasks"):
        raise MtlfaceError(
            "No task is chosen. Take an experiment (experiment=celeba_landmarks_gender), or name "
            "tasks: task=[gender,landmarks]. python -m mtlface.train --help lists both."
        )
    for name, task in cfg.tasks.items():
        if "_target_" not in task:
            raise MtlfaceError(
                f"tasks.{name} has settings, but is not among the chosen tasks. Add it to "
                f"task=[…], or drop its settings with '~tasks.{name}'."
            )
        kind: type[Task[Any]] = get_class(task._target_)
        require_label(labels, task.label, name, kind.label_type)


@unwrapped()
def build_module(cfg: DictConfig, labels: Labels) -> MultiTaskModule:
    """The network with its tasks, balancer, optimizer and schedule; needs no data.

    Raises:
        MtlfaceError: A part refuses its settings, or they do not go together.
    """
    frame = (int(cfg.data.image_size[0]), int(cfg.data.image_size[1]))
    # Weights of an earlier run come later, with its heads: see start_weights.
    elsewhere = start_of(cfg) is not None and "pretrained" in cfg.backbone
    untrained = {"pretrained": False} if elsewhere else {}

    def trunk() -> Backbone:
        found: Backbone = instantiate(cfg.backbone, **untrained)
        return found

    backbone, called = trunk(), cfg.backbone.get("name") or cfg.backbone._target_
    check_width(backbone, called, frame)
    after_trunk = torch.get_rng_state()
    shared = _shared(cfg, Trunks(backbone, trunk, called, frame))
    tasks = []
    for name, task in cfg.tasks.items():
        if next(shared.branches[name].parameters(), None) is not None:
            # A task with a branch of its own begins with the head of its single-task twin.
            torch.set_rng_state(after_trunk)
        # Partial first: as arguments of instantiate, objects would be turned into configs.
        build = instantiate(task, _partial_=True)
        tasks.append(build(name=name, labels=labels, in_features=backbone.features, frame=frame))
    check_names(tasks)
    names = [name for task in tasks for name in task.loss_names]
    module = MultiTaskModule(
        backbone,
        tasks,
        balancer=instantiate(cfg.balancing, _partial_=True)(tasks=names),
        optimizer=instantiate(cfg.optimizer),
        schedule=instantiate(cfg.schedule),
        monitor=cfg.monitor.name,
        mode=cfg.monitor.get("mode"),
        scores=instantiate(cfg.scores),
        branches=shared.branches,
    )
    # Batches come in this layout, and cuDNN and oneDNN are fastest when the weights share it.
    for part in module.trunks:
        part.to(memory_format=torch.channels_last)
        pool_deterministically(part.trunk)
        if not uses_gpu(cfg.trainer.accelerator):
            multiply_small_maps(part.trunk)
    if cfg.get("compile"):
        _compile_backbone(module)
    return module


def _shared(cfg: DictConfig, trunks: Trunks) -> Shared:
    """What the tasks share; a single task shares with nobody."""
    tasks = [str(name) for name in cfg.tasks]
    sharing = cfg.get("sharing") if len(tasks) > 1 else None  # older runs lack the key
    way, settings = parse_sharing(SHARED_WHOLE if sharing is None else sharing)
    return WAYS[way](trunks, tasks, **settings)


# What mtlface gives the trainer itself.
OWN_OF_TRAINER = ("callbacks", "logger", "plugins", "default_root_dir", "enable_checkpointing")


def check_trainer(settings: Mapping[str, Any]) -> None:
    """Whether Lightning's trainer knows every setting, before anything is read.

    Raises:
        MtlfaceError: It does not, or mtlface sets it itself.
    """
    known = [name for name in inspect.signature(Trainer.__init__).parameters if name != "self"]
    known = [name for name in known if name not in OWN_OF_TRAINER]
    for key in settings:
        if key in OWN_OF_TRAINER:
            raise MtlfaceError(
                f"trainer.{key} is mtlface's own to set: a run has its callbacks, its loggers and "
                "its checkpoints. Leave it out; loggers are chosen with logger=[tensorboard,csv]."
            )
        if key not in known and key != "_target_":
            raise MtlfaceError(
                f"trainer.{key} is no setting of Lightning's Trainer."
                f"{did_you_mean(str(key), known)} It has: {', '.join(known)}."
            )


def uses_gpu(accelerator: str) -> bool:
    """Whether a `trainer.accelerator` means a CUDA device on this machine."""
    return accelerator in {"auto", "gpu", "cuda"} and torch.cuda.is_available()


def _compile_backbone(module: MultiTaskModule) -> None:
    """Compiles the trunk in place, which leaves the names in its state dict as they are."""
    balancer = module.balancer
    if balancer.level == "parameters" and len(balancer.tasks) > 1:
        raise MtlfaceError(
            "compile=true: a compiled backbone goes backward once a step, but balancing with "
            f"level={balancer.level} needs a backward pass for each of the {len(balancer.tasks)} "
            "tasks. Take compile=false, or balancing.level=features where the method has it."
        )
    # Not its trunk: torch compiles no `nn.Sequential`, see pytorch/pytorch#150915.
    for part in module.trunks:
        part.compile()


def build_trainer(cfg: DictConfig, folder: Path, monitor: Monitor, start_step: int) -> Trainer:
    """The trainer with its callbacks and loggers.

    Args:
        cfg: The resolved config.
        folder: The run folder.
        monitor: What chooses the best epoch.
        start_step: The optimizer step from which the run goes on; 0: it starts anew.

    Raises:
        MtlfaceError: The accelerator asked for is not there.
    """
    files = RunFolder(folder)
    writer = CheckpointWriter(files)
    best = BestCheckpoint(
        dirpath=files.checkpoints,
        filename="best",
        monitor=monitor.name,
        mode=monitor.mode,
        save_weights_only=True,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    bar = bool(cfg.trainer.get("enable_progress_bar", True))
    clock = Clock()
    shown = progress_callbacks(monitor.name, monitor.mode, bar, clock)
    steps = cfg.trainer.log_every_n_steps
    callbacks = [
        EpochSeed(cfg.seed),
        Finetuning(**cfg.finetune),
        TrainLosses(),
        History(folder / "metrics.csv"),
        StopOnBadLoss(steps, writer),
        CheckMonitor(monitor),
        BalancingWatch(cfg.watch.every_n_steps, steps),
        Dashboard(OmegaConf.to_yaml(cfg, resolve=True), steps, clock, cfg.figures),
        *shown,
        best,
        LastCheckpoint(writer),
        StopAtStep(),
        clock,
    ]
    if cfg.patience is not None:
        callbacks.append(
            EarlyStopping(
                monitor.name,
                mode=monitor.mode,
                patience=cfg.patience,
                check_finite=False,  # CheckMonitor says which and why
                check_on_train_epoch_end=True,
            )
        )
    if cfg.get("trial") is not None and cfg.trial.prune is not None:
        callbacks.append(Prune(monitor, cfg.trial))  # the last one: it ends the run
    skip_unused_hooks(callbacks)
    hide_absent_gpu()
    loggers = build_loggers(cfg.get("logger") or {}, LoggedRun.of(cfg, folder, start_step))
    settings: dict[str, Any] = dict(cfg.trainer)
    settings["precision"] = choose_precision(settings["precision"], settings["accelerator"])
    settings["devices"] = choose_devices(settings["devices"], settings["accelerator"])
    settings["enable_progress_bar"] = any(isinstance(c, ProgressBar) for c in shown)
    settings.setdefault("profiler", NoProfiler())
    try:
        trainer: Trainer = instantiate(
            settings,
            callbacks=callbacks,
            logger=loggers or False,
            plugins=_plugins(writer),
            default_root_dir=str(folder),
        )
    except Exception as error:
        reason = str(error.__cause__ or error)  # Hydra's own error repeats it in three lines
        words = ("accelerator", "device", "backend found")
        if not any(word in reason.lower() for word in words):
            raise
        raise MtlfaceError(
            f"trainer.accelerator={cfg.trainer.accelerator} with trainer.devices="
            f"{cfg.trainer.devices} is not to be had here: {reason.rstrip('.')}. Take "
            "trainer=auto or trainer=cpu."
        ) from error
    return trainer


def _plugins(writer: CheckpointWriter) -> list[Any]:
    # Under Slurm Lightning would save in mid-epoch and requeue the job by itself; a run goes on
    # from the start of an epoch, and its exit code says that it wants to be queued again.
    slurm = [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []
    return [writer, *slurm]


def choose_precision(precision: str, accelerator: str) -> str:
    """`auto` is autocast on a GPU, in bf16 if its hardware has that, else in fp16; fp32 elsewhere.

    Older GPUs (T4, V100, P100) emulate bf16, slower than fp32. fp16 comes with a gradient scaler.
    `native` is the same on a GPU, and bf16 on a CPU that computes in it (AVX512-BF16, AMX): the
    others emulate it, ten times slower than fp32.
    """
    if precision not in ("auto", "native"):
        return precision
    if not uses_gpu(accelerator):
        return "bf16-mixed" if precision == "native" and _cpu_has_bf16() else "32-true"
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16-mixed" if native else "16-mixed"


def _cpu_has_bf16() -> bool:
    # torch has no public name for either.
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def choose_devices(devices: Any, accelerator: str) -> Any:
    """Jobs of a sweep that want one GPU each take turns over the machine's, by job number."""
    if devices != 1 or not uses_gpu(accelerator) or not HydraConfig.initialized():
        return devices
    job = HydraConfig.get().job
    number = 0 if OmegaConf.is_missing(job, "num") else int(job.num)  # only sweeps have numbers
    return [number % torch.cuda.device_count()]
