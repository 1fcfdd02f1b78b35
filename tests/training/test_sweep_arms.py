"""Every arm of every sweep, as the full profile composes it, takes a step frozen and unfrozen."""

import functools
import math

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from lightning import Callback, Trainer
from omegaconf import OmegaConf

from mtlface.door import config_folder
from mtlface.training.build import build_datamodule, build_module
from mtlface.training.callbacks import Finetuning
from mtlface.training.run import run
from mtlface.training.sweeps.plan import combinations

CONF = config_folder()
SWEEPS = sorted(path.stem for path in (CONF / "sweep").glob("*.yaml"))
# The profile is the full one; what is small is the data, and the trunk, which no balancer knows.
SMALL = (
    "profile=full", "backbone=cnn3_bn", "pretrained=false", "augment=none", "trainer=cpu",
    "data.source=demo", "data.limit={train: 16, val: 8, test: 8}", "data.draw=null",
    "data.image_size=[32,32]", "data.batch_size=8", "figures=false",
    "trainer.enable_progress_bar=false", "trainer.max_epochs=2",
)  # fmt: skip


@functools.cache
def composed(*overrides):
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", list(overrides))


def arms(sweep):
    """The choices of each arm of a sweep, without its seeds."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        master = compose("train", [f"sweep={sweep}", "seed=0"], return_hydra_config=True)
        master.hydra.overrides.task = ["seed=0"]
    return [tuple(c for c in chosen if c != "seed=0") for chosen in combinations(master)]


def kinds(sweep):
    """One arm of each kind: weights and single attributes that differ make no other step."""
    found = {}
    for arm in arms(sweep):
        named = dict(choice.split("=", 1) for choice in arm)
        balancing = named.pop("balancing", None)
        experiment = named.pop("experiment")
        key = (experiment, balancing, *sorted(named))
        found.setdefault(key, (experiment, balancing, [f"{k}={v}" for k, v in named.items()]))
    return list(found.values())


@functools.cache
def data_of(name, attributes, cache):
    cfg = composed(f"experiment={name}", *SMALL, f"data.cache={cache}", *attributes)
    return cfg, build_datamodule(cfg)


class Learning(Callback):
    """Notes which losses and weights each step has, and whether the trunk learns in it."""

    def __init__(self):
        self.steps = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        learns = any(p.requires_grad for p in pl_module.backbone.parameters())
        self.steps.append((learns, float(outputs["loss"]), pl_module.last_balanced.weights))


def two_steps(experiment, balancing, others, cache):
    """A step with the trunk frozen, and one with a trunk that learns."""
    cfg, datamodule = data_of(experiment, tuple(others), cache)
    cfg = cfg.copy()
    if balancing is not None:
        cfg.balancing = OmegaConf.load(CONF / "balancing" / f"{balancing}.yaml")
    module = build_module(cfg, datamodule.table.labels)
    tasks = module.tasks.values()
    datamodule.batch_labels = tuple(n for task in tasks for n in task.batch_labels)
    for task in tasks:
        task.initialise(datamodule.split("train").targets)
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    seen = Learning()
    trainer = Trainer(
        accelerator="cpu", max_epochs=2, limit_train_batches=1, limit_val_batches=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False, num_sanity_val_steps=0,
        callbacks=[Finetuning(frozen_epochs=1), seen],
    )  # fmt: skip
    trainer.fit(module, datamodule)
    (frozen, first, weights), (learns, second, _) = seen.steps
    assert not frozen and learns and math.isfinite(first) and math.isfinite(second)
    # With a share of a label's values a batch may have none of it.
    shares = any(choice.startswith("data.label_fraction=") for choice in others)
    assert weights.eq(1).all() or (shares and weights.eq(1).any())
    assert all(p.isfinite().all() for p in module.parameters())
    moved = {name for name, p in module.named_parameters() if not torch.equal(p, before[name])}
    assert any(name.startswith("backbone.") for name in moved), "the trunk did not learn"


@pytest.mark.parametrize("sweep", SWEEPS)
def test_every_kind_of_arm_takes_a_step_frozen_and_one_unfrozen(sweep, cache):
    failed = {}
    for arm in kinds(sweep):
        try:
            two_steps(*arm, cache)
        except Exception as error:
            failed[" ".join(map(str, arm))] = f"{type(error).__name__}: {error}"
    assert not failed, "\n".join(f"{arm}: {error}" for arm, error in failed.items())


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("sweep", SWEEPS)
def test_every_arm_trains_frozen_and_then_unfrozen(sweep, cache, tmp_path):
    for k, arm in enumerate(arms(sweep)):
        overrides = [*arm, *SMALL, "finetune=two_phase", f"data.cache={cache}"]
        overrides += ["two_phase={frozen_epochs: 1, unfrozen_lr: 1e-4}"]
        folder = tmp_path / str(k)
        assert run(composed(*overrides), folder, overrides)["metrics"], overrides
