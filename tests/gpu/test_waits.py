"""How often an ordinary step waits for the device: tables that may only fall."""

import pytest
from pretend_fit import trained_on_the_device

from mtlface.data import loaders
from mtlface.door import config_folder

AGGREGATORS = (
    "aligned_mtl", "cagrad", "cr_mogm", "dualproj", "fairgrad", "gradvac", "imtl_g", "mgda",
    "nash_mtl", "pcd", "pcgrad", "upgrad",
)  # fmt: skip
BALANCERS = {
    **dict.fromkeys(("fixed", "dwa", "imtl_l", "random", "stch", "uncertainty", "gradnorm"), 0),
    "geometric_mean": 1,  # torchjd looks whether a loss is negative
    "famo": 1,
    **dict.fromkeys(AGGREGATORS, 1),
    **dict.fromkeys(("config", "excess_mtl", "graddrop"), 1),  # at the parameters
}
OFTEN_RUN = {"fixed", "uncertainty", "dwa", "famo", "gradnorm", "pcgrad", "config"}
TASKS = {"identity": 0, "identity_arcface": 0, "identity_cosface": 0}


def waits_of(composed, tmp_path, *overrides):
    """The waits of the steps of the second epoch, and where they were."""
    steps, trainer = trained_on_the_device(composed, tmp_path, *overrides)
    assert trainer.strategy.root_device.type == "cuda" and trainer.precision == "bf16-mixed"
    assert len(steps) == 4
    return [len(step.waits) for step in steps], steps[1].waits


def test_the_table_names_every_balancer():
    assert BALANCERS.keys() == {
        path.stem for path in (config_folder() / "balancing").glob("*.yaml")
    }


@pytest.mark.parametrize(
    "balancing",
    [
        name if name in OFTEN_RUN else pytest.param(name, marks=pytest.mark.slow)
        for name in BALANCERS
    ],
)
def test_balancers(composed, tmp_path, balancing):
    counts, waits = waits_of(composed, tmp_path, f"balancing={balancing}", "augment=basic")
    assert max(counts) <= BALANCERS[balancing], waits


@pytest.mark.parametrize("task", TASKS)
def test_tasks(composed, tmp_path, task):
    faces = ("data=facecom", "data.root=null", "data.source=demo")
    few = "data.limit={train: 16, val: 8, test: 8}"
    counts, waits = waits_of(composed, tmp_path, *faces, few, f"task=[gender,{task}]")
    assert max(counts) <= TASKS[task], waits


def test_a_split_that_is_too_large_for_the_device(composed, tmp_path, monkeypatch):
    monkeypatch.setattr(loaders, "SHARE_OF_DEVICE_MEMORY", 0.0)
    counts, waits = waits_of(composed, tmp_path, "augment=strong")
    assert max(counts) == 0, waits


def test_clipping_and_logging_ahead_of_a_frozen_trunk(composed, tmp_path):
    settings = ("trainer.gradient_clip_val=1.0", "finetune=frozen", "scheduler=onecycle")
    counts, waits = waits_of(composed, tmp_path, *settings)
    assert max(counts) == 0, waits
