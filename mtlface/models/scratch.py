"""Small CNNs that are trained from random weights: classroom baselines and a benchmark's trunk.

All of them pool to a fixed grid before their fully connected part, so that they take pictures of
any size from 32 pixels on, where the originals flatten one fixed size.
"""

from itertools import pairwise
from pathlib import Path

from torch import nn

from mtlface.errors import MtlfaceError
from mtlface.models.backbone import Backbone
from mtlface.models.weights import load_weights

# 4x4 cells keep where in the face something is, which landmarks need and a global mean forgets.
GRID = 4


def cnn3(pretrained: bool | str | Path | None = False) -> Backbone:
    """Three conv-ReLU-maxpool layers and a fully connected one, made for 128x128 pictures.

    Widths 32, 64, 128; the maps are averaged to a 4x4 grid before the fully connected layer, so
    that any picture size works. Features (B, 256). No normalisation layer and no dropout.

    Args:
        pretrained: The path of a local state dict, or False for random weights.

    Raises:
        MtlfaceError: `pretrained` is true (nobody publishes such weights), or the file is wrong.
    """
    blocks = [*_conv(3, 32), *_conv(32, 64), *_conv(64, 128)]
    hidden = [nn.Linear(128 * GRID**2, 256), nn.ReLU(inplace=True)]
    trunk = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(GRID), nn.Flatten(), *hidden)
    return _backbone("cnn3", trunk, 256, pretrained)


def cnn4_bn(
    dropout: float = 0.5,
    pretrained: bool | str | Path | None = False,
) -> Backbone:
    """Four conv-BatchNorm-ReLU-maxpool layers, a fully connected one and dropout, for 128x128.

    Widths 32, 64, 128, 256; the maps are averaged to a 4x4 grid before the fully connected layer,
    so that any picture size works. Features (B, 512).

    Args:
        dropout: Probability of dropping a feature in training.
        pretrained: The path of a local state dict, or False for random weights.

    Raises:
        MtlfaceError: `pretrained` is true (nobody publishes such weights), or the file is wrong.
    """
    widths = [3, 32, 64, 128, 256]
    blocks = [layer for a, b in pairwise(widths) for layer in _conv_bn(a, b)]
    hidden = [nn.Linear(256 * GRID**2, 512), nn.ReLU(inplace=True), nn.Dropout(dropout)]
    trunk = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(GRID), nn.Flatten(), *hidden)
    return _backbone("cnn4_bn", trunk, 512, pretrained)


def cnn3_bn(pretrained: bool | str | Path | None = False) -> Backbone:
    """Three conv-BatchNorm-ReLU-maxpool layers, the fully connected part being the heads' own.

    Widths 32, 64, 128; the maps are averaged to a 4x4 grid and flattened: features (B, 2048).

    Args:
        pretrained: The path of a local state dict, or False for random weights.

    Raises:
        MtlfaceError: `pretrained` is true (nobody publishes such weights), or the file is wrong.
    """
    blocks = [*_conv_bn(3, 32), *_conv_bn(32, 64), *_conv_bn(64, 128)]
    trunk = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(GRID), nn.Flatten())
    return _backbone("cnn3_bn", trunk, 128 * GRID**2, pretrained)


def cnn9(pretrained: bool | str | Path | None = False) -> Backbone:
    """The 9-layer CNN of the CelebA-40 multi-task benchmark, made for 64x64 pictures.

    Seven 3x3 convolutions (64, 128, 128, 256, 256, 512, 512; pooled after the first, third and
    fifth), a global mean, and two fully connected layers of 512, all with BatchNorm and without
    bias. Features (B, 512). Described in "FAMO: Fast Adaptive Multitask Optimization" (Liu et al.
    2023) and used by the methods that compare with it.

    Args:
        pretrained: The path of a local state dict, or False for random weights.

    Raises:
        MtlfaceError: `pretrained` is true (nobody publishes such weights), or the file is wrong.
    """
    stages = [(3, 64), (64, 128, 128), (128, 256, 256), (256, 512, 512)]
    layers: list[nn.Module] = []
    for stage in stages:
        for a, b in pairwise(stage):
            layers += _conv_bn(a, b, bias=False)[:-1]
        layers.append(nn.MaxPool2d(2))
    layers[-1] = nn.AdaptiveAvgPool2d(1)
    layers.append(nn.Flatten())
    for _ in range(2):
        layers += [nn.Linear(512, 512, bias=False), nn.BatchNorm1d(512), nn.ReLU(inplace=True)]
    return _backbone("cnn9", nn.Sequential(*layers), 512, pretrained)


def _conv(a: int, b: int) -> list[nn.Module]:
    return [nn.Conv2d(a, b, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)]


def _conv_bn(a: int, b: int, bias: bool = True) -> list[nn.Module]:
    conv = nn.Conv2d(a, b, 3, padding=1, bias=bias)
    return [conv, nn.BatchNorm2d(b), nn.ReLU(inplace=True), nn.MaxPool2d(2)]


def _backbone(
    name: str, trunk: nn.Module, features: int, pretrained: bool | str | Path | None
) -> Backbone:
    if pretrained is True:
        raise MtlfaceError(
            f"There are no published weights for the backbone '{name}', which is meant to be "
            f"trained from scratch. Use pretrained=false, the path of weights of your own, or a "
            f"torchvision backbone such as backbone=resnet18."
        )
    if pretrained:
        load_weights(trunk, Path(pretrained))
    return Backbone(trunk, features)
