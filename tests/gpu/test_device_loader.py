"""Wherever the pixels lie, the batches are the same."""

import numpy as np
import pytest
import torch
from pretend_cuda import pretend_cuda

from mtlface.data import loaders
from mtlface.data.batch import Split
from mtlface.data.loaders import DeviceLoader
from mtlface.data.sampler import BatchSampler

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
LABELS = ("gender", "landmarks", "attributes")


@pytest.fixture
def split(table, store):
    return Split(table, store, np.arange(len(table)), "train", LABELS)


def batches(split, device, train=True, world=1):
    sampler = BatchSampler(len(split), 3 * world, seed=5, train=train, rank=world - 1, world=world)
    sampler.set_epoch(2)
    loader = DeviceLoader(split, sampler, device)
    return loader.place, list(loader)


# 16 pictures for three ranks: the last batch of an evaluation is padded.
@pytest.mark.parametrize(("train", "world"), [(True, 1), (False, 1), (False, 3)])
@pytest.mark.parametrize("share", [0.5, 0.0])
def test_batches_are_the_same_from_the_device_and_through_pinned_buffers(
    split, monkeypatch, train, world, share
):
    _, expected = batches(split, CPU, train, world)
    monkeypatch.setattr(loaders, "SHARE_OF_DEVICE_MEMORY", share)
    with pretend_cuda():
        place, found = batches(split, GPU, train, world)
        assert all(value.device == GPU for batch in found for value in batch.values())
    assert place == ("GPU memory" if share else "the store through pinned buffers")
    # More batches than buffers, which therefore come round again.
    assert len(found) == len(expected) > (loaders.BUFFERS if world == 1 else 1)
    for batch, want in zip(found, expected, strict=True):
        labelled = want["index"] >= 0
        assert torch.equal(batch.pop("image")[labelled], want.pop("image")[labelled])
        assert batch.keys() == want.keys()
        for name, value in batch.items():
            assert torch.equal(value.nan_to_num(-7), want[name].nan_to_num(-7)), name


def test_a_loader_that_is_left_early_stops_its_thread(split, monkeypatch):
    import threading

    monkeypatch.setattr(loaders, "SHARE_OF_DEVICE_MEMORY", 0.0)
    with pretend_cuda():
        loader = DeviceLoader(split, BatchSampler(len(split), 3, seed=5, train=True), GPU)
        iterator = iter(loader)
        next(iterator)
        assert any(t.name.startswith("gather") for t in threading.enumerate())
        iterator.close()
    assert not any(t.name.startswith("gather") for t in threading.enumerate())


def test_what_an_earlier_job_left_in_torchs_cache_counts_as_free(split):
    size = split.images(np.arange(len(split))).nbytes
    with pretend_cuda(free=3 * size, reserved=2 * size):
        assert batches(split, GPU)[0] == "GPU memory"
    with pretend_cuda(free=size):
        assert batches(split, GPU)[0] == "the store through pinned buffers"
