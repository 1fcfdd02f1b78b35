"""The module adds nothing of its own to its tasks, and a bad loss has a name."""

import copy

import pytest
import torch
from lightning import Callback, Trainer

from mtlface.errors import MtlfaceError
from mtlface.training.build import build_datamodule, build_module
from mtlface.training.callbacks import Finetuning, StopOnBadLoss
from mtlface.training.checkpoint_writer import CheckpointWriter
from mtlface.training.run_folder import RunFolder


@pytest.fixture
def built(composed):
    """A module and its data for these overrides, with weights that depend on the seed alone."""

    def of(*overrides):
        cfg = composed("experiment=tiny", *overrides)
        datamodule = build_datamodule(cfg)
        torch.manual_seed(0)
        module = build_module(cfg, datamodule.table.labels)
        tasks = module.tasks.values()
        datamodule.batch_labels = tuple(n for task in tasks for n in task.batch_labels)
        return module, datamodule

    return of


def first_batch(datamodule):
    return next(iter(datamodule.train_dataloader()))


def gradients(module):
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


def fit(module, datamodule, *callbacks, **settings):
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False, num_sanity_val_steps=0,
        callbacks=[*callbacks], **settings,
    )  # fmt: skip
    trainer.fit(module, datamodule)


@pytest.mark.parametrize("balancing", ["fixed", "uncertainty", "pcgrad", "gradnorm", "famo"])
def test_a_module_with_one_task_steps_as_the_task_alone(built, balancing):
    module, datamodule = built("task=[gender]", f"balancing={balancing}")
    alone = copy.deepcopy(module)
    batch = first_batch(datamodule)
    loss = module.training_step(batch, 0)
    loss.backward()
    task = alone.tasks["gender"]
    expected = task.losses(task(alone.backbone(batch["image"])), batch)[0].sum()
    expected.backward()
    assert torch.equal(loss, expected)
    found, wanted = gradients(module), gradients(alone)
    assert found.keys() == wanted.keys() and found
    assert all(torch.equal(found[name], wanted[name]) for name in found)


def test_the_fixed_step_of_two_tasks_is_the_sum_of_their_weighted_losses(built):
    module, datamodule = built("tasks.gender.weight=0.5")
    batch = first_batch(datamodule)
    losses, counts = module.losses(module(batch["image"]), batch)
    assert module.loss_names == ("gender", "landmarks")
    assert counts.tolist() == [8, 80]
    assert module.training_step(batch, 0).item() == pytest.approx(losses.sum().item())


def test_a_task_without_labels_in_the_batch_moves_nothing(built):
    module, datamodule = built()
    batch = first_batch(datamodule)
    batch["landmarks"] = torch.full_like(batch["landmarks"], torch.nan)
    module.training_step(batch, 0).backward()
    assert all((p.grad == 0).all() for p in module.tasks["landmarks"].parameters())
    alone, _ = built("task=[gender]")
    alone.load_state_dict(module.state_dict(), strict=False)
    alone.training_step(batch, 0).backward()
    for name, gradient in gradients(alone).items():
        torch.testing.assert_close(gradients(module)[name], gradient)


