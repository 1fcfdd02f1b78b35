"""Backbones from torchvision's registry, by name."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

from torch import nn
from torchvision import models
from torchvision.models import get_model_builder, get_model_weights, list_models
from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

from mtlface.errors import MtlfaceError, did_you_mean
from mtlface.models.backbone import IMAGENET_MEAN, IMAGENET_STD, Backbone
from mtlface.models.weights import downloading, load_weights


def torchvision_backbone(
    name: str,
    pretrained: bool | str | Path | None = False,
    image_size: tuple[int, int] | None = None,
    weights: str | None = None,
) -> Backbone:
    """Builds a torchvision classification model with its features taken before the classifier.

    Args:
        name: A name of torchvision's registry: `resnet18`, `vit_b_16`, `swin_t`, …
        pretrained: True for torchvision's weights (downloaded once), the path of a local state
            dict (with or without the classifier), or False for random weights.
        image_size: (height, width) of the pictures in pixels, for the models that are built for
            one size: a ViT's position embeddings are interpolated to it.
        weights: Which of torchvision's weights `pretrained` means, such as `IMAGENET1K_V1`, with
            the normalisation of the pixels that they expect; None for its default ones.

    Raises:
        MtlfaceError: The name or that of the weights is unknown, the model cannot take pictures of
            that size, or the weights cannot be had, read or fitted.
    """
    builder = _builder(name)
    published = _weights(name, weights)
    arguments = _build_arguments(builder, image_size)
    try:
        if pretrained is True:
            with downloading(name, published):
                trunk: nn.Module = builder(weights=published, **arguments)
        else:
            trunk = builder(weights=None, **arguments)
    except (ValueError, AssertionError) as error:
        raise MtlfaceError(
            f"The backbone '{name}' cannot be built for pictures of {image_size or 'its own'} "
            f"pixels: {error}"
        ) from error
    classifier, features = _cut_classifier(trunk)
    if pretrained and pretrained is not True:
        load_weights(trunk, Path(pretrained), ignore=classifier)
    if isinstance(trunk, VisionTransformer) and image_size is not None:
        _resize_positions(trunk, name, image_size)
    mean, std = _normalisation(published, arguments)
    return Backbone(trunk, features, mean, std)


def _builder(name: str) -> Any:
    known = list_models(module=models)
    if name not in known:
        raise MtlfaceError(
            f"torchvision has no classification model '{name}'.{did_you_mean(name, known)} "
            f"torchvision.models.list_models(module=torchvision.models) lists all {len(known)}."
        )
    return get_model_builder(name)


def _weights(name: str, weights: str | None) -> Any:
    known = get_model_weights(name)
    if weights is None:
        return known.DEFAULT
    names = list(known.__members__)
    if weights not in names:
        raise MtlfaceError(
            f"backbone.weights={weights}: torchvision has no such weights of '{name}'."
            f"{did_you_mean(weights, names)} It has: {', '.join(names)}; null takes its default."
        )
    return known[weights]


def _normalisation(
    weights: Any, arguments: Mapping[str, Any]
) -> tuple[Sequence[float], Sequence[float]]:
    """Most torchvision weights take ImageNet's mean and std, but EfficientNetV2-L does not.

    Nor do those that came from TensorFlow: torchvision turns pixels normalised by ImageNet into
    theirs inside the model. Here it is the model's normalisation, which a checkpoint keeps.
    """
    if "transform_input" in arguments:
        return (0.5,) * 3, (0.5,) * 3
    transform = weights.transforms()
    mean, std = getattr(transform, "mean", IMAGENET_MEAN), getattr(transform, "std", IMAGENET_STD)
    return mean, std


def _build_arguments(builder: Any, image_size: tuple[int, int] | None) -> dict[str, Any]:
    """What the model's constructor understands, read off the class that the builder returns."""
    understood = inspect.signature(get_type_hints(builder)["return"]).parameters
    arguments: dict[str, Any] = {}
    if image_size is not None and "input_size" in understood:
        arguments["input_size"] = tuple(image_size)
    if "aux_logits" in understood:  # auxiliary classifiers know ImageNet's classes, not ours
        arguments["aux_logits"] = False
    if "transform_input" in understood:  # weights that came from TensorFlow
        arguments["transform_input"] = False
    return arguments


def _cut_classifier(trunk: nn.Module) -> tuple[str, int]:
    """Replaces the last linear layer by the identity; returns its name and its input width.

    SqueezeNet ends in a 1x1 convolution and a pooling instead, which is cut the same way.
    """
    name, layer = [
        (name, module)
        for name, module in trunk.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ][-1]
    trunk.set_submodule(name, nn.Identity())
    return name, layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels


def _resize_positions(trunk: VisionTransformer, name: str, image_size: tuple[int, int]) -> None:
    height, width = image_size
    patch = trunk.patch_size
    if height != width or height % patch:
        raise MtlfaceError(
            f"The backbone '{name}' takes square pictures whose side is a multiple of {patch} "
            f"pixels, found {height}x{width}. Choose another picture size, such as "
            f"{max(1, round(height / patch)) * patch}, or a convolutional backbone."
        )
    state = interpolate_embeddings(
        height, patch, {"encoder.pos_embedding": trunk.encoder.pos_embedding.detach()}
    )
    positions = state["encoder.pos_embedding"]
    trunk.encoder.pos_embedding = nn.Parameter(positions.contiguous())
    trunk.image_size, trunk.seq_length = height, positions.shape[1]
