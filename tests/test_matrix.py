"""Every data set feeds every task that it has labels for, on every family of backbones."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig

from mtlface.data.schema import Binary, Category, Label, Labels, Multilabel, Number, Points
from mtlface.door import config_folder
from mtlface.training.build import build_module

CONF = config_folder()
PICTURES, SIDE = 4, 32
DATA = {"celeba": "data.reader.identity=true", "agegender": "seed=0", "facecom": "seed=0"}
# One of each family: what differs within one is depth.
BACKBONES = (
    "cnn3",
    "cnn9",
    "resnet18",
    "resnet18_cbam",
    "timm",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "convnext_tiny",
    "vit_b_16",
)
TASKS = sorted(
    str(path.relative_to(CONF / "task").with_suffix(""))
    for path in (CONF / "task").rglob("[!_]*.yaml")
)


@cache
def composed(*overrides: str) -> DictConfig:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", [f"data.image_size=[{SIDE},{SIDE}]", *overrides])


@cache
def labels_of(data: str) -> Labels:
    """What the reader will give, with five classes where only the data can name them."""
    labels = instantiate(composed(f"data={data}", DATA[data]).data.reader).labels()
    people = tuple("abcde")
    return Labels(
        replace(label, classes=people)
        if isinstance(label, Category) and not label.classes
        else label
        for label in labels.values()
    )


def task_config(preset: str) -> tuple[str, DictConfig]:
    ((name, task),) = composed(f"task=[{preset}]").tasks.items()
    return name, task


def fed_by(data: str) -> list[str]:
    """The task presets whose label this data has."""
    found = []
    for preset in TASKS:
        _, task = task_config(preset)
        label = labels_of(data).get(task.label)
        if label is not None and isinstance(label, get_class(task._target_).label_type):
            found.append(preset)
    return found


def targets(label: Label) -> torch.Tensor:
    """Random labels as a batch has them; that of the last picture is missing."""
    match label:
        case Binary():
            found = torch.randint(0, 2, (PICTURES,))
        case Category():
            found = torch.randint(0, len(label.classes), (PICTURES,))
        case Multilabel():
            found = torch.randint(0, 2, (PICTURES, len(label.names)))
        case Number():
            found = label.low + (label.high - label.low) * torch.rand(PICTURES)
        case Points():
            found = SIDE * torch.rand(PICTURES, len(label.names), 2)
    found[-1] = label.missing
    return found


@cache
def backbone_of(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return instantiate(composed(f"backbone={name}").backbone)


def test_every_task_is_fed_by_some_data():
    assert {preset for data in DATA for preset in fed_by(data)} == set(TASKS)


def test_every_backbone_belongs_to_a_family_that_is_tried():
    families = {name.split("_")[0].rstrip("0123456789") for name in BACKBONES}
    present = {path.stem for path in Path(CONF / "backbone").glob("*.yaml")}
    assert {name.split("_")[0].rstrip("0123456789") for name in present} == families


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("data", DATA)
def test_one_step_of_every_task(data, backbone):
    torch.manual_seed(0)
    labels, trunk = labels_of(data), backbone_of(backbone)
    trunk.zero_grad()
    size = torch.tensor([[178.0, 218.0]]).expand(PICTURES, -1)
    batch = {"size": size, **{label.name: targets(label) for label in labels.values()}}
    features = trunk(torch.randint(0, 256, (PICTURES, 3, SIDE, SIDE), dtype=torch.uint8))
    assert features.shape == (PICTURES, trunk.features)
    total = torch.zeros(())
    for preset in fed_by(data):
        name, config = task_config(preset)
        # Partial first: as arguments of instantiate, objects would be turned into configs.
        task = instantiate(config, _partial_=True)(
            name=name, labels=labels, in_features=trunk.features, frame=(SIDE, SIDE)
        )
        assert set(task.batch_labels) <= set(batch)
        output = task(features)
        losses, known = task.losses(output, batch)
        assert losses.shape == known.shape == (len(task.loss_names),)
        assert losses.isfinite().all(), preset
        assert (known > 0).all(), preset
        total = total + losses.sum()
        columns = task.columns(output.detach(), size)
        assert list(columns) == list(task.prediction_columns)
        assert all(len(values) == PICTURES for values in columns.values())
        error = task.error(output.detach(), batch)
        assert np.isnan(error.numpy()).tolist() == [False] * (PICTURES - 1) + [True]
    total.backward()
    gradients = [p.grad for p in trunk.parameters() if p.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


# Of every kind of task one, in sets that one data set can teach together.
TOGETHER = {
    "[attributes,landmarks,identity]": "celeba",
    "[gender,landmarks,identity_arcface]": "celeba",
    "[age,gender,race]": "agegender",
    "[age_corn,gender]": "agegender",
}
WITH_STAGES = ("cnn3", "resnet18", "resnet18_cbam", "mobilenet_v3_small")


@pytest.mark.parametrize("sharing", ["hard", "split@0", "split@2", "cross_stitch", "mmoe@2"])
@pytest.mark.parametrize("backbone", WITH_STAGES)
@pytest.mark.parametrize("tasks", TOGETHER)
def test_one_step_of_tasks_that_share_in_every_way(tasks, backbone, sharing):
    torch.manual_seed(0)
    data = TOGETHER[tasks]
    labels = labels_of(data)
    choices = (f"data={data}", f"task={tasks}", f"backbone={backbone}", f"sharing={sharing}")
    module = build_module(composed(*choices, "trainer=cpu"), labels).train()
    size = torch.tensor([[178.0, 218.0]]).expand(PICTURES, -1)
    batch = {"size": size, **{label.name: targets(label) for label in labels.values()}}
    batch["image"] = torch.randint(0, 256, (PICTURES, 3, SIDE, SIDE), dtype=torch.uint8)
    outputs = module(batch["image"])
    assert list(outputs) == list(module.tasks) and len(outputs) > 1
    for name, output in outputs.items():
        task = module.tasks[name]
        assert output.shape[0] == PICTURES and output.shape[1] >= task.outputs
        assert output.isfinite().all()
        columns = task.columns(output.detach(), size)
        assert all(len(values) == PICTURES for values in columns.values())
    loss = module.training_step(batch, 0)
    assert loss.isfinite()
    loss.backward()
    gradients = {name: p.grad for name, p in module.named_parameters()}
    # What a task has for itself is reached by its own loss alone, so that none may be idle.
    idle = [name for name, found in gradients.items() if found is None]
    assert not idle
    assert all(found.isfinite().all() for found in gradients.values())
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    torch.optim.SGD(module.parameters(), lr=0.1).step()
    moved = {n.split(".trunk.")[0] for n, p in module.named_parameters() if (p != before[n]).any()}
    parts = {n.split(".trunk.")[0] for n in before}
    assert moved == parts
