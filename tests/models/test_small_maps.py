"""Small maps as matrix products: the convolution's own results and gradients."""

from copy import deepcopy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from mtlface.models import multiply_small_maps, torchvision_backbone
from mtlface.models.small_maps import LARGEST_MAP, SmallMapConv2d


def twin(layer: nn.Conv2d) -> nn.Conv2d:
    """A copy of the layer, turned."""
    turned = deepcopy(layer)
    multiply_small_maps(turned)
    return turned


def outcome(layer: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
    """The layer's output, and the gradients of its input and of each parameter."""
    images = images.clone().requires_grad_()
    output = layer(images)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output)
    sources = [images, *layer.parameters()]
    return (output, *torch.autograd.grad((output * weights).sum(), sources))


@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    side=st.tuples(st.integers(3, 5), st.integers(3, 5)),
    bias=st.booleans(),
)
def test_output_and_gradients_are_the_convolutions(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    side: tuple[int, int],
    bias: bool,
) -> None:
    plain = nn.Conv2d(2, 256, kernel, stride, padding, bias=bias).double()
    images = torch.randn(3, 2, *side, dtype=torch.float64)
    for of_turned, of_plain in zip(
        outcome(twin(plain), images), outcome(plain, images), strict=True
    ):
        assert_close(of_turned, of_plain, rtol=1e-10, atol=1e-10)


def test_small_maps_are_one_matrix_product() -> None:
    """Or the property above would compare the convolution with itself."""
    layer = twin(nn.Conv2d(8, 256, 3, padding=1))
    with torch.profiler.profile() as profile:
        layer(torch.randn(2, 8, 2, 2))
    names = {event.name for event in profile.events()}
    assert "aten::linear" in names
    assert "aten::conv2d" not in names


@pytest.mark.parametrize("side", [5, 8])
def test_larger_maps_are_left_to_the_convolution(side: int) -> None:
    plain = nn.Conv2d(8, 256, 3, padding=1)
    images = torch.randn(2, 8, side, side)
    assert side * side > LARGEST_MAP
    assert torch.equal(twin(plain)(images), plain(images))


def test_without_gradients_the_convolution_computes() -> None:
    plain = nn.Conv2d(64, 256, 3, padding=1)
    images = torch.randn(2, 64, 2, 2)
    with torch.no_grad():
        assert torch.equal(twin(plain)(images), plain(images))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(256, 256, 3, groups=2),
        nn.Conv2d(256, 256, 3, dilation=2),
        nn.Conv2d(256, 256, 3, padding="same"),
        nn.Conv2d(256, 256, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(256, 255, 3),
    ],
)
def test_other_layers_stay_as_they_are(layer: nn.Conv2d) -> None:
    assert type(twin(layer)) is nn.Conv2d


def test_a_trunk_keeps_its_names_and_learns_the_same() -> None:
    plain = torchvision_backbone("resnet18")
    turned = deepcopy(plain)
    multiply_small_maps(turned.trunk)
    assert any(isinstance(layer, SmallMapConv2d) for layer in turned.modules())
    assert list(turned.state_dict()) == list(plain.state_dict())
    images = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    for network in (plain, turned):
        network.double()(images).square().mean().backward()
    for of_turned, of_plain in zip(turned.parameters(), plain.parameters(), strict=True):
        assert_close(of_turned.grad, of_plain.grad, rtol=1e-6, atol=1e-9)
