"""Repeatable pooling is adaptive average pooling, wherever it takes the other way."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from mtlface.models import cnn4_bn, pool_deterministically

sides = st.integers(1, 13)


@given(size=st.tuples(sides, sides), bins=st.tuples(st.none() | sides, st.none() | sides))
def test_both_ways_have_the_same_output_and_gradient(size, bins):
    images = torch.randn(2, 3, *size, dtype=torch.float64)
    found = []
    layer = nn.AdaptiveAvgPool2d(bins)
    pool_deterministically(nn.Sequential(layer))
    for pool in (nn.AdaptiveAvgPool2d(bins), layer.multiplied):
        given = images.clone().requires_grad_()
        output = pool(given)
        (gradient,) = torch.autograd.grad((output * output.detach().cos()).sum(), given)
        found.append((output, gradient))
    for one, other in zip(*found, strict=True):
        assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_on_a_cpu_the_pooling_is_torchs_own():
    trunk = cnn4_bn().trunk
    before = list(trunk.state_dict())
    images = torch.randn(2, 3, 40, 40)
    trunk.eval()
    expected = trunk(images)
    pool_deterministically(trunk)
    assert torch.equal(trunk(images), expected)
    assert list(trunk.state_dict()) == before
    assert any(type(layer).__name__ == "RepeatableAvgPool2d" for layer in trunk)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here")
def test_on_a_gpu_its_gradient_is_deterministic(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    layer = nn.AdaptiveAvgPool2d(4)
    pool_deterministically(nn.Sequential(layer))
    torch.use_deterministic_algorithms(True)
    try:
        layer(torch.randn(2, 3, 30, 30, device="cuda", requires_grad=True)).sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
