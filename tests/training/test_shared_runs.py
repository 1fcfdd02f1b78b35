"""Runs with each way of sharing: twins bit for bit, balancing, resume, cost, identity."""

import json
import warnings

import pytest
import torch
from forked_runs import STEPS, assert_same_run, at_step, log_of
from forked_runs import train as start

from mtlface.errors import MtlfaceError
from mtlface.training.arm import only_task
from mtlface.training.build import build_datamodule, build_module
from mtlface.training.config_schema import check_values
from mtlface.training.identity import fingerprint, identity
from mtlface.training.run import run

TASKS = ("gender", "landmarks")
SHARINGS = ("hard", "split@0", "split@2", "cross_stitch", "mmoe@2")


@pytest.fixture
def built(composed):
    """A module and a batch of its data for these overrides."""

    def of(*overrides):
        cfg = only_task(composed("experiment=tiny", *overrides))
        datamodule = build_datamodule(cfg)
        torch.manual_seed(0)
        module = build_module(cfg, datamodule.table.labels)
        tasks = module.tasks.values()
        datamodule.batch_labels = tuple(n for task in tasks for n in task.batch_labels)
        return module, next(iter(datamodule.train_dataloader()))

    return of


@pytest.fixture
def trained(composed, tmp_path):
    """The folder and the result of a run."""

    def of(*overrides, folder=None):
        place = tmp_path / (folder or f"run{len(list(tmp_path.iterdir()))}")
        run(composed("experiment=tiny", *overrides), place, list(overrides))
        return place, json.loads((place / "result.json").read_text())

    return of


def weights_of(folder):
    path = folder / "checkpoints" / "last.ckpt"
    return torch.load(path, map_location="cpu", weights_only=True)["state_dict"]


def of_task(weights, task):
    """A task's trunk and head, whether it has them alone or beside others."""
    own = {f"branches.{task}.trunk.": "backbone.trunk.", f"tasks.{task}.": f"tasks.{task}."}
    own["backbone.trunk."] = "backbone.trunk."
    return {
        new + name.removeprefix(old): tensor
        for old, new in own.items()
        for name, tensor in weights.items()
        if name.startswith(old)
    }


@pytest.mark.parametrize(
    "overrides",
    [
        ("optimizer=adam",),
        ("optimizer=adamw", "backbone=cnn3_bn", "augment=strong"),
        ("optimizer=sgd", "optimizer.lr=1e-3", "optimizer.momentum=0.9", "backbone=resnet18"),
        ("finetune=two_phase", "two_phase={frozen_epochs: 1, unfrozen_lr: 1e-3}"),
    ],
)
def test_tasks_that_share_no_stage_learn_what_their_twins_learn_bit_for_bit(trained, overrides):
    folder, _ = trained("sharing=split@0", *overrides)
    together = weights_of(folder)
    for task in TASKS:
        folder, result = trained("sharing=split@0", f"only={task}", *overrides)
        twin = of_task(weights_of(folder), task)
        found = of_task(together, task)
        assert result["budget"]["epochs"] == 2
        assert found.keys() == twin.keys() and len(found) > 8
        assert all(torch.equal(found[name], tensor) for name, tensor in twin.items())


def test_each_task_begins_with_the_head_of_its_twin_unless_all_is_shared(built):
    def head(*overrides):
        return built(*overrides)[0].tasks["landmarks"].head.weight

    twin = head("only=landmarks")
    for sharing in ("split@0", "split@2", "cross_stitch", "mmoe"):
        assert torch.equal(head(f"sharing={sharing}"), twin)
    assert torch.equal(head("sharing=hard"), head("sharing=split@4"))
    assert not torch.equal(head("sharing=hard"), twin)


def test_all_stages_shared_is_one_trunk_bit_for_bit(trained):
    hard, split = (weights_of(trained(f"sharing={way}")[0]) for way in ("hard", "split@4"))
    assert hard.keys() == split.keys()
    assert all(torch.equal(hard[name], tensor) for name, tensor in split.items())


@pytest.mark.parametrize("sharing", SHARINGS)
def test_every_parameter_has_a_gradient(built, sharing):
    module, batch = built(f"sharing={sharing}", "backbone=cnn3_bn")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # among others of a slow second way to the gradients
        module.training_step(batch, 0).backward()
    lacking = [name for name, p in module.named_parameters() if p.grad is None]
    assert not lacking
    assert all(p.grad.isfinite().all() for p in module.parameters())


METHODS = ("upgrad", "upgrad balancing.level=parameters", "gradnorm", "uncertainty", "graddrop")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sharing", SHARINGS)
def test_methods_balance_what_is_shared_and_leave_the_rest_to_its_task(built, sharing, method):
    overrides = (f"sharing={sharing}", *f"balancing={method}".split(), "backbone=cnn3_bn")
    module, batch = built(*overrides)
    plain, _ = built(f"sharing={sharing}", "backbone=cnn3_bn")
    module.training_step(batch, 0).backward()
    plain.training_step(batch, 0).backward()
    found, expected = (
        {name: p.grad for name, p in m.named_parameters() if not name.startswith("balancer.")}
        for m in (module, plain)
    )
    balanced = {
        name
        for name, grad in expected.items()
        if not torch.allclose(found[name], grad, rtol=1e-3, atol=1e-6)
    }
    shared = {name for name in found if name.startswith("backbone.")}
    if not shared:  # nothing to balance: the plain sum
        assert not balanced
    elif method in ("upgrad balancing.level=parameters", "graddrop"):
        # The two losses pull apart somewhere in what they share.
        assert balanced and balanced <= shared
    else:
        assert balanced <= shared or method == "uncertainty"
    gramian = module.last_balanced.gramian
    assert (gramian is None) == (not shared or method == "uncertainty")


