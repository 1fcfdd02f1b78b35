"""What the benchmarks train: the framework's own objects, composed from its own configs."""

import copy
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from lightning import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.utilities import move_data_to_device
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from benchmarks.measure import machine
from mtlface.data.datamodule import FaceDataModule
from mtlface.door import config_folder
from mtlface.training.build import (
    build_datamodule,
    build_module,
    build_trainer,
    choose_precision,
)
from mtlface.training.callbacks import EpochSeed
from mtlface.training.joined_data import with_joined_data
from mtlface.training.module import MultiTaskModule

Batch = dict[str, Tensor]
Case = Callable[[], object]


def device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def here() -> dict[str, Any]:
    """`machine()` of the device that the benchmarks train on."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {**machine(gpu), "torch": torch.__version__, "threads": torch.get_num_threads()}


def wait() -> None:
    """Waits until the device has done all that it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def configured(*overrides: str) -> DictConfig:
    """The config of a training command, on the rendered faces unless it says otherwise."""
    data = [] if any(word.startswith("data=") for word in overrides) else ["data=celeba"]
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose("train", with_joined_data([*data, "data.source=demo", *overrides]))


def built(
    cfg: DictConfig, datamodule: FaceDataModule | None = None
) -> tuple[MultiTaskModule, FaceDataModule]:
    """The network of a config and its data, ready to be fitted."""
    torch.set_float32_matmul_precision("high")
    seed_everything(cfg.seed, verbose=False)
    datamodule = datamodule or build_datamodule(cfg)
    module = build_module(cfg, datamodule.table.labels)
    names = [name for task in module.tasks.values() for name in task.batch_labels]
    datamodule.batch_labels = tuple(dict.fromkeys(names))
    targets = datamodule.split("train").targets
    for task in module.tasks.values():
        task.initialise(targets)
    return module.to(device()), datamodule


def first_batches(datamodule: FaceDataModule, count: int) -> list[Batch]:
    """The first training batches, on the device; taken anew from the start when they run out."""
    loader = datamodule.train_dataloader()
    batches = [batch for _, batch in zip(range(count), loader, strict=False)]
    on_device = [move_data_to_device(batch, device()) for batch in batches]
    return [on_device[i % len(on_device)] for i in range(count)]


def autocast(precision: str) -> AbstractContextManager[Any]:
    """What Lightning wraps a step in."""
    half = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)
    return nullcontext() if half is None else torch.autocast(device().type, half)


def bare_step(module: MultiTaskModule, cfg: DictConfig, batch: Batch) -> Case:
    """A training step of the same network and optimizer on one batch, with nothing around it.

    Args:
        module: Is copied.
        cfg: Its config, for the precision.
        batch: On the device already.
    """
    network = copy.deepcopy(module).train()
    if cfg.compile:
        network.backbone.compile()  # a copy is eager again
    optimizer = network.configure_optimizers()
    precision = choose_precision(cfg.trainer.precision, cfg.trainer.accelerator)
    names = network.loss_names

    def step() -> None:
        with autocast(precision):
            features = network.backbone(batch["image"])
            losses, _ = network.losses(network.heads(features, batch["image"]), batch)
        (losses.sum() if len(names) > 1 else losses[0]).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


class Resident:
    """A loader of batches that are there already; Lightning takes a list for several loaders."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)


class Beside(Callback):
    """Times every epoch of a fit, and after each its rivals for as many steps: a turn an epoch.

    The epoch's time is that of its training steps, from before its loader starts until the device
    has done the last one. The first epoch warms up.

    Args:
        rivals: By name, each takes the number of steps.
    """

    def __init__(self, rivals: Mapping[str, Callable[[int], object]]) -> None:
        self.rivals = rivals
        self.seconds: dict[str, list[float]] = {name: [] for name in ["ours", *rivals]}
        self._started = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the epoch's clock."""
        wait()
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops it, and times the rivals."""
        wait()
        taken = {"ours": time.perf_counter() - self._started}
        steps = int(trainer.num_training_batches)
        for name, rival in self.rivals.items():
            started = time.perf_counter()
            rival(steps)
            wait()
            taken[name] = time.perf_counter() - started
        if trainer.current_epoch > 0:
            for name, value in taken.items():
                self.seconds[name].append(value)


def fit(
    cfg: DictConfig,
    module: MultiTaskModule,
    data: Any,
    steps: int,
    repeats: int,
    rivals: Mapping[str, Callable[[int], object]],
    callbacks: Sequence[Callback] = (),
) -> dict[str, list[float]]:
    """Fits with the framework's trainer settings; seconds of each epoch, ours and the rivals'.

    Args:
        cfg: The config of the module.
        module: What is trained.
        data: Its data module, or batches that lie on the device already.
        steps: Batches of an epoch.
        repeats: Epochs after the first, which warms up.
        rivals: See `Beside`.
        callbacks: More of them.
    """
    beside = Beside(rivals)
    trainer = Trainer(
        accelerator=cfg.trainer.accelerator,
        devices=1,
        precision=choose_precision(cfg.trainer.precision, cfg.trainer.accelerator),
        benchmark=True,
        max_epochs=repeats + 1,
        limit_train_batches=steps,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[EpochSeed(cfg.seed), beside, *callbacks],
    )
    if isinstance(data, FaceDataModule):
        trainer.fit(module, data)
    else:
        trainer.fit(module, train_dataloaders=Resident(data))
    return beside.seconds


class WholeEpochs(Callback):
    """Times whole epochs: training, validation, checkpoints and all else, from start to start."""

    def __init__(self) -> None:
        self.marks: list[float] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes when an epoch starts."""
        wait()
        self.marks.append(time.perf_counter())


def fit_as_users_do(
    cfg: DictConfig, module: MultiTaskModule, data: FaceDataModule, repeats: int
) -> list[float]:
    """Seconds of whole epochs with the trainer and the callbacks that a training command builds.

    Args:
        cfg: The config of the module.
        module: What is trained.
        data: Its data module.
        repeats: Epochs after the first, which warms up; the last one has no next to end it.
    """
    cfg = copy.deepcopy(cfg)
    OmegaConf.set_struct(cfg, False)
    cfg.trainer.update(max_epochs=repeats + 2, enable_progress_bar=False)
    cfg.patience = None
    epochs = WholeEpochs()
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(cfg, Path(folder), module.monitor, start_step=0)
        trainer.callbacks.append(epochs)  # type: ignore[attr-defined]
        trainer.fit(module, data)
        for logger in trainer.loggers:
            logger.close()  # type: ignore[attr-defined]
    return [stop - start for start, stop in pairwise(epochs.marks)][1:]


def repeated(step: Case) -> Callable[[int], None]:
    """A rival that takes one step again and again."""

    def rival(steps: int) -> None:
        for _ in range(steps):
            step()

    return rival
