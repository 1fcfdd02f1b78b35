"""A task's raw outputs as tensors in human units, by name: what an exported model gives."""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch
from typing import Any

from torch import Tensor

from mtlface.tasks import BinaryTask, IdentityTask, LandmarkTask, MultilabelTask, NumberTask
from mtlface.tasks.task import Task


@singledispatch
def exported(task: Task[Any], output: Tensor) -> dict[str, Tensor]:
    """Outputs by name; of a task of a kind that nobody described here, the raw ones.

    Args:
        task: The task; a kind of its own is added with `exported.register`.
        output: Its head's raw outputs (B, outputs).
    """
    return {task.name: output.float()}


@singledispatch
def described(task: Task[Any]) -> dict[str, dict[str, Any]]:
    """What each of these outputs means, as plain data."""
    return {task.name: {"meaning": "raw outputs of the head", **task.describe()}}


@exported.register
def _(task: BinaryTask, output: Tensor) -> dict[str, Tensor]:
    return {f"{task.label.name}_probability": task.logit(output).sigmoid()}


@described.register
def _(task: BinaryTask) -> dict[str, dict[str, Any]]:
    return {
        f"{task.label.name}_probability": {
            "kind": "binary",
            "shape": ["batch"],
            "classes": list(task.label.classes),
            "meaning": "probability of the second class; above 0.5 it is the answer",
        }
    }


@exported.register
def _(task: MultilabelTask, output: Tensor) -> dict[str, Tensor]:
    return {f"{task.label.name}_probability": output.float().sigmoid()}


@described.register
def _(task: MultilabelTask) -> dict[str, dict[str, Any]]:
    return {
        f"{task.label.name}_probability": {
            "kind": "multilabel",
            "shape": ["batch", len(task.label.names)],
            "names": list(task.label.names),
            "meaning": "probability of each name; above 0.5 is yes",
        }
    }


@exported.register
def _(task: NumberTask, output: Tensor) -> dict[str, Tensor]:
    return {task.label.name: task.value(output)}


@described.register
def _(task: NumberTask) -> dict[str, dict[str, Any]]:
    label = task.label
    return {
        label.name: {
            "kind": "number",
            "shape": ["batch"],
            "unit": label.unit,
            "range": [label.low, label.high],
            "meaning": f"{label.name} in {label.unit}",
        }
    }


@exported.register
def _(task: LandmarkTask, output: Tensor) -> dict[str, Tensor]:
    return {task.label.name: task.shares(output)}


@described.register
def _(task: LandmarkTask) -> dict[str, dict[str, Any]]:
    return {
        task.label.name: {
            "kind": "points",
            "shape": ["batch", len(task.label.names), 2],
            "names": list(task.label.names),
            "unit": "normalized",
            "meaning": "x, y as shares of the image's width and height, from its left and top "
            "edges; in pixels of an image of any size, counted from the centre of the first one: "
            "x * width - 0.5, y * height - 0.5; left and right are the image's",
        }
    }


@exported.register
def _(task: IdentityTask, output: Tensor) -> dict[str, Tensor]:
    logits, embedding = task.split(output)
    name = task.label.name
    return {f"{name}_probability": logits.softmax(dim=1), f"{name}_embedding": embedding}


@described.register
def _(task: IdentityTask) -> dict[str, dict[str, Any]]:
    name, classes = task.label.name, list(task.label.classes)
    return {
        f"{name}_probability": {
            "kind": "category",
            "shape": ["batch", len(classes)],
            "classes": classes,
            "meaning": "probability of each class; the largest is the answer",
        },
        f"{name}_embedding": {
            "kind": "embedding",
            "shape": ["batch", task.embedding],
            "meaning": "compare two faces by the cosine of their embeddings",
        },
    }


def exported_all(
    tasks: Mapping[str, Task[Any]], outputs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The outputs of all tasks by name, in the tasks' order."""
    found: dict[str, Tensor] = {}
    for name, task in tasks.items():
        found |= exported(task, outputs[name])
    return found


def described_all(tasks: Mapping[str, Task[Any]]) -> dict[str, dict[str, Any]]:
    """What the outputs of `exported_all` mean, in the same order."""
    found: dict[str, dict[str, Any]] = {}
    for name, task in tasks.items():
        found |= {key: {"task": name} | meaning for key, meaning in described(task).items()}
    return found
