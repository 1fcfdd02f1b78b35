"""Where a network looks: the layer that Grad-CAM weighs, and attention checked by hand."""

import math

import pytest
import torch
from torch import nn

from mtlface.models import cnn3, pool_deterministically, timm_backbone, torchvision_backbone
from mtlface.models.looking import class_attention, grid, map_layer, spatial_mask

torch.set_num_threads(1)


def images(count, *size):
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(0)) * 255


def found_in(backbone, *size):
    backbone.eval()
    return map_layer(backbone, images(1, *size), lambda network, some: network(some).sum(dim=1))


@pytest.mark.parametrize(
    ("build", "size", "layer", "places"),
    [
        (cnn3, (64, 48), "trunk.7", (16, 12)),  # the last ReLU: poolings are passed over
        (lambda: torchvision_backbone("resnet18"), (64, 64), "trunk.layer3", (4, 4)),
        (lambda: torchvision_backbone("resnet18"), (160, 128), "trunk.layer4", (5, 4)),
        (lambda: torchvision_backbone("resnet18"), (8, 8), "trunk.relu", (4, 4)),
        (lambda: timm_backbone("resnet18", attention="cbam"), (64, 64), "trunk.layer3", (4, 4)),
        (lambda: torchvision_backbone("swin_t"), (128, 128), "trunk.permute", (4, 4)),
        (
            lambda: timm_backbone("vit_tiny_patch16_224", image_size=(64, 64)),
            (64, 64),
            "trunk.blocks.11.norm1",
            (4, 4),
        ),
    ],
)
def test_the_last_layer_with_places_is_found(build, size, layer, places):
    backbone = build()
    pool_deterministically(backbone.trunk)
    found = found_in(backbone, *size)
    names = {module: name for name, module in backbone.named_modules()}
    assert (names[found.layer], found.size) == (layer, places)
    assert all(not module._forward_hooks for module in backbone.modules())


def test_channels_last_and_tokens_become_maps():
    swin = timm_backbone("swin_tiny_patch4_window7_224", image_size=(128, 128))
    vit = torchvision_backbone("vit_b_32", image_size=(128, 128))
    for backbone, channels in ((swin, 768), (vit, 768)):
        found = found_in(backbone, 128, 128)
        outputs = []
        handle = found.layer.register_forward_hook(lambda *seen, to=outputs: to.append(seen[2]))
        with torch.no_grad():
            backbone(images(2, 128, 128))
        handle.remove()
        assert found.to_maps(outputs[0]).shape == (2, channels, *found.size) == (2, channels, 4, 4)
    tokens = found.to_maps(outputs[0])
    torch.testing.assert_close(tokens[1, :, 2, 3], outputs[0][1, 1 + 2 * 4 + 3])


def test_a_trunk_without_places_has_no_layer():
    flat = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    assert found_in(flat, 32, 32) is None


def seen_by(layer, network, some):
    """What goes into a layer, and the class token's share of attention by hand needs only that."""
    inputs = []
    handle = layer.register_forward_hook(lambda _, args, __: inputs.append(args[0]))
    with torch.no_grad():
        network(some)
    handle.remove()
    return inputs[-1]


def by_hand(tokens, weight, bias, heads):
    """softmax(q·k / √d) of the class token, mean over heads, (B, N)."""
    query, key, _ = (tokens @ weight.T + bias).chunk(3, dim=2)
    query, key = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (query, key))
    scores = query[:, :, :1] @ key.transpose(2, 3) / math.sqrt(query.shape[3])
    return scores.softmax(dim=3).mean(dim=1)[:, 0]


def test_the_class_tokens_attention_is_that_of_the_paper_in_both_libraries():
    some = images(2, 64, 64)
    timms = timm_backbone("vit_tiny_patch16_224", image_size=(64, 64)).eval()
    last = timms.trunk.blocks[-1].attn
    nn.init.normal_(last.qkv.weight, std=0.2)  # random weights look everywhere alike
    own = by_hand(seen_by(last, timms, some), last.qkv.weight, last.qkv.bias, last.num_heads)
    found = class_attention(timms, some)
    torch.testing.assert_close(found, own[:, 1:].unflatten(1, (4, 4)), rtol=1e-4, atol=1e-6)
    assert found.std() > 1e-3 and last.fused_attn

    torchs = torchvision_backbone("vit_b_16", image_size=(64, 64)).eval()
    last = torchs.trunk.encoder.layers[-1].self_attention
    nn.init.normal_(last.in_proj_weight, std=0.1)
    tokens = seen_by(last, torchs, some)
    own = by_hand(tokens, last.in_proj_weight, last.in_proj_bias, last.num_heads)
    found = class_attention(torchs, some)
    torch.testing.assert_close(found, own[:, 1:].unflatten(1, (4, 4)), rtol=1e-4, atol=1e-6)
    assert found.std() > 1e-3


def test_a_mean_over_patches_and_a_cnn_have_no_class_attention():
    averaged = timm_backbone("vit_base_patch16_siglip_224", image_size=(64, 64))
    assert class_attention(averaged.eval(), images(1, 64, 64)) is None
    assert class_attention(cnn3().eval(), images(1, 64, 64)) is None


def test_the_mask_is_what_cbam_multiplies_by():
    backbone = timm_backbone("resnet18", attention="cbam").eval()
    some = images(2, 64, 64)
    block = backbone.trunk.layer3[-1]
    spatial = block.se.spatial
    nn.init.ones_(block.bn2.weight)  # timm starts it at zero: nothing would come to the mask
    nn.init.normal_(spatial.conv.conv.weight, std=1.0)
    before = seen_by(spatial, backbone, some)
    with torch.no_grad():
        after = spatial(before)
    mask = spatial_mask(backbone, some)
    assert mask.shape == (2, 4, 4)  # of layer3: layer4 has 2×2 places
    torch.testing.assert_close(before * mask[:, None], after)
    assert mask.std() > 0.01
    assert spatial_mask(cnn3().eval(), some) is None


@pytest.mark.parametrize(
    ("places", "ratio", "expected"),
    [(196, 1.0, (14, 14)), (12, 4 / 3, (4, 3)), (12, 3 / 4, (3, 4)), (7, 1.0, None), (1, 1, None)],
)
def test_patches_lie_in_the_grid_of_the_images_shape(places, ratio, expected):
    assert grid(places, ratio) == expected
