"""What does not fit together is one error before the first step, and before images are packed."""

import pytest
import torch
from torch import nn

from mtlface.errors import MtlfaceError
from mtlface.models import Backbone, scratch
from mtlface.tasks import BinaryTask
from mtlface.training.composition import check_width
from mtlface.training.module import MultiTaskModule
from mtlface.training.run import run

FORTY = ["task=[attributes,gender]", "tasks.attributes.per_attribute=true"]


@pytest.fixture
def refused(composed, tmp_path, monkeypatch):
    """The error of a command that must not take a step."""

    def step(*_):
        pytest.fail("it took a step")

    monkeypatch.setattr(MultiTaskModule, "training_step", step)

    def of(*overrides, experiment="tiny"):
        cfg = composed(f"experiment={experiment}", *overrides)
        with pytest.raises(MtlfaceError) as raised:
            run(cfg, tmp_path / "run", list(overrides))
        return str(raised.value)

    return of


@pytest.mark.parametrize(
    "setting",
    [
        "+trainer.check_val_every_n_epoch=2",
        "+trainer.limit_val_batches=0",
        "+trainer.limit_val_batches=0.0",
        "+trainer.val_check_interval=0.5",
        "+trainer.val_check_interval=1",  # after every batch
        "+trainer.fast_dev_run=true",
    ],
)
def test_a_trainer_that_does_not_validate_after_every_epoch_is_refused(refused, setting):
    for stopping in ("patience=10", "patience=null"):
        message = refused(setting, stopping)
        assert setting.removeprefix("+").split("=")[0] in message
        assert "validates once after every epoch" in message


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "64-true", "transformer-engine"])
def test_half_precision_of_heads_and_losses_is_refused(refused, precision):
    message = refused(f"trainer.precision={precision}")
    assert f"trainer.precision={precision}" in message and "bf16-mixed" in message


@pytest.mark.parametrize("precision", ["32", "32-true", "bf16-mixed", "bf16", "auto"])
def test_precisions_of_the_trunk_train(composed, tmp_path, precision):
    cfg = composed("experiment=tiny", f"trainer.precision={precision}", "trainer.max_epochs=1")
    assert run(cfg, tmp_path, [])["metrics"]


def test_two_tasks_with_a_loss_of_one_name_are_both_named(refused):
    smiling = {
        "_target_": "mtlface.tasks.BinaryTask",
        "label": "gender",
        "head": {"_target_": "mtlface.models.linear_head", "_partial_": True},
        "loss": {"_target_": "torch.nn.BCEWithLogitsLoss", "reduction": "none"},
    }
    text = str(smiling).replace("'", "").replace("True", "true")
    message = refused(*FORTY, f"+tasks.Smiling={text}")
    assert "'attributes' and 'Smiling' both report a loss named 'Smiling'" in message


def test_two_tasks_that_write_one_column_are_both_named(refused):
    message = refused(
        "task=[gender,attributes]", "data.attributes=[Male]", "+tasks.sex=${tasks.gender}"
    )
    assert "'gender' and 'sex' both write a column of the predictions named 'gender'" in message


def test_an_embedding_has_no_mean_to_start_at(refused):
    message = refused(
        "profile=smoke", "trainer=cpu", "backbone=cnn3", "data.root=null",
        "+tasks.identity.start_at_mean=true", experiment="facecom_identity",
    )  # fmt: skip
    assert "'identity' has start_at_mean=true" in message and "embedding" in message


class Reversed(nn.Module):
    """A head whose output layer is not the last that it defines."""

    def __init__(self, in_features, outputs):
        super().__init__()
        self.out = nn.Linear(8, outputs)
        self.hidden = nn.Linear(in_features, 8)

    def forward(self, features):
        return self.out(self.hidden(features).relu())


def test_the_mean_goes_to_the_layer_that_gives_the_output(labels):
    settings = {
        "name": "gender", "label": "gender", "labels": labels, "in_features": 6,
        "frame": (32, 32), "loss": nn.BCEWithLogitsLoss(reduction="none"), "start_at_mean": True,
    }  # fmt: skip
    task = BinaryTask(head=Reversed, **settings)
    hidden = task.head.hidden.bias.detach().clone()
    task.initialise({"gender": torch.tensor([1, 1, 1, 0, -1])})
    assert task.head.out.bias.item() == pytest.approx(torch.tensor(0.75).logit().item())
    assert torch.equal(task.head.hidden.bias, hidden)
    with pytest.raises(MtlfaceError, match="'gender' has start_at_mean=true"):
        BinaryTask(head=lambda d, k: nn.Sequential(nn.Linear(d, k), nn.Tanh()), **settings)


@pytest.fixture
def labels(table):
    return table.labels


def test_a_backbone_that_declares_another_width_is_refused(refused, monkeypatch):
    built = scratch._backbone
    monkeypatch.setattr(scratch, "_backbone", lambda n, trunk, _, p: built(n, trunk, 100, p))
    message = refused()
    assert "declares features=100" in message and "(1, 256)" in message and "cnn3" in message


def test_the_width_is_checked_without_a_trace():
    torch.manual_seed(0)
    trunk = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    backbone = Backbone(trunk, 4).train()
    before, random = str(backbone.state_dict()), torch.get_rng_state()
    check_width(backbone, "own", (16, 16))
    assert str(backbone.state_dict()) == before and backbone.training
    assert torch.equal(torch.get_rng_state(), random)
    with pytest.raises(MtlfaceError, match=r"'own' declares features=4.*\(1, 4, 1, 1\)"):
        check_width(Backbone(trunk[:3], 4), "own", (16, 16))
    with pytest.raises(MtlfaceError, match="cannot take images of 2×2 px"):
        check_width(backbone, "own", (2, 2))
