"""The outputs of all tasks as one exported model gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mtlface.tasks import Task


def exported_all(
    tasks: Mapping[str, Task[Any]], outputs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The tensors of all tasks by name, in the tasks' order."""
    found: dict[str, Tensor] = {}
    for name, task in tasks.items():
        found |= task.exported(outputs[name])
    return found


def described_all(tasks: Mapping[str, Task[Any]]) -> dict[str, dict[str, Any]]:
    """What the tensors of `exported_all` mean, in the same order."""
    found: dict[str, dict[str, Any]] = {}
    for name, task in tasks.items():
        found |= {key: {"task": name} | meaning for key, meaning in task.described().items()}
    return found
