"""Backbones from timm's registry, by name, with attention blocks where timm has them."""

from pathlib import Path
from typing import Any

from torch import nn

from mtlface.errors import MtlfaceError, did_you_mean, how_to_install
from mtlface.models.backbone import Backbone
from mtlface.models.weights import load_weights


def timm_backbone(
    name: str,
    pretrained: bool | str | Path | None = False,
    image_size: tuple[int, int] | None = None,
    attention: str | None = None,
) -> Backbone:
    """Builds a timm model without its classifier; normalisation and width are the model's own.

    Args:
        name: A name of timm's registry, with or without the tag of its weights: `resnet18`,
            `vit_small_patch16_224`, `halonet26t`, `resnet18.a1_in1k`, …
        pretrained: True for the model's default weights or those of its tag (downloaded once), the
            path of a local state dict, or False for random weights.
        image_size: (height, width) of the images in pixels, for the models that are built for
            one size.
        attention: The attention of each residual block, for timm's ResNets: `se` (Hu et al. 2018),
            `eca` (Wang et al. 2020), `cbam` (Woo et al. 2018) or another of timm's `attn_layer`s.
            With pretrained weights it starts from random ones.

    Raises:
        MtlfaceError: timm is not installed, the name is unknown, the model cannot be built for that
            size or with that attention, or the weights cannot be had, read or fitted.
    """
    timm = _timm()
    settings = _settings(timm, name)
    arguments: dict[str, Any] = {"num_classes": 0}
    if image_size is not None and settings.fixed_input_size:
        arguments["img_size"] = tuple(image_size)
    if attention is not None:
        arguments["block_args"] = {"attn_layer": attention}
    try:
        trunk: nn.Module = timm.create_model(name, **arguments)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        built_with = f" with attention={attention}" if attention is not None else ""
        raise MtlfaceError(
            f"timm's '{name}' cannot be built{built_with} for images of "
            f"{image_size or 'its own'} pixels ({type(error).__name__}: {error}). Choose another "
            "data.image_size or backbone.attention (timm's ResNets take se, eca and cbam), or "
            "another backbone.name."
        ) from error
    if pretrained is True:
        trunk = _pretrained(timm, name, arguments, settings)
    elif pretrained:
        load_weights(trunk, Path(pretrained), ignore=settings.classifier)
    # Where a layer of the head is left without the classifier, its width counts.
    width: Any = getattr(trunk, "head_hidden_size", None) or trunk.num_features
    return Backbone(trunk, width, settings.mean, settings.std)


def _timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise MtlfaceError(
            f"The backbone needs timm, which is not installed.{how_to_install('timm')}"
        ) from error
    return timm


def _settings(timm: Any, name: str) -> Any:
    """What timm knows of a model: normalisation, classifier, where its weights are.

    Names with a scheme such as `hf-hub:` are unknown here: they would fetch a stranger's config.
    """
    known = timm.list_models()
    if name not in known and name not in timm.list_pretrained():
        raise MtlfaceError(
            f"timm has no model '{name}'.{did_you_mean(name, known)} "
            f"timm.list_models() lists all {len(known)}."
        )
    return timm.get_pretrained_cfg(name)


def _pretrained(timm: Any, name: str, arguments: dict[str, Any], settings: Any) -> nn.Module:
    # No published weights have our attention in them: it alone may be missing from the file.
    strict = "block_args" not in arguments
    try:
        trunk: nn.Module = timm.create_model(
            name, pretrained=True, pretrained_strict=strict, **arguments
        )
    except Exception as error:  # of timm, the hub or its HTTP client, which share no base class
        source = settings.hf_hub_id or settings.url or "timm, which has none for it"
        raise MtlfaceError(
            f"The weights of timm's '{name}' could not be fetched from {source} "
            f"({type(error).__name__}: {str(error).partition(chr(10))[0]}). Give a local file with "
            "pretrained=/path/to/weights.pth, or train from random weights with pretrained=false."
        ) from error
    return trunk
