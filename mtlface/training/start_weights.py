"""Weights of an earlier run, to start from: its trunk, and the heads that fit.

Only tensors are taken. Nothing that the file names is built or imported, so that a stranger's file
may be taken as well.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig
from torch import Tensor

from mtlface.data.schema import Labels
from mtlface.errors import MtlfaceError
from mtlface.models.weights import misfits
from mtlface.training.bundle_reader import read_bundle
from mtlface.training.checkpoint import EXTRA, load_checkpoint
from mtlface.training.identity import content_hash
from mtlface.training.module import MultiTaskModule
from mtlface.training.trained_files import WEIGHTS, find_checkpoint, start_of
from mtlface.training.trusted import check_plain
from mtlface.values import shown

log = logging.getLogger(__name__)

# Learnt from the labels of the training split, and not by the head.
OF_THE_SPLIT = "class_weights."

Weights = dict[str, Tensor]


class Earlier(NamedTuple):
    """What an earlier run brings.

    Attributes:
        file: Where it was read from.
        backbone: Its trunk and the normalisation of its pixels, by the names of `Backbone`.
        heads: By task.
        labels: What its heads learnt.
        label_of: The label of each head.
        name: Its experiment; text of a file that a stranger may have written.
    """

    file: Path
    backbone: Weights
    heads: dict[str, Weights]
    labels: Labels
    label_of: dict[str, Any]
    name: str


def take_weights(cfg: DictConfig, module: MultiTaskModule, labels: Labels) -> dict[str, Any]:
    """Fills a new network with what `init` or `pretrained` names, and logs what was taken.

    With `pretrained` the trunk must fit, and a head is taken where the names and shapes of its
    tensors are the same and its label means the same. With `init` all of it must fit, and the
    earlier run must have no head that this one lacks. The balancer starts anew.

    Args:
        cfg: The composed config.
        module: The network, filled in place.
        labels: The labels of this run's data.

    Returns:
        Where the weights come from, for `result.json`: `from` is `random`, `published`, `file` or
        `run`.

    Raises:
        MtlfaceError: The file cannot be read, the trunk does not fit, or with `init` a head.
    """
    start = start_of(cfg)
    if start is None:
        return _of_the_backbone(cfg)
    earlier = read_earlier(find_checkpoint(start.path, start.key))
    what = f"{start.key}={start.path}"
    if fault := misfits(module.backbone.state_dict(), earlier.backbone):
        raise MtlfaceError(
            f"{what}: the trunk of '{earlier.name}' is not this run's: {fault}. Take the backbone "
            "and the data.image_size that it was trained with, or other weights."
        )
    left = {
        name: reason
        for name in dict.fromkeys((*module.tasks, *earlier.heads))
        if (reason := _why_not(name, module, labels, earlier))
    }
    if left and start.key == "init":
        task, reason = next(iter(left.items()))
        raise MtlfaceError(
            f"{what}: the head '{task}' does not fit: {reason}. Give the run the tasks of the "
            f"earlier one, or take pretrained={start.path}, which leaves out what does not fit."
        )
    taken = [name for name in module.tasks if name not in left]
    module.backbone.load_state_dict(earlier.backbone, strict=False)
    for name in taken:
        module.tasks[name].load_state_dict(_learnt(earlier.heads[name]), strict=False)
    heads = f"with the head{'s' * (len(taken) > 1)} {', '.join(taken)}" if taken else "no head"
    rest = "; ".join(f"not {name} ({reason})" for name, reason in left.items())
    log.info("%s: the trunk is taken, %s%s.", what, heads, f"; {rest}" if rest else "")
    return {
        "from": "run",
        "key": start.key,
        "path": str(start.path),
        "experiment": earlier.name,
        "sha256": content_hash(earlier.file),
        "trunk_sha256": _tensor_hash(earlier.backbone),
        "heads": taken,
        "left": left,
    }


def read_earlier(file: Path) -> Earlier:
    """Reads a checkpoint, or the bundle whose weights these are, as tensors and plain data.

    Raises:
        MtlfaceError: It is none of mtlface, it is damaged, or holds something else.
    """
    found = read_bundle(file.parent) if file.name == WEIGHTS else load_checkpoint(file)
    state, extra = found.get("state_dict"), found[EXTRA]
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise MtlfaceError(f"{file} holds no tensors by name. Take another checkpoint of the run.")
    try:
        check_plain(extra.get("config"), "config")
        check_plain(extra.get("labels"), "labels")
        labels = Labels.from_dict(extra["labels"])
        config = extra["config"]
        label_of = {str(name): task.get("label") for name, task in config["tasks"].items()}
        name = shown(str(config["name"]))
    except (MtlfaceError, KeyError, TypeError, AttributeError) as error:
        raise MtlfaceError(
            f"{file} is damaged, or not what mtlface wrote: its config and labels cannot be read "
            f"({error}). Take another checkpoint of the run."
        ) from error
    heads: dict[str, Weights] = {}
    for key, value in state.items():
        part, _, rest = key.partition(".")
        task, _, rest = rest.partition(".")
        if part == "tasks":
            heads.setdefault(task, {})[rest] = value
    return Earlier(file, _below("backbone", state), heads, labels, label_of, name)


def _why_not(name: str, module: MultiTaskModule, labels: Labels, earlier: Earlier) -> str:
    """Why a head is not taken; empty where it is."""
    if name not in earlier.heads:
        return "the earlier run has none of this name"
    if name not in module.tasks:
        return "this run has no such task"
    own, label = module.tasks[name], module.tasks[name].label.name
    other = earlier.label_of.get(name)
    if other != label:
        return f"it learnt the label {shown(other)}, expected {label}"
    theirs = earlier.labels.get(label)
    if theirs is None or theirs.to_dict() != labels[label].to_dict():
        return f"the label {label} of its data means something else, such as other classes"
    return misfits(_learnt(own.state_dict()), _learnt(earlier.heads[name]))


def _learnt(head: Mapping[str, Tensor]) -> Weights:
    return {key: value for key, value in head.items() if not key.startswith(OF_THE_SPLIT)}


def _below(part: str, state: Mapping[str, Tensor]) -> Weights:
    prefix = f"{part}."
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}


def _of_the_backbone(cfg: DictConfig) -> dict[str, Any]:
    """What the backbone itself was told to start from."""
    given = cfg.backbone.get("pretrained")
    if given is True:
        return {"from": "published", "name": cfg.backbone.get("weights") or "default"}
    if not isinstance(given, str) or not (path := Path(given).expanduser()).is_file():
        return {"from": "random"}
    return {"from": "file", "path": given, "sha256": content_hash(path)}


def _tensor_hash(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors by name, the same in a checkpoint and in a bundle."""
    digest = hashlib.sha256()
    for key in sorted(weights):
        value = weights[key].contiguous()
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return f"sha256:{digest.hexdigest()[:16]}"
