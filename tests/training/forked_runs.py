"""Runs in processes of their own, which can be killed for real.

A fork server has torch imported already, so that a process costs a fraction of a second.
"""

import logging
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import pandas as pd
import torch

from mtlface.door import config_folder
from mtlface.training.result import read_result

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["mtlface.training.run", "hydra"])

TINY = (
    f"hydra.searchpath=[file://{Path(__file__).parents[1] / 'conf'}]",
    "experiment=tiny",
    "backbone=cnn4_bn",  # has dropout and BatchNorm
    "augment=basic",
    "trainer.max_epochs=4",
)
STEPS = 2  # of an epoch of these runs


def train(folder, overrides, disturb=None, *arguments):
    """Trains in `folder` and returns the exit code; −9 after kill −9.

    `disturb` is a function that is called in the process before it starts.
    """
    process = start(folder, overrides, disturb, *arguments)
    process.join()
    return process.exitcode


def start(folder, overrides, disturb=None, *arguments):
    """The same without waiting."""
    process = CONTEXT.Process(target=_train, args=(folder, [*TINY, *overrides], disturb, arguments))
    process.start()
    return process


def compose(overrides):
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return hydra_compose("train", list(overrides))


def _train(folder, overrides, disturb, arguments):
    from mtlface.door import GOES_ON, guarded
    from mtlface.training.run import run

    every_epoch()

    folder.mkdir(parents=True, exist_ok=True)
    sys.stdout = sys.stderr = Path(f"{folder}.txt").open("a", buffering=1)  # noqa: SIM115
    os.dup2(sys.stderr.fileno(), 2)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    torch.set_num_threads(1)
    # Else a data loader's workers would need a fork server of their own, and outlive a kill.
    multiprocessing.set_start_method("fork", force=True)
    if disturb is not None:
        disturb(*arguments)

    def main():
        run(compose(overrides), folder, list(overrides))

    guarded(main, GOES_ON)


def log_of(folder):
    return Path(f"{folder}.txt").read_text()


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def at_step(number, act=die):
    """Acts in the given training step, counted from 0 over all epochs of this process."""
    from mtlface.training.module import MultiTaskModule

    step = MultiTaskModule.training_step
    done = []

    def counted(self, batch, batch_idx):
        done.append(batch_idx)
        if len(done) == number + 1:
            act()
        return step(self, batch, batch_idx)

    MultiTaskModule.training_step = counted


def every_epoch():
    """Writes checkpoints at once: a kill then loses one of these short epochs, not all of them."""
    from mtlface.training import checkpoint_writer

    writer = checkpoint_writer.CheckpointWriter
    save, checkpoint_writer.SECONDS_BETWEEN_WRITES = writer.save_checkpoint, 0.0

    def save_and_wait(self, *arguments, **settings):
        save(self, *arguments, **settings)
        self._wait()

    writer.save_checkpoint = save_and_wait


def every_half_minute(then, *arguments):
    """Writes checkpoints as often as ordinary runs do, which end before that comes round."""
    from mtlface.training import checkpoint_writer

    checkpoint_writer.SECONDS_BETWEEN_WRITES = 30.0
    then(*arguments)


def in_save(number):
    """Dies while the checkpoint with this number is written, with half a file on the disk."""
    saves = []

    def torn(content, file):
        saves.append(file)
        if len(saves) == number + 1:
            file.write(b"PK\x03\x04" * 1000)
            file.flush()
            die()
        save(content, file)

    save, torch.save = torch.save, torn


def before(name):
    """Dies before `mtlface.training.run` calls this function of its."""
    from mtlface.training import run

    setattr(run, name, lambda *_: die())


def scalars(folder):
    """What TensorBoard shows: name → [(step, value), …], without the values that are speeds."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return {
        name: [
            (e.step, None if name.startswith("run/") else repr(e.value))
            for e in events.Scalars(name)
        ]
        for name in events.Tags()["scalars"]
    }


def tensors(path):
    """All tensors and numbers of a checkpoint by their path in it."""

    def walk(prefix, value):
        if isinstance(value, dict):
            for key, item in value.items():
                yield from walk(f"{prefix}/{key}", item)
        elif isinstance(value, list | tuple):
            for key, item in enumerate(value):
                yield from walk(f"{prefix}/{key}", item)
        else:
            yield prefix, value

    return dict(walk("", torch.load(path, weights_only=True)))


def assert_same_checkpoint(path, other):
    found, expected = tensors(path), tensors(other)
    # Time, and where the folder lies.
    ignored = ("fit_s", "training_s", "dirpath", "_path", "/best_k_models", "/config/outputs")
    ignored += ("/config/extend",)
    found = {k: v for k, v in found.items() if not any(word in k for word in ignored)}
    assert found.keys() == {k for k in expected if not any(word in k for word in ignored)}
    for key, value in found.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value.nan_to_num(), expected[key].nan_to_num()), key
        elif value == value:
            assert value == expected[key], key


def assert_same_run(folder, reference):
    """Bit for bit the same: metrics, weights, optimizer, history, predictions, TensorBoard."""
    found, expected = (read_result(path / "result.json") for path in (folder, reference))
    assert found is not None, log_of(folder)
    for key in (
        "metrics",
        "trivial",
        "selection",
        "evaluated_on",
        "trained_on",
        "model",
        "identity",
    ):
        assert found[key] == expected[key], key
    assert found["budget"]["epochs"] == expected["budget"]["epochs"]
    for name in ("metrics.csv", "test_predictions.csv", "split.csv", "bad_images.csv"):
        assert (folder / name).read_bytes() == (reference / name).read_bytes(), name
    for name in ("best.ckpt", "last.ckpt"):
        assert_same_checkpoint(folder / "checkpoints" / name, reference / "checkpoints" / name)
    assert scalars(folder) == scalars(reference)
    assert not list(folder.rglob("*.part"))


def epochs_of(folder):
    return list(pd.read_csv(folder / "metrics.csv")["epoch"])
