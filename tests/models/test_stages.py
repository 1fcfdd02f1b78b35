"""A trunk's stages are known by how it is built, and its parts do what it does."""

import pytest
import torch
from torch import nn

from mtlface.errors import MtlfaceError
from mtlface.models import cnn3, cnn4_bn, cnn9, torchvision_backbone
from mtlface.models.stages import cut, stages_of

SIZE = (32, 48)
RESNET = ["stem", "layer1", "layer2", "layer3", "layer4"]


def trunk_of(name):
    torch.manual_seed(0)
    own = {"cnn3": cnn3, "cnn4_bn": cnn4_bn, "cnn9": cnn9}
    return (own[name]() if name in own else torchvision_backbone(name)).trunk


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("resnet18", RESNET),
        ("resnet50", RESNET),
        ("cnn3", [f"block{k}" for k in range(1, 5)]),
        ("cnn9", [f"block{k}" for k in range(1, 10)]),
        ("convnext_tiny", [f"block{k}" for k in range(1, 9)]),
        ("vit_b_16", []),
        ("shufflenet_v2_x0_5", []),
    ],
)
def test_the_stages_of_a_trunk(name, stages):
    assert list(stages_of(trunk_of(name))) == stages


def test_timms_resnets_have_stages_with_attention_too():
    timm = pytest.importorskip("timm")
    assert list(stages_of(timm.create_model("resnet18", num_classes=0))) == RESNET
    assert stages_of(timm.create_model("vit_tiny_patch16_224", num_classes=0)) == {}


@pytest.mark.parametrize("name", ["cnn3", "cnn4_bn", "resnet18", "mobilenet_v3_small"])
def test_parts_have_the_trunks_weights_once_and_give_its_features_and_gradients(name):
    images = torch.randn(3, 3, *SIZE)
    whole = trunk_of(name).eval()
    whole(images).square().sum().backward()
    expected = [p.grad for p in whole.parameters()]
    for at in range(len(stages_of(whole)) + 1):
        parts = [part.eval() for part in cut(trunk_of(name), [at], name, SIZE)]
        features = parts[1](parts[0](images))
        assert torch.equal(features, whole(images))
        features.square().sum().backward()
        found = [p.grad for part in parts for p in part.parameters()]
        assert len(found) == len(expected)
        assert all(map(torch.equal, found, expected))


def test_cuts_at_both_ends_leave_one_part_empty():
    before, after = cut(trunk_of("cnn3"), [0], "cnn3", SIZE), cut(trunk_of("cnn3"), [4], "x", SIZE)
    assert not list(before[0].parameters()) and not list(after[1].parameters())


def test_modes_of_training_are_as_before():
    trunk = trunk_of("cnn4_bn").train()
    trunk[1].eval()
    parts = cut(trunk, [2], "cnn4_bn", SIZE)
    modes = [m.training for part in parts for m in part.modules() if isinstance(m, nn.BatchNorm2d)]
    assert modes == [False, True, True, True]


def test_the_global_random_state_is_left_alone():
    trunk = trunk_of("resnet18")
    state = torch.get_rng_state()
    cut(trunk, [3], "resnet18", SIZE)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("trunk", "at", "words"),
    [
        (lambda: trunk_of("vit_b_16"), 1, ("no stages", "resnet18", "sharing=hard", "split@0")),
        (lambda: trunk_of("resnet18"), 6, ("5 stages", "1 stem, 2 layer1", "split@0", "split@5")),
    ],
)
def test_what_cannot_be_cut_is_an_error_that_lists_what_can(trunk, at, words):
    with pytest.raises(MtlfaceError) as error:
        cut(trunk(), [at], "mine", SIZE)
    assert all(word in str(error.value) for word in ("mine", *words))


class Beside(nn.Module):
    """Has the layout of a ResNet, but runs its layers side by side."""

    def __init__(self):
        super().__init__()
        self.layer1, self.layer2 = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, images):
        return (self.layer1(images) + self.layer2(images)).mean((2, 3))


def test_a_trunk_that_is_no_chain_of_its_stages_is_refused():
    with pytest.raises(MtlfaceError, match="no chain"):
        cut(Beside(), [2], "beside", SIZE)


def test_a_stage_that_overwrites_what_it_is_given_is_refused():
    block = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(4, 4, 1))
    trunk = nn.Sequential(nn.Conv2d(3, 4, 1), block, nn.Flatten())
    with pytest.raises(MtlfaceError, match="inplace=False"):
        cut(trunk, [1], "mine", SIZE)
