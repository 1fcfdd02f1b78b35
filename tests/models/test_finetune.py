"""A frozen trunk stays put, its BatchNorm too, until it is let go."""

import copy

import pytest
import torch
from torch import nn

from mtlface.models import cnn9, freeze, linear_head, torchvision_backbone, unfreeze

torch.set_num_threads(1)


class Network(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.head = linear_head(backbone.features, 1)

    def forward(self, images):
        return self.head(self.backbone(images))


def steps(network, n=3):
    """Trains with everything that has a gradient, and calls train() as a trainer would."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(n):
        network.train()
        images = torch.rand(4, 3, 32, 32, generator=generator) * 255
        optimizer.zero_grad()
        network(images).square().mean().backward()
        optimizer.step()


def changed(network, before):
    return {k for k, v in network.state_dict().items() if not torch.equal(v, before[k])}


@pytest.mark.parametrize("build", [cnn9, lambda: torchvision_backbone("resnet18")])
def test_a_frozen_trunk_stays_put_bit_for_bit(build):
    network = Network(build())
    freeze(network.backbone)
    before = copy.deepcopy(network.state_dict())
    steps(network)
    assert changed(network, before) == {"head.weight", "head.bias"}


def test_batchnorm_of_a_frozen_trunk_may_follow_the_data():
    network = Network(cnn9())
    freeze(network.backbone, batchnorm_eval=False)
    before = copy.deepcopy(network.state_dict())
    steps(network)
    moved = changed(network, before) - {"head.weight", "head.bias"}
    assert moved
    assert all("running_" in key or "num_batches_tracked" in key for key in moved)


def test_unfreezing_lets_every_weight_learn_again():
    network = Network(cnn9())
    freeze(network.backbone)
    unfreeze(network.backbone)
    before = copy.deepcopy(network.state_dict())
    steps(network)
    fixed = {"backbone.mean", "backbone.std"}
    assert changed(network, before) == set(before) - fixed


def test_freezing_works_in_the_mode_that_it_finds():
    backbone = cnn9().train()
    norm = next(m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d))
    freeze(backbone)
    assert backbone.training and not norm.training
    unfreeze(backbone)
    assert norm.training
    freeze(backbone.eval())
    unfreeze(backbone)
    assert not norm.training


def test_a_copy_of_a_frozen_backbone_is_frozen():
    backbone = cnn9()
    freeze(backbone)
    network = Network(copy.deepcopy(backbone)).train()
    assert not any(m.training for m in network.modules() if isinstance(m, nn.BatchNorm2d))
