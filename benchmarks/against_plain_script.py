"""`make demo` against a plain script of the same four arms (`benchmarks/peers/plain_script.py`).

Time in all, two arms of the script before the demo and two after it; and what both score.

python -m benchmarks.against_plain_script    # ten to twenty minutes on two cores
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import headline, machine, options, ratio, report

SWEEP = "celeba_landmarks_gender"
# The script's arms, and what they are called here.
EXPERIMENTS = {
    "gender": "celeba_gender",
    "landmarks": "celeba_landmarks",
    "landmarks_gender": "celeba_landmarks_gender",
    "improved": "celeba_landmarks_gender_improved",
}
SIDE_BY_SIDE = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]  # as in the Makefile


def main(arguments: list[str] | None = None) -> None:
    """Measures and reports; `arguments` stand for the command line."""
    chosen = options(__doc__, repeats=1).parse_args(arguments)
    where = machine()
    profile, epochs = ("smoke", 1) if chosen.quick else ("demo", 8)
    arms = list(EXPERIMENTS)
    seconds: dict[str, list[float]] = {"plain script": [], "demo": []}
    for _ in range(chosen.repeats):
        before, plain = _plain(arms[:2], epochs)
        demo, ours = _demo(profile)
        after, rest = _plain(arms[2:], epochs)
        plain |= rest
        seconds["plain script"].append(before + after)
        seconds["demo"].append(demo)
    times = ratio(seconds["plain script"], seconds["demo"])
    rows = [
        [arm, metric, f"{value:.3f}", f"{ours[arm][metric]:.3f}"]
        for arm in arms
        for metric, value in plain[arm].items()
    ]
    rows += [["all", "seconds", *(f"{values[-1]:.0f}" for values in seconds.values())]]
    results: dict[str, Any] = {"seconds": seconds, "plain script": plain, "demo": ours}
    title = "plain script of S0's four arms ÷ `make demo`, wall time"
    columns = ["arm", "test split", "plain script", "demo"]
    report(
        "plain_script",
        results,
        rows,
        columns,
        where,
        [headline(title, times, goal="≥ 1")],
        keep=not chosen.quick,
    )


def _plain(arms: list[str], epochs: int) -> tuple[float, dict[str, dict[str, float]]]:
    """Seconds, and the test figures of each arm."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.peers.plain_script", "--epochs", str(epochs)]
    found = {
        arm: json.loads(subprocess.run([*command, arm], check=True, capture_output=True).stdout)
        for arm in arms
    }
    return time.perf_counter() - started, found


def _demo(profile: str) -> tuple[float, dict[str, dict[str, float]]]:
    """Seconds of training and comparing, and the test figures of each arm."""
    with tempfile.TemporaryDirectory() as outputs:
        train = [f"sweep={SWEEP}", f"profile={profile}", "seed=0", f"outputs={outputs}"]
        commands = [["train", *train, *SIDE_BY_SIDE], ["compare", f"runs={outputs}/{SWEEP}"]]
        started = time.perf_counter()
        for door, *words in commands:
            command = [sys.executable, "-m", f"mtlface.{door}", *words]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        elapsed = time.perf_counter() - started
        return elapsed, {arm: _figures(Path(outputs, SWEEP, e)) for arm, e in EXPERIMENTS.items()}


def _figures(arm: Path) -> dict[str, float]:
    (path,) = arm.rglob("result.json")
    metrics = json.loads(path.read_text())["metrics"]
    return {name.removeprefix("test/"): value for name, value in metrics.items()}


if __name__ == "__main__":
    main()
