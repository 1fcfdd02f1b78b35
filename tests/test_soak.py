"""Hundreds of runs in one process, and a sweep that is killed again and again.

SOAK_JOBS and SOAK_KILLS change how many.
"""

import json
import os
import random
import statistics
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "training"))

from forked_runs import CONTEXT, assert_same_run

from mtlface.door import config_folder

JOBS = int(os.environ.get("SOAK_JOBS", "300"))
KILLS = int(os.environ.get("SOAK_KILLS", "20"))
WARM_UP = 5  # jobs after which every import is done and every cache is filled
MEGABYTES_A_JOB = 0.1

pytestmark = pytest.mark.slow


def sweep(overrides, report):
    """Runs a sweep in this process and writes a line before and after each of its jobs."""
    import torch

    from mtlface.training import run as run_module
    from mtlface.training.sweeps.launch import start

    torch.set_num_threads(1)
    sys.stdout = sys.stderr = report.with_suffix(".txt").open("a", buffering=1)
    train = run_module.run

    def told(cfg, folder, arm, changes):
        write(report, {"begins": str(folder)})
        result = train(cfg, folder, arm, changes)
        write(
            report,
            {
                "ended": str(folder),
                "files": open_files(),
                "mb": resident_mb(),
                "threads": threading.active_count(),
            },
        )
        return result

    run_module.run = told
    sys.exit(start(config_folder(), list(overrides), multirun=True))


def write(report, line):
    with report.open("a") as file:
        file.write(json.dumps(line) + "\n")


def read(report):
    return [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []


def open_files():
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def resident_mb():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.fixture
def overrides(faces, cache):
    return [
        f"hydra.searchpath=[file://{Path(__file__).parent / 'conf'}]",
        f"data.root={faces}",
        f"data.cache={cache}",
    ]


def process(overrides, report):
    child = CONTEXT.Process(target=sweep, args=(overrides, report))
    child.start()
    return child


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
@pytest.mark.timeout(7200)
def test_many_jobs_in_one_process_leave_nothing_behind(overrides, tmp_path):
    chosen = ["experiment=tiny", "trainer.max_epochs=1", f"seed=range({JOBS})"]
    report = tmp_path / "report"
    child = process([*overrides, *chosen, f"outputs={tmp_path / 'out'}"], report)
    child.join()
    assert child.exitcode == 0, report.with_suffix(".txt").read_text()[-2000:]
    after = [line for line in read(report) if "ended" in line]
    assert len(after) == JOBS == len(list((tmp_path / "out").rglob("result.json")))
    files = [line["files"] for line in after]
    assert max(files[WARM_UP:]) <= max(files[:WARM_UP]), files
    threads = [line["threads"] for line in after]
    assert max(threads[WARM_UP:]) <= max(threads[:WARM_UP]), threads
    memory = [line["mb"] for line in after][WARM_UP:]
    slope = statistics.linear_regression(range(len(memory)), memory).slope
    print(
        f"\n{JOBS} jobs: {slope * 1000:.1f} kB a job, {memory[0]:.0f} → {memory[-1]:.0f} MB, "
        f"{files[0]} → {files[-1]} open files"
    )
    assert slope < MEGABYTES_A_JOB, memory


@pytest.mark.timeout(7200)
def test_a_sweep_killed_at_random_moments_loses_and_repeats_nothing(overrides, tmp_path):
    draw = random.Random(6)
    chosen = ["experiment=tiny,tiny_gender", "seed=0,1", "trainer.max_epochs=4"]
    begun = time.monotonic()
    child = process([*overrides, *chosen, f"outputs={tmp_path / 'whole'}"], tmp_path / "report")
    child.join()
    lasts = time.monotonic() - begun
    assert child.exitcode == 0, (tmp_path / "report.txt").read_text()[-2000:]
    kills = rounds = 0
    while kills < KILLS:
        rounds += 1
        killed = killed_sweep(
            [*overrides, *chosen], tmp_path / f"round{rounds}", KILLS - kills, lasts, draw
        )
        kills += killed
        assert killed, "the sweep ended before it could be killed"
        for result in (tmp_path / "whole").rglob("result.json"):
            folder = result.parent.relative_to(tmp_path / "whole")
            assert_same_run(tmp_path / f"round{rounds}" / folder, result.parent)
    print(f"\n{kills} kills in {rounds} sweeps of 4 runs, each {lasts:.1f} s long")


def killed_sweep(overrides, outputs, kills, lasts, draw):
    """Starts a sweep until it is done, killing it at most so often; returns how often."""
    report = outputs.with_suffix(".report")
    whole = {}
    for kill in range(kills + 1):
        known = len(read(report))
        child = process([*overrides, f"outputs={outputs}"], report)
        child.join(draw.uniform(0, lasts / 2) if kill < kills else None)
        if child.is_alive():
            child.kill()
            child.join()
        begun = {line["begins"] for line in read(report)[known:] if "begins" in line}
        assert not begun & whole.keys(), "what was whole was run again"
        for path, content in whole.items():
            assert (Path(path) / "result.json").read_bytes() == content
        whole = {str(p.parent): p.read_bytes() for p in outputs.rglob("result.json")}
        if child.exitcode == 0:
            return kill
    raise AssertionError(report.with_suffix(".txt").read_text()[-2000:])
