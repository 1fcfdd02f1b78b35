"""The fast way to take a step changes how long it takes, and nothing else."""

import copy

import pytest
import torch
from hydra.utils import instantiate
from lightning import Callback, Trainer
from torch import nn

from mtlface.data.loaders import worker_loader
from mtlface.data.sampler import BatchSampler
from mtlface.errors import MtlfaceError
from mtlface.models import untracked_batchnorm
from mtlface.training.build import build_datamodule, build_module

QUIET = {
    "accelerator": "cpu", "logger": False, "enable_checkpointing": False,
    "enable_progress_bar": False, "enable_model_summary": False,
    "use_distributed_sampler": False, "num_sanity_val_steps": 0, "limit_val_batches": 0,
}  # fmt: skip


@pytest.fixture
def built(composed):
    """A module and its data for these overrides, with weights that depend on the seed alone."""

    def of(*overrides):
        cfg = composed("experiment=tiny", "backbone=cnn3_bn", *overrides)
        datamodule = build_datamodule(cfg)
        torch.manual_seed(0)
        module = build_module(cfg, datamodule.table.labels)
        tasks = module.tasks.values()
        datamodule.batch_labels = tuple(n for task in tasks for n in task.batch_labels)
        return module, datamodule

    return of


class Losses(Callback):
    def __init__(self):
        self.found = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.found.append(outputs["loss"].item())


def fit(module, datamodule, *callbacks, **settings):
    Trainer(callbacks=[*callbacks], max_epochs=2, **QUIET | settings).fit(module, datamodule)


def batchnorms(module):
    return [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]


def plain_losses(module, datamodule, clip=None):
    """The loop that one writes by hand: contiguous weights, a loader, an unfused optimizer."""
    module.to(memory_format=torch.contiguous_format).train()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    split = datamodule.split("train")
    sampler = BatchSampler(len(split), datamodule.batch_size, datamodule.seed, train=True)
    found = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        for batch in worker_loader(split, sampler, None, workers=0, pin_memory=False):
            batch["image"] = batch["image"].contiguous()
            features = module.backbone(batch["image"])
            losses, _ = module.losses(module.heads(features, batch["image"]), batch)
            losses.sum().backward()
            if clip:
                nn.utils.clip_grad_norm_(module.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad()
            found.append(losses.sum().item())
    return found


@pytest.mark.parametrize("clip", [None, 0.5])
def test_the_fast_path_has_the_losses_of_the_plain_one(built, clip):
    module, datamodule = built("data.loader=device")
    plain = plain_losses(copy.deepcopy(module), datamodule, clip)
    assert module.backbone.trunk[0].weight.is_contiguous(memory_format=torch.channels_last)
    losses = Losses()
    fit(module, datamodule, losses, gradient_clip_val=clip)
    assert len(plain) == 4 and len({round(loss, 5) for loss in plain}) == 4
    # Adam turns rounding, which is the CPU's own, into steps: 2e-4 was seen.
    assert losses.found == pytest.approx(plain, rel=1e-3)


def test_gradients_are_clipped_in_half_precision_too(built):
    module, datamodule = built("optimizer=sgd", "optimizer.lr=1.0")
    before = torch.cat([p.detach().flatten().clone() for p in module.parameters()])
    settings = {"precision": "bf16-mixed", "gradient_clip_val": 1e-6, "max_steps": 1}
    fit(module, datamodule, **settings)
    after = torch.cat([p.detach().flatten() for p in module.parameters()])
    assert 0 < (after - before).abs().max() < 1e-2


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_every_optimizer_steps_all_parameters_in_one_kernel(built, name):
    module, _ = built(f"optimizer={name}")
    optimizer = module.configure_optimizers()
    assert optimizer.param_groups[0]["fused"]
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in module.parameters()}


def test_learned_task_weights_do_not_decay(built):
    module, _ = built("optimizer=adamw", "optimizer.weight_decay=0.5", "balancing=uncertainty")
    network, balancing = module.configure_optimizers().param_groups
    assert network["weight_decay"] == 0.5 and balancing["weight_decay"] == 0
    assert [id(p) for p in balancing["params"]] == [id(p) for p in module.balancer.parameters()]


class Watched(Callback):
    """Counts what the balancer is shown, and what BatchNorm has seen, after every batch."""

    def __init__(self, module):
        self.shown, self.seen = [], []
        self.calls = 0
        update = module.balancer.update

        def counted(losses, present):
            self.calls += 1
            update(losses, present)

        module.balancer.update = counted

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.shown.append(self.calls)
        self.seen.append([int(b.num_batches_tracked) for b in batchnorms(pl_module)])


def test_a_second_look_at_a_batch_follows_the_optimizer_and_leaves_no_trace(built):
    module, datamodule = built("balancing=famo", "data.batch_size=4")
    watched = Watched(module)
    # 4 batches an epoch, a step every 2; Lightning calls the module after the callback.
    fit(module, datamodule, watched, accumulate_grad_batches=2)
    assert watched.shown == [0, 0, 1, 1, 2, 2, 3, 3] and watched.calls == 4
    layers = len(batchnorms(module))
    assert layers and watched.seen == [[n] * layers for n in range(1, 9)]


def test_untracked_batchnorm_normalises_by_the_batch_and_remembers_nothing(built):
    module, datamodule = built()
    images = datamodule.split("train").images(torch.arange(8).numpy())
    images = torch.from_numpy(images).permute(0, 3, 1, 2)
    backbone = module.backbone.train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    with untracked_batchnorm(backbone):
        found = backbone(images)
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())
    assert torch.equal(found, backbone(images))  # which now remembers
    after = backbone.state_dict()
    assert any(not torch.equal(before[name], value) for name, value in after.items())


def test_compiling_renames_nothing(built):
    eager, _ = built()
    compiled, _ = built("compile=true")
    assert compiled.backbone._compiled_call_impl is not None
    assert eager.backbone._compiled_call_impl is None
    assert list(compiled.state_dict()) == list(eager.state_dict())
    eager.load_state_dict(compiled.state_dict())


def test_a_compiled_backbone_cannot_go_backward_once_a_task(built):
    with pytest.raises(MtlfaceError, match="Take compile=false, or"):
        built("compile=true", "balancing=pcgrad", "balancing.level=parameters")
    built("compile=true", "balancing=pcgrad", "balancing.level=parameters", "task=[gender]")


@pytest.mark.slow
@pytest.mark.parametrize("balancing", ["fixed", "pcgrad", "famo"])
def test_compiled_losses_are_the_eager_ones(built, balancing):
    found = []
    for compiled in ("true", "false"):
        torch._dynamo.reset()
        module, datamodule = built(f"compile={compiled}", f"balancing={balancing}")
        losses = Losses()
        fit(module, datamodule, losses)
        found.append(losses.found)
    assert found[0] == pytest.approx(found[1], rel=1e-3)


def test_cudnn_tries_its_algorithms_out(composed, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    instantiate(composed("experiment=tiny").trainer, precision="32-true", logger=False)
    assert torch.backends.cudnn.benchmark
