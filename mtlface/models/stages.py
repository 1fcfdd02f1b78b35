"""The stages of a trunk: a chain of named parts at which it can be cut."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from mtlface.errors import MtlfaceError

WEIGHING = (nn.Conv2d, nn.Linear)
WITH_STAGES = (
    "the ResNets of torchvision and timm (resnet18, …), torchvision's networks with `features` "
    "(vgg, densenet, mobilenet, efficientnet, convnext, …) and any nn.Sequential (cnn3, cnn9, …)"
)


def stages_of(trunk: nn.Module) -> dict[str, tuple[str, ...]]:
    """The stages of a trunk in their order, each with the paths of the modules that it runs.

    Told by how the trunk is built, not by its name. A ResNet has its stem and `layer1`, `layer2`,
    …. An `nn.Sequential`, or torchvision's `features`, has a block for each child that holds a
    convolution or a linear layer, with what follows it up to the next one. What comes after the
    last stage (pooling, flattening) belongs to it.

    Example:
        >>> stages_of(torchvision_backbone("resnet18").trunk)["stem"]
        ('conv1', 'bn1', 'relu', 'maxpool')

    Returns:
        Nothing where no stages are known: vision transformers and much of timm.
    """
    children = dict(trunk.named_children())
    if isinstance(trunk, nn.Sequential):
        return _blocks(trunk)
    if "layer1" in children:
        names = list(children)
        layers = [name for name in names if re.fullmatch(r"layer\d+", name)]
        stem = tuple(names[: names.index("layer1")])
        return {"stem": stem} | {name: (name,) for name in layers}
    if isinstance(features := children.get("features"), nn.Sequential):
        return _blocks(features, "features.")
    return {}


def cut(trunk: nn.Module, at: Sequence[int], name: str, size: tuple[int, int]) -> list[nn.Module]:
    """Cuts a trunk into parts that do, one after the other, what it did; it is used up.

    Args:
        trunk: Turns normalised images (B, 3, H, W) into features (B, D).
        at: After how many stages, rising. Before the first one (0) leaves an empty part, after the
            last one an empty last part.
        name: What errors call the trunk.
        size: (height, width) in pixels of the images that the parts are tried on.

    Returns:
        One part more than there are cuts.

    Raises:
        MtlfaceError: The trunk has no stages, or fewer, or is no chain of them.
    """
    stages = stages_of(trunk)
    if any(at):
        require_stages(stages, name)
    if max(at, default=0) > len(stages):
        counted = ", ".join(f"{k} {stage}" for k, stage in enumerate(stages, 1))
        raise MtlfaceError(
            f"sharing=split@{max(at)}: the trunk '{name}' has {len(stages)} stages ({counted}). "
            f"Take split@0, which shares none, to split@{len(stages)}, which shares all of them."
        )
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    expected = _features([trunk], images, name)
    paths, parts = [*stages.values()], []
    for start, end in pairwise((0, *at)):
        if end and end == len(stages):  # with the end of the trunk, which belongs to the last stage
            parts.append(trunk)
            trunk = nn.Identity()
        else:
            parts.append(_take(trunk, [path for stage in paths[start:end] for path in stage]))
    parts.append(trunk)
    if not torch.equal(_features(parts, images, name), expected):
        raise MtlfaceError(
            f"The trunk '{name}' is no chain of its stages {', '.join(stages)}: one after the "
            "other they give other features than the trunk. Take sharing=hard or sharing=mmoe, or "
            f"a trunk that is a chain: {WITH_STAGES}."
        )
    return parts


def require_stages(stages: dict[str, tuple[str, ...]], name: str) -> None:
    """Checks that a trunk has stages.

    Raises:
        MtlfaceError: It has none.
    """
    if not stages:
        raise MtlfaceError(
            f"The trunk '{name}' has no stages to cut it at. Stages have {WITH_STAGES}. Take one "
            "of these, or sharing=hard, mmoe or split@0, which take a trunk as a whole."
        )


def _blocks(sequence: nn.Sequential, prefix: str = "") -> dict[str, tuple[str, ...]]:
    blocks: list[list[str]] = []
    before: list[str] = []
    for name, child in sequence.named_children():
        if any(isinstance(layer, WEIGHING) for layer in child.modules()):
            blocks.append(before)
            before = []
        (blocks[-1] if blocks else before).append(f"{prefix}{name}")
    return {f"block{k}": tuple(paths) for k, paths in enumerate(blocks, 1)}


def _take(trunk: nn.Module, paths: Sequence[str]) -> nn.Module:
    """Takes modules out of a trunk, which passes through in their places; returns their chain."""
    taken = nn.Sequential()
    for path in paths:
        taken.append(trunk.get_submodule(path))
        trunk.set_submodule(path, nn.Identity())
    return taken


def _features(parts: Sequence[nn.Module], images: torch.Tensor, name: str) -> torch.Tensor:
    """What a chain gives in eval mode; its modules are in the mode of before afterwards."""
    modes = [(module, module.training) for part in parts for module in part.modules()]
    try:
        with torch.no_grad():
            for part in parts:
                given = images.clone()
                images = part.eval()(given)
                if given._version:
                    raise MtlfaceError(
                        f"The trunk '{name}' has a stage that overwrites what it is given, which "
                        "others still need: its first layer is in-place. Give it inplace=False, "
                        "or take sharing=hard or sharing=mmoe."
                    )
    finally:
        for module, mode in modes:
            module.training = mode
    return images
