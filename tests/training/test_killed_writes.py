"""`kill -9` at the very writes: before a file takes its name, right after, and half written."""

import os
import signal
from pathlib import Path

import pytest
from forked_runs import assert_same_run, die, log_of, train

WRITTEN = ("best.ckpt", "next-last.ckpt", "metrics.csv", "test_predictions.csv", "result.json")
MOMENTS = ("half written", "before its name", "after its name")


def at_write(name, moment):
    """Dies at the second write of a file, or at the only one."""
    replace, fsync = Path.replace, os.fsync
    writes = []

    def meant(path):
        return Path(path).name.startswith(f".{name}.")

    def watched_replace(self, target):
        if not meant(self):
            return replace(self, target)
        writes.append(self)
        due = len(writes) == 2 or name in ("test_predictions.csv", "result.json")
        if due and moment == "before its name":
            die()
        found = replace(self, target)
        if due and moment == "after its name":
            die()
        return found

    def watched_fsync(descriptor):
        place = Path(f"/proc/self/fd/{descriptor}").resolve()
        seen = len(writes) == 1 or name in ("test_predictions.csv", "result.json")
        if moment == "half written" and meant(place) and seen:
            os.truncate(place, place.stat().st_size // 2)
            die()
        fsync(descriptor)

    Path.replace, os.fsync = watched_replace, watched_fsync


QUICK = {("best.ckpt", "half written"), ("result.json", "before its name")}


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        pytest.param(name, moment, marks=() if (name, moment) in QUICK else pytest.mark.slow)
        for name in WRITTEN
        for moment in MOMENTS
    ],
)
def test_a_run_killed_at_a_write_ends_like_one_that_was_not(data, whole, tmp_path, name, moment):
    killed = tmp_path / "run"
    assert train(killed, data, at_write, name, moment) == -signal.SIGKILL
    assert train(killed, data) == 0, log_of(killed)
    assert_same_run(killed, whole)
    assert not list(killed.rglob(".*.part"))
