"""How long one waits before anything trains: help, composing, imports, and between two jobs.

Commands are timed as a user starts them, in turns. Between two jobs of a sweep counts from the
first one's `result.json` to the other's first training epoch.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import headline, interleave, machine, options, report, shown, spread

COMMANDS = {
    "--help": ["-m", "mtlface.train", "--help"],
    "compose a config": ["-m", "mtlface.train", "experiment=celeba_landmarks_gender", "--cfg=job"],
    "import the launcher": ["-c", "import mtlface.training.sweeps.launch"],
    "import torch": ["-c", "import torch"],
    "import what a run needs": ["-c", "import mtlface.training.run"],
    "python": ["-c", ""],
}
GOALS = {"--help": "≤ 2.5 s", "compose a config": "≤ 2.5 s"}
SHOWN = ("--help", "compose a config", "import what a run needs")

# Notes when each run's training starts; everything else is the training command itself.
SWEEP = """
import sys, time
from mtlface.training.callbacks import EpochSeed
started, seed_epoch = [], EpochSeed.on_train_epoch_start
def noted(self, trainer, module):
    if trainer.current_epoch == 0:
        started.append(time.time())
    seed_epoch(self, trainer, module)
EpochSeed.on_train_epoch_start = noted
from mtlface.train import main
try:
    main()
finally:
    print("STARTED", started)
"""


def main(arguments: list[str] | None = None) -> None:
    """Measures and reports; `arguments` stand for the command line."""
    chosen = options(__doc__, repeats=5).parse_args(arguments)
    where = machine()
    repeats = 1 if chosen.quick else chosen.repeats
    commands = {k: COMMANDS[k] for k in ("--help", "python")} if chosen.quick else COMMANDS
    cases = {name: lambda words=words: _run(words) for name, words in commands.items()}
    found: dict[str, Any] = {
        name: spread(values) for name, values in interleave(cases, repeats).items()
    }
    between = "between two jobs of a sweep"
    found[between] = spread(_gaps(jobs=2 if chosen.quick else repeats + 1))
    rows = [[name, shown(f, unit=" s")] for name, f in found.items()]
    headlines = [
        headline(f"start-up: {name}", found[name], " s", GOALS.get(name, ""))
        for name in SHOWN
        if name in found
    ]
    headlines.append(headline(f"start-up: {between}", found[between], " s", "≤ 1.5 s"))
    report("startup", found, rows, ["what", "time (range)"], where, headlines, not chosen.quick)


def _run(words: list[str]) -> str:
    command = [sys.executable, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _gaps(jobs: int) -> list[float]:
    """Seconds between the jobs of a sweep of tiny runs on the CPU, a seed each."""
    with tempfile.TemporaryDirectory() as outputs:
        words = ["-c", SWEEP, "-m", "experiment=celeba_landmarks_gender", "profile=smoke"]
        words += ["trainer=cpu", f"outputs={outputs}", f"seed={','.join(map(str, range(jobs)))}"]
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, *words]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        line = next(x for x in done.stdout.splitlines() if x.startswith("STARTED"))
        started = json.loads(line.removeprefix("STARTED"))
        ends = sorted(path.stat().st_mtime for path in Path(outputs).rglob("result.json"))
    return [start - end for end, start in zip(ends[:-1], started[1:], strict=True)]


if __name__ == "__main__":
    main()
