"""On a CUDA device: batches are the same wherever the pixels lie, and no step waits for it."""

import contextlib

import numpy as np
import pytest
import torch
from lightning import Callback, Trainer

from mtlface.data import loaders
from mtlface.data.batch import Split
from mtlface.data.loaders import DeviceLoader
from mtlface.data.sampler import BatchSampler
from mtlface.training.build import build_datamodule, build_module, choose_precision

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here"),
]


def batches(split, device):
    loader = DeviceLoader(split, BatchSampler(len(split), 6, seed=5, train=True), device)
    return loader, list(loader)


def test_batches_are_the_same_from_gpu_memory_pinned_memory_and_the_store(
    table, store, monkeypatch
):
    split = Split(table, store, np.arange(len(table)), "train", ("gender", "landmarks"))
    gpu = torch.device("cuda", 0)
    stored, expected = batches(split, torch.device("cpu"))
    resident, found = batches(split, gpu)
    monkeypatch.setattr(loaders, "SHARE_OF_DEVICE_MEMORY", 0.0)
    pinned, found_pinned = batches(split, gpu)
    places = [loader.place for loader in (stored, resident, pinned)]
    assert places == [
        "the memory-mapped store",
        "GPU memory",
        "the store through pinned buffers",
    ]
    for want, *others in zip(expected, found, found_pinned, strict=True):
        for other in others:
            assert other.keys() == want.keys()
            for name, value in other.items():
                assert value.is_cuda
                assert torch.equal(value.cpu().nan_to_num(-7), want[name].nan_to_num(-7)), name
            assert other["image"].is_contiguous(memory_format=torch.channels_last)


class NoWaiting(Callback):
    """Makes every wait for the device an error between the steps of an epoch, once it is warm."""

    def __init__(self):
        self.steps = 0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.current_epoch > 0 and batch_idx == 0:
            torch.cuda.set_sync_debug_mode("error")

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.steps += torch.cuda.get_sync_debug_mode() == 2
        if batch_idx == trainer.num_training_batches - 1:
            torch.cuda.set_sync_debug_mode("default")


class Losses(Callback):
    def __init__(self):
        self.found = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.found.append(outputs["loss"].detach().clone())


def fitted(composed, *overrides, callbacks=(), accelerator="gpu", **settings):
    cfg = composed("experiment=tiny", "backbone=cnn3_bn", "data.batch_size=4", *overrides)
    datamodule = build_datamodule(cfg)
    torch.manual_seed(0)
    module = build_module(cfg, datamodule.table.labels)
    tasks = module.tasks.values()
    datamodule.batch_labels = tuple(n for task in tasks for n in task.batch_labels)
    losses = Losses()
    trainer = Trainer(
        accelerator=accelerator, devices=1, max_epochs=2, logger=False, limit_val_batches=0,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False, callbacks=[losses, *callbacks], **settings,
    )  # fmt: skip
    with contextlib.ExitStack() as stack:
        stack.callback(torch.cuda.set_sync_debug_mode, "default")
        trainer.fit(module, datamodule)
    return [loss.item() for loss in losses.found]


@pytest.mark.parametrize("share", [0.5, 0.0])
@pytest.mark.parametrize("task", ["[gender]", "[gender,landmarks]"])
@pytest.mark.parametrize("augment", ["none", "basic", "strong"])
def test_no_step_waits_for_the_device(composed, monkeypatch, share, task, augment):
    monkeypatch.setattr(loaders, "SHARE_OF_DEVICE_MEMORY", share)
    watch = NoWaiting()
    settings = {"precision": "bf16-mixed", "gradient_clip_val": 1.0, "callbacks": [watch]}
    fitted(composed, f"task={task}", f"augment={augment}", "data.loader=device", **settings)
    assert watch.steps == 4


def test_the_gpu_has_the_losses_of_the_cpu(composed):
    torch.set_float32_matmul_precision("highest")
    tf32 = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        found = fitted(composed, "data.loader=device", precision="32-true")
    finally:
        torch.backends.cudnn.allow_tf32 = tf32
    expected = fitted(composed, "data.loader=device", accelerator="cpu", precision="32-true")
    assert len(found) == 8 and found == pytest.approx(expected, rel=1e-2)


def test_bf16_is_chosen_where_the_hardware_has_it_and_learns_the_same(composed):
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        pytest.skip("this GPU has no bf16")
    assert choose_precision("auto", "auto") == choose_precision("auto", "gpu") == "bf16-mixed"
    assert choose_precision("auto", "cpu") == "32-true"
    half = fitted(composed, precision="bf16-mixed")
    full = fitted(composed, precision="32-true")
    assert half == pytest.approx(full, rel=0.1) and half != full


@pytest.mark.slow
def test_compiled_steps_have_the_losses_of_eager_ones(composed):
    eager = fitted(composed, precision="32-true")
    compiled = fitted(composed, "compile=true", precision="32-true")
    assert compiled == pytest.approx(eager, rel=1e-2)
