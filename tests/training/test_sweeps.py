import json
import os
import signal
import subprocess
import sys

import pytest
from forked_runs import at_step, before
from forked_sweeps import assert_same_findings, command_line, door, run_folders

from mtlface.training.result import read_result
from mtlface.training.sweeps.job import one_line

STEPS = 2 * 3  # of a run: two a epoch, three epochs


@pytest.fixture(scope="module")
def sweep(faces, tmp_path_factory):
    """A sweep of two seeds that nothing disturbed."""
    root = tmp_path_factory.mktemp("sweep")
    arguments = command_line(faces, root / "cache", root / "out", "-m", "seed=0,1")
    assert door(root / "log", arguments) == 0, (root / "log").read_text()
    return root


def started_again(faces, sweep, root, *disturbances):
    """Exit codes of the same sweep, started once a disturbance and once without."""
    arguments = command_line(faces, sweep / "cache", root / "out", "-m", "seed=0,1")
    codes = [door(root / "log", arguments, *disturbance) for disturbance in disturbances]
    return [*codes, door(root / "log", arguments)]


def test_a_sweep_killed_at_three_places_ends_like_one_that_was_not(faces, sweep, tmp_path):
    codes = started_again(
        faces, sweep, tmp_path,
        (at_step, 3),  # in the middle of the first run's second epoch
        (before, "write_result"),  # the first run is trained and tested
        (at_step, STEPS),  # in the second run, however much of the first is repeated
    )  # fmt: skip
    assert codes == [-9, -9, -9, 0], (tmp_path / "log").read_text()
    whole, found = run_folders(sweep / "out"), run_folders(tmp_path / "out")
    assert found.keys() == whole.keys() and len(found) == 2
    for key, folder in found.items():
        assert_same_findings(folder, whole[key])


def test_ctrl_c_ends_a_sweep_at_once_and_loses_nothing(faces, sweep, tmp_path):
    codes = started_again(faces, sweep, tmp_path, (_ctrl_c_at_step, 3))
    assert codes == [130, 0], (tmp_path / "log").read_text()
    log = (tmp_path / "log").read_text()
    assert "The same command goes on" in log and "Traceback" not in log
    assert not list((tmp_path / "out").rglob("error.json"))
    for key, folder in run_folders(tmp_path / "out").items():
        assert_same_findings(folder, run_folders(sweep / "out")[key])


def _ctrl_c_at_step(number):
    at_step(number, lambda: os.kill(os.getpid(), signal.SIGINT))


def test_one_failing_arm_does_not_stop_the_others(faces, sweep, tmp_path):
    arguments = command_line(
        faces, sweep / "cache", tmp_path / "out", "-m", "task=[age],[gender]", "seed=0,1"
    )
    assert door(tmp_path / "log", arguments) == 1
    log, runs = (tmp_path / "log").read_text(), run_folders(tmp_path / "out")
    assert "Traceback" not in log
    for (arm, _), folder in runs.items():
        failed = "task=[age]" in arm
        assert (folder / "error.json").is_file() == failed
        assert (folder / "result.json").is_file() != failed
        if failed:
            assert (
                "needs the label 'age'" in json.loads((folder / "error.json").read_text())["error"]
            )
    assert "2 of 4 runs are not done" in log
    assert "python -m mtlface.train -m experiment=tiny" in log.replace("'", "")


def _break_tests_of_runs():
    from mtlface.training import run

    def broken(*_):
        raise IndexError("a bug of ours")

    run.evaluate = broken


def test_an_error_that_tidying_up_hides_is_named_too():
    try:
        try:
            raise KeyError("workers")
        finally:
            [].pop()
    except IndexError as error:
        assert one_line(error) == "IndexError: pop from empty list (after KeyError: 'workers')"
    try:
        try:
            raise KeyError("workers")
        except KeyError:
            raise ValueError("said\n in full") from None
    except ValueError as error:
        assert one_line(error) == "ValueError: said in full"


def test_an_error_of_ours_is_one_line_with_its_trace_in_the_log(faces, sweep, tmp_path):
    arguments = command_line(faces, sweep / "cache", tmp_path / "out")
    assert door(tmp_path / "log", arguments, _break_tests_of_runs) == 1
    ((_, folder),) = run_folders(tmp_path / "out").items()
    assert json.loads((folder / "error.json").read_text()) == {"error": "IndexError: a bug of ours"}
    log = (tmp_path / "log").read_text()
    assert "error: IndexError: a bug of ours" in log and "Traceback" not in log
    assert "Traceback" in (folder / "train.log").read_text()

    assert door(tmp_path / "log2", [*arguments, "debug=true"], _break_tests_of_runs) == 1
    assert "Traceback" in (tmp_path / "log2").read_text()

    assert door(tmp_path / "log3", arguments) == 0
    assert not (folder / "error.json").exists(), "a run that succeeded has not failed"
    assert read_result(folder / "result.json") is not None


def test_a_finished_sweep_is_skipped_without_importing_torch(faces, sweep):
    code = (
        "import sys, mtlface.train as t\n"
        "try: t.main()\n"
        "finally: print('torch imported:', 'torch' in sys.modules)\n"
    )
    arguments = command_line(faces, sweep / "cache", sweep / "out", "-m", "seed=0,1")
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout.count("skipped") == 2, done.stdout + done.stderr
    assert "torch imported: False" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher",
    [
        ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
        ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=10"],
    ],
)
def test_runs_beside_each_other_find_what_runs_one_by_one_find(faces, sweep, tmp_path, launcher):
    """From an empty cache, so that they also share out who packs the pictures."""
    arguments = command_line(
        faces, tmp_path / "cache", tmp_path / "out", "-m", "seed=0,1", *launcher
    )
    assert door(tmp_path / "log", arguments) == 0, (tmp_path / "log").read_text()
    packed = [f for f in (tmp_path / "cache").iterdir() if not f.name.startswith(".")]
    assert len(packed) == 1, "one store, whoever was first"
    logs = [f.read_text() for f in (tmp_path / "out").rglob("train.log")]
    assert sum("packed" in text for text in logs) == 1
    for key, folder in run_folders(tmp_path / "out").items():
        assert_same_findings(folder, run_folders(sweep / "out")[key])
