"""LibMTL's trainer from PyPI (Lin and Zhang, JMLR 2023), on our network and our tensors.

Version 1.1.5, the newest on PyPI, imports a module that torchvision no longer has, asks its batches
from `loader.next()`, and trains on `cuda:0` only. All three are bridged here from outside; its
training loop runs as it is published.
"""

import copy
import importlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from mtlface.training.module import MultiTaskModule

VERSION = "1.1.5"
Batch = Mapping[str, Tensor]


class UnavailableError(Exception):
    """LibMTL cannot be had or imported here; says what stops it."""


def libmtl(folder: Path) -> ModuleType:
    """LibMTL, from a folder of its own beside this environment, where pip puts it at first.

    Its dependencies are torch, torchvision and numpy, of which any version will do.

    Raises:
        UnavailableError: pip cannot get it, or it does not import.
    """
    place = folder / f"libmtl-{VERSION}"
    if not (place / "LibMTL").is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", "--target", str(place), f"LibMTL=={VERSION}"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise UnavailableError(f"pip: {done.stderr.strip().splitlines()[-1]}")
    sys.path.append(str(place))
    # torchvision.models.utils, which went with torchvision 0.13, had this one function.
    gone = ModuleType("torchvision.models.utils")
    gone.load_state_dict_from_url = torch.hub.load_state_dict_from_url  # type: ignore[attr-defined]
    sys.modules.setdefault(gone.__name__, gone)
    try:
        return importlib.import_module("LibMTL")
    except Exception as error:  # a package of 2021 on a torch of today
        raise UnavailableError(f"{type(error).__name__}: {error}") from error


class Batches:
    """Resident batches as LibMTL's trainer asks for them."""

    def __init__(self, batches: Sequence[tuple[Tensor, dict[str, Batch]]]) -> None:
        self.batches = batches
        self.position = 0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> "Batches":
        self.position = 0
        return self

    def __next__(self) -> tuple[Tensor, dict[str, Batch]]:
        """The next batch; the first again after the last."""
        images, labels = self.batches[self.position % len(self.batches)]
        self.position += 1
        return images, dict(labels)

    next = __next__


class Targets(dict[str, Tensor]):
    """All labels of a batch, which our losses look theirs up in."""

    def to(self, *_: Any, **__: Any) -> "Targets":
        """They are on the device already."""
        return self


def trainer(package: ModuleType, module: MultiTaskModule, device: torch.device) -> Any:
    """LibMTL's trainer with equal weighting of our tasks, on a copy of our network.

    Args:
        package: `libmtl()`.
        module: Its backbone is the encoder, its tasks are decoders and losses.
        device: Where to train.
    """
    network = copy.deepcopy(module)

    class OurLoss(package.loss.AbsLoss):  # type: ignore[name-defined, misc]
        def __init__(self, task: Any) -> None:
            super().__init__()
            self.task = task

        def compute_loss(self, pred: Tensor, gt: Batch) -> Tensor:
            return self.task.losses(pred, gt)[0][0]

    class NoMetric(package.metrics.AbsMetric):  # type: ignore[name-defined, misc]
        def update_fun(self, pred: Tensor, gt: Batch) -> None:
            """Ours are not computed in training either."""

        def score_fun(self) -> list[float]:
            return [1.0]

        def reinit(self) -> None:
            """Nothing is kept."""

    class OnDevice(package.Trainer):  # type: ignore[name-defined, misc]
        def _prepare_model(self, *arguments: Any) -> None:
            self.device = device
            super()._prepare_model(*arguments)

    tasks = {
        name: {
            "metrics": ["none"],
            "metrics_fn": NoMetric(),
            "loss_fn": OurLoss(task),
            "weight": [1],
        }
        for name, task in network.tasks.items()
    }
    return OnDevice(
        task_dict=tasks,
        weighting=package.weighting.EW,
        architecture=package.architecture.HPS,
        encoder_class=lambda: network.backbone,
        decoders=nn.ModuleDict({name: task.head for name, task in network.tasks.items()}),
        rep_grad=False,
        multi_input=False,
        optim_param={"optim": "adam", "lr": 1e-3},
        scheduler_param=None,
        weight_args={},
        arch_args={},
    )
