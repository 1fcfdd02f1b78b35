"""From a checkpoint to the network that it holds, without its data and without trusting it."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mtlface.data.schema import Labels
from mtlface.errors import MtlfaceError
from mtlface.training.build import build_module
from mtlface.training.checkpoint import EXTRA, load_checkpoint
from mtlface.training.module import MultiTaskModule
from mtlface.training.trusted import check_config, check_plain

# What only training needs; the network is built without it.
UNTRAINED = {
    "balancing": {"_target_": "mtlface.balancing.FixedWeights"},
    "optimizer": {"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.0},
    "schedule": None,
    "compile": False,
    "monitor": {"name": "val/skill"},
}
# Pixels in float32, and the first layer's activations: 64 channels at half the size.
BYTES_PER_PIXEL = 4 * (3 + 64 // 4 * 2)
DEFAULT_CACHE = "~/.cache/mtlface"


def load_network(
    path: Path, trusted: Sequence[str] = ()
) -> tuple[MultiTaskModule, DictConfig, Labels]:
    """Loads a trained network from a `.ckpt` file; see `network_of`.

    Raises:
        MtlfaceError: There is no such file, it is torn or refused, or its weights do not fit.
    """
    return network_of(load_checkpoint(path), path, trusted)


def network_of(
    checkpoint: Mapping[str, Any], path: Path, trusted: Sequence[str] = ()
) -> tuple[MultiTaskModule, DictConfig, Labels]:
    """Builds the network that a checkpoint holds.

    Nothing that the file brings is run: it was read as tensors and plain data, and its config is
    checked (`mtlface.training.trusted`) before anything is built. No weights are downloaded, and
    no balancer, optimizer or data is built.

    Args:
        checkpoint: What `load_checkpoint` gives: the weights, the config and the label schema.
        path: Where it was read from, for error messages.
        trusted: Packages of your own whose objects the config may name.

    Returns:
        The network on the CPU, with its weights; the run's config, in which folders to write to
        are those of this machine, not those of the file; and the label schema.

    Raises:
        MtlfaceError: The config is refused, or the weights do not fit.
    """
    extra = checkpoint[EXTRA]
    try:
        check_config(extra.get("config"), trusted)
        check_plain(extra.get("labels"), "labels")
        # Before it is built, for which an image of that size goes through it.
        check_working_size(extra["config"]["data"]["image_size"], free_memory())
    except MtlfaceError as error:
        raise MtlfaceError(f"{path}: {error}") from error
    config = _harmless(extra["config"])
    try:
        labels = Labels.from_dict(extra["labels"])
        module = build_module(OmegaConf.create(config | UNTRAINED), labels)
        weights = checkpoint["state_dict"]
        module.load_state_dict(
            {key: value for key, value in weights.items() if not key.startswith("balancer.")}
        )
    except MtlfaceError as error:
        raise MtlfaceError(f"The network in {path} cannot be built: {error}") from error
    except Exception as error:  # whatever a constructor says to arguments that nobody checked
        reason = " ".join(str(error).split())[:300]
        raise MtlfaceError(
            f"The network in {path} cannot be built from its own config: {type(error).__name__}: "
            f"{reason}. It is damaged, or of another version of mtlface."
        ) from error
    return module, OmegaConf.create(config), labels


def _harmless(config: dict[str, Any]) -> dict[str, Any]:
    """The config without files to read weights from, and without a stranger's folders."""
    changed = copy.deepcopy(config)
    changed["pretrained"], changed["init"] = False, None
    changed["outputs"] = "outputs"
    changed["data"]["cache"] = os.environ.get("MTLFACE_CACHE", DEFAULT_CACHE)
    waiting: list[Any] = [changed["backbone"], changed["tasks"]]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if "pretrained" in item:
                item["pretrained"] = False
            waiting += item.values()
        elif isinstance(item, list | tuple):
            waiting += item
    return changed


def check_working_size(size: Sequence[int], free: int | None) -> None:
    """Whether this machine has the memory for one image of a network's working size.

    Args:
        size: (height, width) in pixels.
        free: Bytes; None where the system does not say.

    Raises:
        MtlfaceError: It has not: a stranger's checkpoint may ask for any size.
    """
    needed = int(size[0]) * int(size[1]) * BYTES_PER_PIXEL
    if free is not None and needed > free:
        raise MtlfaceError(
            f"The network works on images of {size[0]}x{size[1]} px, for each of which it needs "
            f"about {needed / 2**30:.1f} GiB; {free / 2**30:.1f} GiB are free here. Take a "
            "checkpoint with a smaller data.image_size, or a machine with more memory."
        )


def free_memory() -> int | None:
    """Free bytes of this machine's memory; None where the system does not say."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
