"""The train door in processes of their own: whole command lines, killed and started again."""

import os
import sys
from pathlib import Path

import torch
from forked_runs import CONTEXT

from mtlface.training.result import read_result

CONF = Path(__file__).parents[1] / "conf"


def command_line(faces, cache, outputs, *arguments):
    return [
        "experiment=tiny",
        "backbone=cnn3",
        "trainer=cpu",
        "trainer.max_epochs=3",
        f"data.root={faces}",
        f"data.cache={cache}",
        f"outputs={outputs}",
        f"--config-dir={CONF}",
        *arguments,
    ]


def door(log, arguments, disturb=None, *values):
    """Runs the door with a command line and returns its exit code; −9 after kill −9.

    `disturb` is a function that is called in the process before it starts.
    """
    process = CONTEXT.Process(target=_door, args=(log, arguments, disturb, values))
    process.start()
    process.join()
    return process.exitcode


def _door(log, arguments, disturb, values):
    # Both by number and by name: other processes of the run inherit the numbers.
    sys.stdout = sys.stderr = Path(log).open("a", buffering=1)  # noqa: SIM115
    os.dup2(sys.stderr.fileno(), 1)
    os.dup2(sys.stderr.fileno(), 2)
    torch.set_num_threads(1)
    if disturb is not None:
        disturb(*values)
    from mtlface.train import main

    sys.argv = ["train", *arguments]
    main()


def run_folders(outputs):
    """Every folder of a run below the outputs, by its arm and seed."""
    found = [path for path in Path(outputs).rglob("seed=*") if path.is_dir()]
    return {(path.parts[-3], path.name): path for path in found}


def assert_same_findings(folder, reference):
    """Bit for bit the same metrics, history and predictions; the folders may lie elsewhere."""
    found, expected = (read_result(path / "result.json") for path in (folder, reference))
    assert found is not None and found["budget"]["epochs"] == expected["budget"]["epochs"]
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
    for name in ("metrics.csv", "test_predictions.csv"):
        assert (folder / name).read_bytes() == (reference / name).read_bytes(), name