def test_the_gradients_of_a_split_are_compared_after_its_last_shared_stage(built):
    module, batch = built("sharing=split@2", "balancing=pcgrad", "backbone=cnn3_bn")
    module.training_step(batch, 0)
    again, _ = built("sharing=split@2", "backbone=cnn3_bn")
    features = again.features(batch["image"])
    assert features.shape == (8, 64, 8, 8)  # two of the three blocks, each pooled by 2
    losses, _ = again.losses(again.heads(features, batch["image"]), batch, of_training=True)
    rows = [torch.autograd.grad(loss, features, retain_graph=True)[0].flatten() for loss in losses]
    expected = torch.stack(rows)
    found = module.last_balanced.gramian
    torch.testing.assert_close(found, expected @ expected.T, rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("sharing", ["split@2", "cross_stitch", "mmoe@2"])
def test_a_frozen_trunk_stands_still_in_all_of_its_parts(trained, sharing):
    folder, _ = trained(f"sharing={sharing}", "backbone=cnn3_bn", "finetune=frozen")
    before, _ = trained(
        f"sharing={sharing}", "backbone=cnn3_bn", "finetune=frozen", "optimizer.lr=1e-9"
    )
    one, other = weights_of(folder), weights_of(before)
    still = [name for name in one if ".trunk." in name]
    assert any(name.startswith("branches.") for name in still) == sharing.startswith("split")
    assert all(torch.equal(one[name], other[name]) for name in still)
    assert not torch.equal(one["tasks.gender.head.weight"], other["tasks.gender.head.weight"])


@pytest.mark.slow
def test_the_cost_of_a_way_of_sharing_is_reported(trained):
    cost = {}
    for sharing in ("hard", "split@2", "split@0", "mmoe@2"):
        _, result = trained(f"sharing={sharing}", "backbone=cnn9")
        found = (
            result["model"]["parameters"],
            result["budget"]["flops"] / result["budget"]["images"],
        )
        cost[sharing] = found
    twins = [
        (r["model"]["parameters"], r["budget"]["flops"] / r["budget"]["images"])
        for r in (trained(f"only={task}", "backbone=cnn9")[1] for task in TASKS)
    ]
    assert cost["split@0"] == pytest.approx(tuple(map(sum, zip(*twins, strict=True))), rel=1e-9)
    for axis in (0, 1):
        assert cost["hard"][axis] < cost["split@2"][axis] < cost["split@0"][axis]
        assert cost["mmoe@2"][axis] > cost["hard"][axis] * 1.9


def test_a_single_task_is_one_network_whatever_the_sharing(composed, built):
    alone = [
        fingerprint(identity(only_task(composed("experiment=tiny", "only=gender", *more))))
        for more in ([], *([f"sharing={way}"] for way in ("split@0", "cross_stitch", "mmoe")))
    ]
    assert len(set(alone)) == 1
    hard, split = (built("only=gender", f"sharing={way}")[0] for way in ("hard", "split@1"))
    assert hard.state_dict().keys() == split.state_dict().keys()


def test_a_sharing_is_another_run_with_one_spelling_each(composed):
    def found(*overrides):
        return fingerprint(identity(composed("experiment=tiny", *overrides)))

    ways = ("hard", "split@0", "split@1", "cross_stitch", "mmoe", "mmoe@2")
    assert len({found(f"sharing={way}") for way in ways}) == len(ways)
    assert found("sharing=mmoe") == found("sharing=mmoe@4")
    assert found() == found("sharing=hard") == found("~sharing")  # runs of before the key


@pytest.mark.parametrize(
    "value",
    ["soft", "split", "split@", "split@-1", "split@02", "mmoe@1", "mmoe@65", "hard@1", "null"],
)
def test_a_wrong_sharing_is_an_error_that_names_the_ways(composed, value):
    with pytest.raises(MtlfaceError, match=r"sharing=.*expected hard, split@.*cross_stitch, mmoe"):
        check_values(composed("experiment=tiny", f"sharing={value}"))


def test_a_stage_that_the_trunk_lacks_is_an_error_that_lists_its_stages(built):
    with pytest.raises(MtlfaceError, match=r"'resnet18' has 5 stages \(1 stem, 2 layer1"):
        built("sharing=split@6", "backbone=resnet18")


@pytest.mark.parametrize(
    "sharing",
    [
        pytest.param("split@2", marks=pytest.mark.slow),
        "cross_stitch",
        pytest.param("mmoe@2", marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_ends_like_one_that_was_not(faces, cache, tmp_path, sharing):
    data = [f"data.root={faces}", f"data.cache={cache}", f"sharing={sharing}", "balancing=upgrad"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    assert start(whole, data) == 0, log_of(whole)
    assert start(killed, data, at_step, STEPS + 1) < 0
    assert start(killed, data) == 0, log_of(killed)
    assert "Going on from epoch" in log_of(killed)
    assert_same_run(killed, whole)
