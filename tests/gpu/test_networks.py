"""The network is the one that a GPU wants, not the one that a CPU wants."""

import pytest
import torch
from pretend_cuda import pretend_cuda

from mtlface.models import cnn3, pool_deterministically
from mtlface.training.build import build_datamodule, build_module


def test_small_convolutions_keep_their_layout_on_a_gpu(composed):
    cfg = composed("experiment=tiny", "backbone=resnet18", "trainer=gpu")
    with pretend_cuda():
        datamodule = build_datamodule(cfg)
        trunk = build_module(cfg, datamodule.table.labels).backbone.trunk
    wide = [p for p in trunk.parameters() if p.ndim == 4]
    assert wide and all(p.is_contiguous(memory_format=torch.channels_last) for p in wide)


@pytest.mark.parametrize("deterministic", [True, False])
def test_adaptive_pooling_is_replaced_where_only_a_deterministic_gradient_is_allowed(deterministic):
    trunk = cnn3().trunk
    pool_deterministically(trunk)
    torch.use_deterministic_algorithms(deterministic)
    try:
        with pretend_cuda() as log:
            trunk.to("cuda")(torch.zeros(2, 3, 64, 64, device="cuda")).sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
    pooled = [name for name in log.launches if "adaptive_avg_pool2d" in name]
    assert (not pooled) == deterministic
