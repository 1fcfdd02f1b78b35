"""Every preset of conf/balancing trains, resumes, and takes batches with missing labels."""

import copy
import io
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from mtlface.errors import MtlfaceError

CONF = Path(__file__).parents[2] / "conf" / "balancing"
PRESETS = sorted(path.stem for path in CONF.glob("*.yaml"))


def settings(name):
    config = OmegaConf.load(CONF / f"{name}.yaml")
    levels = [config.level, "parameters"] if "level" in config else [None]
    return [(name, level) for level in dict.fromkeys(levels)]


ALL = [setting for name in PRESETS for setting in settings(name)]


def make(name, level, tasks):
    config = OmegaConf.load(CONF / f"{name}.yaml")
    if level is not None:
        config.level = level
    try:
        return instantiate(config, tasks=tasks)
    except Exception as error:
        cause = error if isinstance(error, MtlfaceError) else error.__cause__
        if isinstance(cause, MtlfaceError) and "pip install" in str(cause):
            assert "mtlface[balancing]" in str(cause)
            pytest.skip(str(cause))
        raise


def start(name, level, network, tasks):
    torch.manual_seed(3)
    balancer = make(name, level, tasks)
    net = copy.deepcopy(network)
    optimizer = torch.optim.SGD([*net.parameters(), *balancer.parameters()], lr=0.05)
    return balancer, net, optimizer


def step(balancer, net, optimizer, batch):
    losses, present, features = net(batch)
    out = balancer(losses, present, features, net.shared())
    optimizer.zero_grad()
    out.loss.backward()
    optimizer.step()
    if balancer.needs_losses_after_step:
        with torch.no_grad():
            losses, present, _ = net(batch)
        balancer.update(losses, present)
    return out


def steps(balancer, net, optimizer, batch, numbers):
    # Number 1 lacks gender altogether, number 3 landmarks; an epoch ends after every second.
    outs = []
    for n in numbers:
        outs.append(step(balancer, net, optimizer, batch(n, gender=n != 1, landmarks=n != 3)))
        if n % 2:
            balancer.end_epoch()
    return outs


@pytest.mark.parametrize(("name", "level"), ALL)
def test_trains_with_partial_labels(name, level, network, tasks, batch):
    balancer, net, optimizer = start(name, level, network, tasks)
    outs = steps(balancer, net, optimizer, batch, range(4))
    assert getattr(balancer, "fallbacks", 0) == 0
    for n, out in enumerate(outs):
        assert out.loss.shape == () and out.loss.isfinite()
        assert out.weights.shape == (2,) and not out.weights.requires_grad
        if n == 1:
            assert out.weights[0] == 0
            if out.gramian is not None:
                assert out.gramian[0].isnan().all() and out.gramian[1, 1] > 0
    assert all(p.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize(("name", "level"), ALL)
def test_an_absent_task_has_no_say(name, level, network, tasks, batch):
    balancer, net, _ = start(name, level, network, tasks)
    losses, present, features = net(batch(1, gender=False))
    out = balancer(losses, present, features, net.shared())
    out.loss.backward()
    assert all(p.grad is None or not p.grad.any() for p in net.gender.parameters())
    for parameter in balancer.parameters():
        assert parameter.grad[0] == 0


@pytest.mark.parametrize(("name", "level"), ALL)
def test_a_resumed_run_takes_the_same_steps(name, level, network, tasks, batch):
    balancer, net, optimizer = start(name, level, network, tasks)
    steps(balancer, net, optimizer, batch, range(5))
    file = io.BytesIO()
    torch.save({"balancer": balancer.state_dict(), "net": net.state_dict()}, file)
    expected = steps(balancer, net, optimizer, batch, range(5, 9))

    torch.manual_seed(99)  # the resumed process has other global random numbers
    again = make(name, level, tasks)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again.load_state_dict(saved["balancer"])
    net.load_state_dict(saved["net"])
    optimizer = torch.optim.SGD([*net.parameters(), *again.parameters()], lr=0.05)
    found = steps(again, net, optimizer, batch, range(5, 9))
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(a.loss, b.loss, rtol=0, atol=0)
        torch.testing.assert_close(a.weights, b.weights, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(("name", "level"), ALL)
def test_random_methods_follow_the_seed(name, level, network, tasks, batch):
    runs = []
    for _ in range(2):
        balancer, net, optimizer = start(name, level, network, tasks)
        steps(balancer, net, optimizer, batch, range(3))
        runs.append(torch.cat([p.detach().flatten() for p in net.parameters()]))
    assert torch.equal(*runs)


@pytest.mark.parametrize(("name", "level"), ALL)
def test_one_task_is_left_as_it_is(name, level, network, batch):
    balancer = make(name, level, ("gender",))
    losses, present, features = network(batch(0))
    out = balancer(losses[:1], present[:1], features.detach(), [])
    assert torch.equal(out.loss, losses[0]) and out.weights.tolist() == [1.0]
    assert not balancer.needs_losses_after_step and not list(balancer.parameters())


@pytest.mark.parametrize(("name", "level"), ALL)
def test_with_a_frozen_trunk_the_step_is_the_plain_sum(name, level, network, tasks, batch, grads):
    balancer, fresh = (start(name, level, network, tasks)[0] for _ in range(2))
    network.trunk.requires_grad_(False)
    losses, present, features = network(batch(0))
    out = balancer(losses, present, features, [])
    balancer.update(losses.detach() / 2, present)
    balancer.end_epoch()
    assert out.loss == losses.sum() and out.weights.tolist() == [1, 1] and out.gramian is None
    heads = network.heads()
    assert torch.equal(grads(out.loss, heads), grads(losses.sum(), heads))
    assert all(not grads(out.loss, [own]).any() for own in balancer.parameters())
    # It begins to balance, and to learn, when the trunk does.
    network.trunk.requires_grad_(True)
    losses, present, features = network(batch(0))
    found, expected = (b(losses, present, features, network.shared()) for b in (balancer, fresh))
    torch.testing.assert_close(found.weights, expected.weights, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(("name", "level"), ALL)
def test_a_batch_without_labels_gives_a_step_of_zero(name, level, network, tasks, batch, grads):
    balancer = make(name, level, tasks)
    losses, present, features = network(batch(0, gender=False, landmarks=False))
    out = balancer(losses, present, features, network.shared())
    assert out.loss == 0 and not grads(out.loss, list(network.parameters())).any()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "level"), ALL)
def test_forty_tasks(name, level, batch):
    torch.manual_seed(0)
    trunk, head = torch.nn.Linear(6, 5), torch.nn.Linear(5, 40)
    balancer = make(name, level, tuple(f"attribute{k}" for k in range(40)))
    features = trunk(batch(0)["image"])
    labels = (torch.rand(7, 40, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    losses = torch.nn.functional.binary_cross_entropy_with_logits(
        head(features), labels, reduction="none"
    ).mean(dim=0)
    out = balancer(losses, torch.ones(40, dtype=torch.bool), features, list(trunk.parameters()))
    out.loss.backward()
    assert out.weights.shape == (40,) and trunk.weight.grad.isfinite().all()


@pytest.mark.parametrize("name", PRESETS)
def test_opens_with_the_word_when_to_choose_it(name):
    first = (CONF / f"{name}.yaml").read_text().splitlines()[0]
    assert first.startswith("# Choose this ")
