"""Where a network looks: the layer whose maps Grad-CAM weighs, masks and attention of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import pooling

# On fewer places than this along a side, a map says hardly more than that there is a face.
FEWEST_PLACES = 4
RATIO = 1.5  # by how much a map may be longer or wider than the image: strides round
POOLING = (
    pooling._AvgPoolNd,
    pooling._MaxPoolNd,
    pooling._AdaptiveAvgPoolNd,
    pooling._AdaptiveMaxPoolNd,
)
ToMaps = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class MapLayer:
    """A layer whose output has a place for each part of the image.

    Attributes:
        layer: The layer.
        to_maps: From its output to maps (B, C, h, w).
        size: (h, w).
    """

    layer: nn.Module
    to_maps: ToMaps
    size: tuple[int, int]


def map_layer(
    network: nn.Module, image: Tensor, explained: Callable[[nn.Module, Tensor], Tensor]
) -> MapLayer | None:
    """The last layer with a map of 4 places or more a side, that an answer depends on.

    Or, where images are so small that no layer has as many, the last of those with the most. A
    pooling is passed over for the finer maps before it. In a transformer it is what goes into the
    last attention: of what comes out, only the class token counts.

    Args:
        network: In eval mode.
        image: One image, float (1, 3, H, W).
        explained: From the network and images to numbers (B,).

    Returns:
        The layer, or None where no layer has places.
    """
    height, width = image.shape[-2:]
    seen: list[tuple[MapLayer, Tensor]] = []
    tokens = prefix_tokens(network)

    def remember(layer: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor) and not isinstance(layer, POOLING):
            found = _maps_of(output, height / width, tokens)
            if found is not None:
                seen.append((MapLayer(layer, *found), output))

    with torch.enable_grad(), hooked(network, remember):
        number = explained(network, image.detach().requires_grad_()).sum()
    outputs = [output for _, output in seen]
    known = [output for output in outputs if output.requires_grad]
    gradients = dict(
        zip(map(id, known), torch.autograd.grad(number, known, allow_unused=True), strict=True)
        if known
        else ()
    )
    used = [found for found, output in seen if gradients.get(id(output)) is not None]
    if tokens is not None and (block := _last_attention(network)) is not None:
        # The norm before it, which is the first in its block to end.
        names = {module: name for name, module in network.named_modules()}
        parent = names[block].rpartition(".")[0]
        used = [f for f in used if names[f.layer].rpartition(".")[0] == parent][:1] or used
    fine = [found for found in used if min(found.size) >= FEWEST_PLACES]
    if fine:
        return fine[-1]
    most = max((math.prod(found.size) for found in used), default=0)
    return next((found for found in reversed(used) if math.prod(found.size) == most), None)


def _maps_of(
    output: Tensor, ratio: float, tokens: int | None
) -> tuple[ToMaps, tuple[int, int]] | None:
    """How to make maps of an output, and their size; None where it has no places."""
    if output.ndim == 4:
        for to_maps in (_as_it_is, _channels_last):
            h, w = to_maps(output).shape[-2:]
            if h * w > 1 and 1 / RATIO <= h / w / ratio <= RATIO:
                return to_maps, (h, w)
    if output.ndim == 3 and tokens is not None:
        size = grid(output.shape[1] - tokens, ratio)
        if size is not None:
            return _Tokens(tokens, size), size
    return None


def _as_it_is(output: Tensor) -> Tensor:
    return output


def _channels_last(output: Tensor) -> Tensor:
    return output.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class _Tokens:
    """Tokens (B, N, C) as maps (B, C, h, w), without the class token and others before them."""

    prefix: int
    size: tuple[int, int]

    def __call__(self, output: Tensor) -> Tensor:
        patches = output[:, self.prefix :].transpose(1, 2)
        return patches.reshape(*patches.shape[:2], *self.size)


def grid(places: int, ratio: float) -> tuple[int, int] | None:
    """(h, w) with h · w places whose ratio is nearest to the image's; None where none fits.

    Args:
        places: How many patches a transformer sees.
        ratio: Height by width of the image.
    """
    sizes = [(h, places // h) for h in range(1, places + 1) if places % h == 0]
    if places < 2 or not sizes:
        return None
    best = min(sizes, key=lambda size: abs(math.log(size[0] / size[1] / ratio)))
    return best if 1 / RATIO <= best[0] / best[1] / ratio <= RATIO else None


def prefix_tokens(network: nn.Module) -> int | None:
    """How many tokens stand before those of the patches; None where nothing is a transformer."""
    for module in network.modules():
        count = getattr(module, "num_prefix_tokens", None)  # timm
        if isinstance(count, int):
            return count
        if isinstance(getattr(module, "class_token", None), nn.Parameter):  # torchvision
            return 1
    return None


def has_class_token(network: nn.Module) -> bool:
    """Whether a class token alone carries what a transformer says."""
    for module in network.modules():
        if isinstance(getattr(module, "class_token", None), nn.Parameter):
            return True
        if isinstance(getattr(module, "cls_token", None), nn.Parameter):
            return getattr(module, "global_pool", "token") == "token"
    return False


def class_attention(network: nn.Module, images: Tensor) -> Tensor | None:
    """What the class token looks at in a transformer's last layer, mean over its heads.

    Args:
        network: In eval mode.
        images: Float (B, 3, H, W).

    Returns:
        Shares of its attention (B, h, w), of torchvision's and timm's transformers; they sum to 1
        less what falls on the class token itself. None where there is no class token.
    """
    if not has_class_token(network):
        return None
    prefix = prefix_tokens(network) or 1
    last = _last_attention(network)
    if last is None:
        return None
    weights: list[Tensor] = []
    with torch.inference_mode(), _attention_shown(last, weights):
        network(images)
    if not weights:
        return None
    row = weights[-1].mean(dim=1)[:, 0, prefix:]
    size = grid(row.shape[1], images.shape[-2] / images.shape[-1])
    return None if size is None else row.float().reshape(-1, *size)


def _last_attention(network: nn.Module) -> nn.Module | None:
    """The last self-attention: torch's own module, or one of timm's with its `attn_drop`."""
    found = [
        module
        for module in network.modules()
        if isinstance(module, nn.MultiheadAttention)
        or isinstance(getattr(module, "attn_drop", None), nn.Module)
    ]
    return found[-1] if found else None


@contextmanager
def _attention_shown(attention: nn.Module, weights: list[Tensor]) -> Iterator[None]:
    """Within the block an attention gives its weights (B, heads, N, N), which it else skips."""
    handles = []
    fused = getattr(attention, "fused_attn", None)
    if isinstance(attention, nn.MultiheadAttention):

        def ask(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            return args, kwargs | {"need_weights": True, "average_attn_weights": False}

        handles.append(attention.register_forward_pre_hook(ask, with_kwargs=True))
        handles.append(attention.register_forward_hook(lambda _, __, out: weights.append(out[1])))
    else:
        drop: Any = attention.attn_drop
        attention.fused_attn = False  # type: ignore[assignment]
        handles.append(drop.register_forward_hook(lambda _, __, out: weights.append(out)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        if fused is not None:
            attention.fused_attn = fused


def spatial_mask(network: nn.Module, images: Tensor) -> Tensor | None:
    """The last spatial mask of CBAM (Woo et al., ECCV 2018) with 4 places or more a side.

    Args:
        network: In eval mode.
        images: Float (B, 3, H, W).

    Returns:
        The factor that each place is multiplied by, 0..1, (B, h, w); on small images the finest
        one; None where no block of the trunk is CBAM's, as timm builds it.
    """
    blocks = _spatial_attention(network)
    masks: list[Tensor] = []
    handles = [
        gate.register_forward_hook(lambda _, __, output: masks.append(output.float()))
        for gate in (block.gate for block in blocks)
        if isinstance(gate, nn.Module)
    ]
    try:
        if handles:
            with torch.inference_mode():
                network(images)
    finally:
        for handle in handles:
            handle.remove()
    if not masks:
        return None
    fine = [mask for mask in masks if min(mask.shape[-2:]) >= FEWEST_PLACES]
    chosen = fine[-1] if fine else max(masks, key=lambda mask: math.prod(mask.shape[-2:]))
    return chosen[:, 0]


def _spatial_attention(network: nn.Module) -> list[nn.Module]:
    try:
        from timm.layers.cbam import LightSpatialAttn, SpatialAttn
    except ImportError:
        return []
    return [m for m in network.modules() if isinstance(m, SpatialAttn | LightSpatialAttn)]


@contextmanager
def hooked(network: nn.Module, hook: Callable[[nn.Module, Any, Any], None]) -> Iterator[None]:
    """Within the block a hook is called after every layer, in the order that they end in."""
    handles = [layer.register_forward_hook(hook) for layer in network.modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