def test_accumulated_steps_are_the_step_of_the_whole_batch(built):
    ends = []
    for size, several in ((8, 1), (4, 2), (2, 4)):
        module, datamodule = built(f"data.batch_size={size}", "optimizer=sgd")
        fit(module, datamodule, max_epochs=2, accumulate_grad_batches=several)
        ends.append(torch.cat([p.detach().flatten() for p in module.parameters()]))
    start = torch.cat([p.detach().flatten() for p in built()[0].parameters()])
    assert (ends[0] - start).abs().max() > 1e-2
    torch.testing.assert_close(ends[1], ends[0], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(ends[2], ends[0], rtol=1e-3, atol=1e-5)


class Poison(Callback):
    """Breaks one task's head at one step."""

    def __init__(self, task, step):
        self.task, self.step = task, step

    def on_train_batch_start(self, trainer, pl_module, *_):
        if trainer.global_step == self.step:
            with torch.no_grad():
                pl_module.tasks[self.task].head.bias.fill_(torch.nan)


@pytest.mark.parametrize("every", [1, 100])
@pytest.mark.parametrize(("task", "step"), [("landmarks", 2), ("gender", 1)])
def test_a_loss_that_is_no_number_is_named_with_its_step(built, tmp_path, every, task, step):
    module, datamodule = built("data.batch_size=4")
    with pytest.raises(MtlfaceError, match=rf"loss of '{task}' .* since step {step} \(epoch 0\)"):
        stop = StopOnBadLoss(every, CheckpointWriter(RunFolder(tmp_path)))
        fit(module, datamodule, Poison(task, step), stop, max_epochs=2)


def test_the_validation_loss_is_the_mean_over_labels_however_they_are_batched(built):
    class Recorder(Callback):
        def on_validation_end(self, trainer, pl_module):
            self.found = {name: float(value) for name, value in trainer.callback_metrics.items()}

    found = []
    for size in (4, 3, 1):
        module, datamodule = built(f"data.batch_size={size}")
        split = datamodule.split("val")
        split._targets["gender"][[0, 2]] = -1
        datamodule.split = lambda name, split=split: split
        recorder = Recorder()
        trainer = Trainer(
            accelerator="cpu", logger=False, enable_progress_bar=False, callbacks=[recorder]
        )
        trainer.validate(module, datamodule, verbose=False)
        found.append(recorder.found)
        whole = split.batch(torch.arange(4).numpy())
        losses, counts = module.losses(module(whole["image"]), whole)
        assert counts.tolist() == [2, 40]
        assert recorder.found["val/loss/gender"] == pytest.approx(losses[0].item(), rel=1e-5)
        assert recorder.found["val/loss"] == pytest.approx(losses.sum().item(), rel=1e-5)
    assert found[0] == pytest.approx(found[1], rel=1e-5, nan_ok=True)
    assert found[0] == pytest.approx(found[2], rel=1e-5, nan_ok=True)


def test_the_second_phase_says_which_rate_takes_the_place_of_the_first(built, caplog):
    module, datamodule = built()
    rates = []

    class Rates(Callback):
        def on_train_batch_start(self, trainer, *_):
            learns = all(p.requires_grad for p in trainer.model.backbone.trunk.parameters())
            rates.append((trainer.optimizers[0].param_groups[0]["lr"], learns))

    with caplog.at_level("INFO", logger="mtlface"):
        fit(module, datamodule, Finetuning(1, unfrozen_lr=1e-4), Rates(), max_epochs=2)
    assert sorted(set(rates)) == [(1e-4, True), (1e-3, False)]
    said = [message for message in caplog.messages if "unfrozen_lr" in message]
    assert said == [
        "The trunk learns from epoch 2 on, at finetune.unfrozen_lr=0.0001 instead of 0.001."
    ]


STEPS, EPOCHS = 2, 4
SCHEDULES = {
    "onecycle": (1, lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 1e-3, STEPS * EPOCHS)),
    "cosine": (STEPS, lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, EPOCHS)),
    "none": (STEPS, lambda o: torch.optim.lr_scheduler.ConstantLR(o, 1.0)),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_goes_on_around_the_rate_of_the_second_phase(built, name):
    """Against torch's own schedule on a lone parameter; the balancer's group keeps that."""
    every, schedule = SCHEDULES[name]
    alone = torch.optim.SGD([torch.zeros(1)], lr=1e-3)
    scheduler, expected = schedule(alone), []
    for step in range(STEPS * EPOCHS):
        rate = alone.param_groups[0]["lr"]
        expected.append([rate * (0.01 if step >= 2 * STEPS else 1.0), rate])
        alone.step()
        if (step + 1) % every == 0:
            scheduler.step()
    found = []

    class Rates(Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            found.append([group["lr"] for group in optimizer.param_groups])

    module, datamodule = built(f"scheduler={name}", "balancing=uncertainty")
    fit(module, datamodule, Finetuning(2, unfrozen_lr=1e-5), Rates(), max_epochs=EPOCHS)
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), rtol=1e-6, atol=0)


def grid(values):
    """The smallest step between two different values."""
    apart = values.unique().diff()
    return float(apart[apart > 0].min()) if len(apart) else float("inf")


def test_heads_and_losses_are_exact_on_a_trunk_in_bfloat16(built):
    module, datamodule = built("tasks.landmarks.loss_size=[178,218]", "data.batch_size=16")
    batch = first_batch(datamodule)
    head = module.tasks["landmarks"].head
    with torch.no_grad():
        head.bias.fill_(150.0)  # a coordinate of CelebA
        head.weight.mul_(10)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        features = module.backbone(batch["image"])
        before = head(features)
        outputs = module(batch["image"])
        losses, _ = module.losses(outputs, batch)
    assert features.dtype == before.dtype == torch.bfloat16
    assert grid(before.float()) >= 0.5 and before.float().max() > 128
    found = outputs["landmarks"]
    assert found.dtype == losses.dtype == torch.float32 and grid(found) < 1e-2
    with torch.no_grad():
        exact, _ = module.losses(module.heads(features, batch["image"]), batch)
    torch.testing.assert_close(losses, exact, rtol=0, atol=0)


@pytest.mark.parametrize("balancing", ["fixed", "mgda", "fairgrad"])
def test_gradients_reach_a_trunk_in_bfloat16_through_exact_heads(built, balancing):
    module, datamodule = built(f"balancing={balancing}")
    batch = first_batch(datamodule)
    found = []
    for mixed in (False, True):
        module.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = module.training_step(batch, 0)
        loss.backward()
        found.append(torch.cat([p.grad.flatten() for p in module.backbone.parameters()]))
        found.append(module.last_balanced.weights)
    cosine = torch.nn.functional.cosine_similarity(found[0], found[2], dim=0)
    assert cosine > 0.99
    torch.testing.assert_close(found[1], found[3], rtol=0.05, atol=0.01)
