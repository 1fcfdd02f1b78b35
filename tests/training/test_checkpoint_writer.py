"""Checkpoints are written now and then, both together, and hold the moment that they were kept."""

import threading

import pytest
import torch

from mtlface.training import checkpoint_writer
from mtlface.training.checkpoint_writer import CheckpointWriter
from mtlface.training.run_folder import RunFolder


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when the test says so."""

    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(checkpoint_writer, "time", clock)
    return clock


@pytest.fixture
def files(tmp_path):
    return RunFolder(tmp_path)


def state(epoch):
    """Of a network whose weight is the number of the epoch."""
    return {"epoch": epoch, "weight": torch.full((3,), float(epoch)), "rows": [epoch]}


def on_disk(files):
    found = {}
    for path in files.checkpoints.glob("*"):
        kept = torch.load(path, weights_only=True)
        assert kept["weight"].tolist() == [float(kept["epoch"])] * 3
        found[path.stem] = kept["epoch"]
    return found


def joined(writer):
    if writer._thread is not None:
        writer._thread.join()


def test_both_are_written_every_half_minute_and_the_last_two_states_are_kept(clock, files):
    writer = CheckpointWriter(files)
    seen = []
    for epoch in range(1, 13):  # an epoch takes 10 s, and every other one is the best so far
        clock.now += 10
        if epoch % 2 == 0:
            writer.save_checkpoint(state(epoch), files.best)
        writer.save_checkpoint(state(epoch), files.last)
        joined(writer)
        seen.append(on_disk(files))
    assert seen[1] == {}
    assert seen[2] == seen[4] == {"best": 2, "last": 3}
    assert seen[5] == seen[7] == {"best": 6, "last": 6, "last-1": 3}
    assert seen[8] == {"best": 8, "last": 9, "last-1": 6}


def test_what_is_kept_does_not_change_with_the_network(clock, files):
    writer = CheckpointWriter(files)
    training = state(1)
    writer.save_checkpoint(training, files.last)
    training["weight"].fill_(7.0)
    training["rows"].append(2)
    writer.write()
    kept = torch.load(files.last, weights_only=True)
    assert kept["weight"].tolist() == [1.0] * 3 and kept["rows"] == [1]


def test_the_best_weights_wait_for_the_state_that_knows_of_them(clock, files):
    writer = CheckpointWriter(files)
    writer.save_checkpoint(state(1), files.best)
    writer.save_checkpoint(state(1), files.last)
    writer.save_checkpoint(state(2), files.best)
    writer.write()  # SIGTERM, before the next epoch begins
    assert on_disk(files) == {"best": 1, "last": 1}
    writer.finish()  # whereas a run that ends tests its best epoch
    assert on_disk(files) == {"best": 2, "last": 1}
    assert not [t for t in threading.enumerate() if t.name == "checkpoints"]


def test_a_disk_that_refuses_is_reported_to_the_thread_that_trains(clock, files, monkeypatch):
    writer = CheckpointWriter(files)

    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", refuse)
    clock.now += 30
    writer.save_checkpoint(state(1), files.last)
    clock.now += 30
    with pytest.raises(OSError, match="No space left"):
        writer.save_checkpoint(state(2), files.last)


def test_memory_of_an_older_snapshot_is_used_again():
    old = checkpoint_writer.snapshot(state(1))
    new = checkpoint_writer.snapshot(state(2), old)
    assert new["weight"].data_ptr() == old["weight"].data_ptr()
    other = checkpoint_writer.snapshot({"weight": torch.zeros(2, 2)}, new)
    assert other["weight"].shape == (2, 2)


def test_a_state_dict_keeps_the_versions_of_its_layers():
    layer = torch.nn.BatchNorm2d(2).state_dict()
    assert checkpoint_writer.snapshot(layer)._metadata == layer._metadata
