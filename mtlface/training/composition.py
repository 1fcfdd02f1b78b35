"""What must fit together in a run, checked before its first step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from mtlface.errors import MtlfaceError
from mtlface.models import Backbone
from mtlface.tasks import Task


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
