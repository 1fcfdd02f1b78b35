"""What must fit together in a run, checked before its first step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from omegaconf import DictConfig

from mtlface.errors import MtlfaceError
from mtlface.models import Backbone
from mtlface.tasks import Task

# Weights in half precision would take the heads, the losses and BatchNorm along.
PRECISIONS = ("auto", "native", "32-true", "bf16-mixed", "16-mixed")
ALIASES = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}  # Lightning's


def check_trainer(settings: DictConfig) -> None:
    """Checks that the trainer validates after every epoch, in a precision that heads can take.

    Raises:
        MtlfaceError: It does not.
    """
    every = settings.get("check_val_every_n_epoch", 1)
    within = settings.get("val_check_interval", None)
    share = settings.get("limit_val_batches", None)
    for key, value, fits in (
        ("check_val_every_n_epoch", every, every == 1),
        ("val_check_interval", within, within is None or (within == 1 and type(within) is float)),
        ("limit_val_batches", share, share is None or share > 0),
        ("fast_dev_run", settings.get("fast_dev_run"), not settings.get("fast_dev_run")),
    ):
        if not fits:
            raise MtlfaceError(
                f"trainer.{key}={value}: mtlface validates once after every epoch, for the best "
                f"epoch, early stopping and the learning curves are made of that. Drop "
                f"trainer.{key}; a quick trial is profile=smoke, and data.limit makes validation "
                "cheaper."
            )
    precision = str(settings.get("precision", "auto"))
    if ALIASES.get(precision, precision) not in PRECISIONS:
        raise MtlfaceError(
            f"trainer.precision={precision}: expected one of {', '.join(PRECISIONS)}. The trunk "
            "may compute in half precision; its weights, the heads and the losses are float32. "
            "For a fast trunk take bf16-mixed."
        )


def check_names(tasks: Sequence[Task[Any]]) -> None:
    """Checks that no two tasks report, or write, under one name.

    Raises:
        MtlfaceError: Two tasks share the name of a loss, of a result or of a CSV column.
    """
    kinds: dict[str, Callable[[Task[Any]], tuple[str, ...]]] = {
        "report a loss": lambda task: task.loss_names,
        "report results": lambda task: task.parts,
        "write a column of the predictions": lambda task: task.prediction_columns,
    }
    for what, names in kinds.items():
        owners: dict[str, str] = {}
        for task in tasks:
            for name in names(task):
                other = owners.setdefault(name, task.name)
                if other != task.name:
                    raise MtlfaceError(
                        f"The tasks '{other}' and '{task.name}' both {what} named '{name}'; one "
                        "would overwrite the other. Learn it in one of the two, or give one of "
                        "them another name or label."
                    )


def check_width(backbone: Backbone, name: str, frame: tuple[int, int]) -> None:
    """Checks that a backbone gives features of the width that it declares, with one image.

    Args:
        backbone: The backbone; left as it is.
        name: What the error calls it.
        frame: (height, width) of the images in pixels.

    Raises:
        MtlfaceError: It gives others, or cannot take images of this size.
    """
    size, training = f"{frame[0]}×{frame[1]} px", backbone.training
    try:
        with torch.no_grad():
            found = tuple(backbone.eval()(torch.zeros(1, 3, *frame, dtype=torch.uint8)).shape)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise MtlfaceError(
            f"The backbone '{name}' cannot take images of {size}: {error} Choose another "
            "data.image_size, or another backbone."
        ) from error
    finally:
        backbone.train(training)
    if found != (1, backbone.features):
        raise MtlfaceError(
            f"The backbone '{name}' declares features={backbone.features}, but an image of {size} "
            f"gives features of shape {found}; expected (1, {backbone.features}). Declare the "
            "width that it has, or flatten its output."
        )
