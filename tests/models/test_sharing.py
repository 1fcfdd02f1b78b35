"""What tasks share: shapes, parameters, gradients, and the formulas of the papers."""

import copy

import pytest
import torch

from mtlface.errors import MtlfaceError
from mtlface.models import Backbone, Trunks, cnn4_bn, torchvision_backbone
from mtlface.models.sharing import CrossStitch, Gate, Mixture, cross_stitch, hard, mmoe, split

SIZE = (32, 48)
TASKS = ("a", "b", "c")


def images(count=4):
    draw = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, *SIZE), generator=draw, dtype=torch.uint8)


def trunks(build=lambda: cnn4_bn(dropout=0.0), name="mine"):
    torch.manual_seed(0)
    return Trunks(build(), build, name, SIZE)


def count(module):
    return sum(p.numel() for p in module.parameters())


def own_features(shared, pixels):
    features = shared.backbone(pixels)
    return {task: branch(features, pixels) for task, branch in shared.branches.items()}


def with_identity(shared):
    """Cross-stitch units that mix nothing."""
    for parameter in shared.backbone.trunk.mixing:
        parameter.data = torch.eye(len(TASKS))
    for row, branch in zip(torch.eye(len(TASKS)), shared.branches.values(), strict=True):
        branch.weights.data = row.clone()
    return shared


WAYS = {
    "hard": lambda t: hard(t, TASKS),
    "split@0": lambda t: split(t, TASKS, 0),
    "split@3": lambda t: split(t, TASKS, 3),
    "split@5": lambda t: split(t, TASKS, 5),
    "cross_stitch": lambda t: cross_stitch(t, TASKS),
    "mmoe@3": lambda t: mmoe(t, TASKS, 3),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_task_has_features_and_every_parameter_a_gradient(way):
    shared = WAYS[way](trunks())
    found = own_features(shared, images())
    assert list(found) == [*TASKS]
    assert all(of.shape == (4, 512) and of.isfinite().all() for of in found.values())
    torch.stack([*found.values()]).square().sum().backward()
    parts = (shared.backbone, *shared.branches.values())
    learning = [p for part in parts for p in part.parameters()]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learning)


@pytest.mark.parametrize("way", ["hard", "split@0", "split@3", "split@5"])
def test_all_splits_begin_with_the_features_of_one_trunk(way):
    whole = trunks().first.eval()
    shared = WAYS[way](trunks())
    for part in (shared.backbone, *shared.branches.values()):
        part.eval()
    found = own_features(shared, images())
    assert all(torch.equal(of, whole(images())) for of in found.values())


def test_a_split_has_its_first_stages_once_and_the_rest_for_each_task():
    whole = count(trunks().first)
    for stages in range(6):
        shared = split(trunks(), TASKS, stages)
        (tail,) = {count(branch) for branch in shared.branches.values()}
        assert count(shared.backbone) + tail == whole
    assert tail == 0


def test_the_tasks_own_parts_do_not_move_each_other():
    shared = split(trunks(), TASKS, 2)
    own_features(shared, images())["a"].sum().backward()
    moved = {
        task: any(p.grad is not None for p in branch.parameters())
        for task, branch in shared.branches.items()
    }
    assert moved == {"a": True, "b": False, "c": False}
    assert all(p.grad is not None for p in shared.backbone.parameters())


def test_cross_stitch_with_identity_is_separate_trunks_and_trains_as_they_do():
    stitched = with_identity(cross_stitch(trunks(), TASKS))
    apart = split(trunks(), TASKS, 0)
    for shared in (stitched, apart):
        found = own_features(shared, images())
        torch.stack(
            [found["a"].sum(), found["b"].square().sum(), found["c"].norm()]
        ).sum().backward()
    one, other = (own_features(shared, images()) for shared in (stitched, apart))
    assert all(torch.equal(one[task], other[task]) for task in TASKS)
    for trunk, branch in zip(stitched.backbone.trunk.trunks, apart.branches.values(), strict=True):
        one, other = ([p.grad for p in of.parameters()] for of in (trunk, branch))
        assert one and all(map(torch.equal, one, other))


def test_cross_stitch_mixes_what_the_trunks_give_by_its_matrix():
    double, half = torch.nn.Conv2d(3, 1, 1, bias=False), torch.nn.Conv2d(3, 1, 1, bias=False)
    double.weight.data.fill_(2.0)
    half.weight.data.fill_(0.5)
    unit = CrossStitch([[double, torch.nn.Flatten()], [half, torch.nn.Flatten()]])
    unit.mixing[0].data = torch.tensor([[0.75, 0.25], [0.5, 0.5]])
    # All pixels are 1: the trunks give 6 and 1.5.
    features = unit(torch.ones(1, 3, 1, 1))
    assert features.tolist() == [[[0.75 * 6 + 0.25 * 1.5], [0.5 * 6 + 0.5 * 1.5]]]
    mixture = Mixture(torch.tensor([2.0, -1.0]))
    expected = 2 * features[:, 0] - features[:, 1]
    assert torch.equal(mixture(features, torch.zeros(1, 3, 1, 1)), expected)


def test_cross_stitch_begins_with_nine_tenths_of_a_tasks_own():
    shared = cross_stitch(trunks(), TASKS)
    matrices = [*shared.backbone.trunk.mixing]
    matrices.append(torch.stack([branch.weights for branch in shared.branches.values()]))
    assert len(matrices) == 5  # one for each stage
    expected = torch.full((3, 3), 0.05).fill_diagonal_(0.9)
    assert all(torch.allclose(matrix, expected) for matrix in matrices)


def test_a_gate_is_a_softmax_linear_in_the_pixels():
    gate, pixels = Gate(3 * 32 * 48, 2), images(2)
    features = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]).expand(2, -1, -1)
    shares = gate(features, pixels)
    logits = (pixels.double() / 127.5 - 1).flatten(1) @ gate.scores.weight.double().T
    assert torch.allclose(shares.double(), logits.softmax(1), atol=1e-5)
    assert not torch.allclose(shares[0], shares[1])


def test_experts_begin_with_random_weights_of_their_own_and_the_first_with_the_trunks():
    shared = mmoe(trunks(), TASKS, 3)
    weights = [trunk[0].weight for trunk in shared.backbone.trunk.trunks]
    assert torch.equal(weights[0], trunks().first.trunk[0].weight)
    assert not torch.equal(weights[0], weights[1]) and not torch.equal(weights[1], weights[2])
    assert count(shared.backbone) == 3 * count(trunks().first)


def test_experts_take_a_trunk_without_stages():
    small = Backbone(torch.nn.Sequential(torch.nn.Flatten()), 3 * 32 * 48)
    shared = mmoe(trunks(lambda: copy.deepcopy(small)), TASKS, 2)
    assert own_features(shared, images())["b"].shape == (4, 3 * 32 * 48)


@pytest.mark.parametrize("way", ["split@3", "cross_stitch"])
def test_a_trunk_without_stages_is_an_error_that_says_what_has_some(way):
    ours = trunks(lambda: torchvision_backbone("shufflenet_v2_x0_5"), "shuffle")
    with pytest.raises(MtlfaceError, match=r"'shuffle' has no stages.*resnet18.*sharing=hard"):
        WAYS[way](ours)


def test_a_trunk_without_stages_can_be_had_by_each_task():
    shared = split(trunks(lambda: torchvision_backbone("shufflenet_v2_x0_5")), TASKS, 0)
    assert not list(shared.backbone.parameters()) and count(shared.branches["a"])
