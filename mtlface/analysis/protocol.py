"""Which runs may stand in one table: one data set only, a warning for other differences."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mtlface.analysis.results import Run, RunTree, UnfinishedRun
from mtlface.errors import MtlfaceError

# What should be equal between arms for a difference to come from sharing: path → words.
SHOULD_AGREE = {
    "config.trainer.max_epochs": "budget (max_epochs)",
    "config.patience": "patience of early stopping",
    "config.backbone.pretrained": "pretraining",
    "config.data.batch_size": "batch size",
    "config.data.image_size": "input size",
    "selection.monitor": "what selects the checkpoint",
    "config.data.limit": "data limit",
    "model.backbone": "backbone",
    "environment.device": "device",
    "environment.precision": "precision",
    "git": "version of the code (git)",
}


@dataclass
class Arm:
    """Runs that differ in nothing but the seed."""

    label: str
    name: str
    group: str
    runs: dict[int, Run] = field(default_factory=dict)
    unfinished: list[UnfinishedRun] = field(default_factory=list)

    @cached_property
    def tasks(self) -> dict[str, dict[str, str]]:
        """The tasks of the arm's runs."""
        return {task: info for run in self.runs.values() for task, info in run.tasks.items()}

    @property
    def changes(self) -> str:
        """What the command line changed in the arm's experiment, as the arm's name says it."""
        experiment = next((str(r.content["experiment"]) for r in self.runs.values()), self.name)
        return self.name.removeprefix(experiment)

    @property
    def seeds(self) -> list[int]:
        """Seeds with a finished run."""
        return sorted(self.runs)

    def values(self, key: str) -> dict[int, float]:
        """Seed → value of a metric, where it is a finite number."""
        return {s: self.runs[s].metrics[key] for s in self.seeds if key in self.runs[s].metrics}


def one_data_set(tree: RunTree, wanted: str | None) -> list[Run]:
    """Returns the runs of the only data set of the tree, or of the one that was asked for.

    Args:
        tree: What was read.
        wanted: A data set's name or the first characters of its fingerprint, or None.

    Raises:
        MtlfaceError: The runs come from different data, or none comes from the data asked for.
    """
    groups: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in tree.runs:
        groups[(str(run.data.get("name")), str(run.data.get("fingerprint")))].append(run)
    found = "; ".join(_describe(*key, runs) for key, runs in sorted(groups.items()))
    if wanted:
        groups = {
            key: runs
            for key, runs in groups.items()
            if key[0] == wanted or key[1].startswith(wanted)
        }
        if not groups:
            raise MtlfaceError(f"data={wanted}: no run was made on it. Found {found}.")
    if len(groups) > 1:
        name, fingerprint = min(groups)
        same_name = len({key[0] for key in groups}) < len(groups)
        choice = fingerprint[:12] if same_name else name
        raise MtlfaceError(
            f"These runs come from {len(groups)} different data sets and cannot stand in one "
            f"table: {found}. Compare one at a time: add data={choice} (a name or the start of a "
            "fingerprint), or point runs= at a folder that holds one of them."
        )
    return next(iter(groups.values()))


def group_arms(runs: Sequence[Run], tree: RunTree) -> tuple[list[Arm], list[str]]:
    """Sorts the runs into arms, single-task arms first; a second run of an arm's seed is noted."""
    notes: list[str] = []
    groups_of: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        groups_of[run.arm].add(run.group)
    arms: dict[str, Arm] = {}

    def arm_of(name: str, group: str) -> Arm:
        label = name if len(groups_of[name]) < 2 else f"{group}/{name}"
        return arms.setdefault(label, Arm(label, name, group))

    for run in sorted(runs, key=lambda r: (r.folder / "result.json").stat().st_mtime):
        arm = arm_of(run.arm, run.group)
        if run.seed in arm.runs:
            notes.append(
                f"Arm {arm.label} has two runs of seed {run.seed}: {run.folder} is taken, "
                f"the older {arm.runs[run.seed].folder} is left out."
            )
        arm.runs[run.seed] = run
    names = {str(run.data.get("name")) for run in runs}
    for cut in tree.unfinished:
        if cut.data in names or cut.data not in {str(r.data.get("name")) for r in tree.runs}:
            arm_of(cut.arm, cut.group).unfinished.append(cut)
    ordered = sorted(arms.values(), key=lambda a: (not a.runs, len(a.tasks), a.label))
    return ordered, notes


def warnings_of(arms: Sequence[Arm]) -> list[str]:
    """Says in what the arms differ that they should not, and what is missing."""
    finished = [arm for arm in arms if arm.runs]
    return [*_missing(arms), *_nulls(finished), *_differences(finished)]


def _differences(arms: Sequence[Arm]) -> list[str]:
    warnings = []
    for path, words in SHOULD_AGREE.items():
        arms_of: dict[str, list[str]] = defaultdict(list)
        for arm in arms:
            for value in sorted({_show(run.lookup(path)) for run in arm.runs.values()}):
                arms_of[value].append(arm.label)
        if len(arms_of) > 1:
            each = "; ".join(f"{value} ({_some(names)})" for value, names in arms_of.items())
            warnings.append(
                f"Runs differ in {words}: {each}. A difference between them may come from this "
                "and not from sharing."
            )
    return warnings


def _missing(arms: Sequence[Arm]) -> list[str]:
    warnings = []
    every = sorted({seed for arm in arms for seed in arm.runs})
    for arm in arms:
        failed = {u.seed: u.error for u in arm.unfinished if u.error and u.seed not in arm.runs}
        for seed, error in failed.items():
            warnings.append(f"Arm {arm.label} failed with seed {seed}: {error}")
        absent = [s for s in every if s not in arm.runs and s not in failed]
        cut = {u.seed for u in arm.unfinished} - set(failed)
        if absent:
            how = "unfinished" if set(absent) <= cut else "missing"
            warnings.append(
                f"Arm {arm.label} has no result for {_seeds(absent)} ({how}); its differences use "
                "only the seeds that both arms have. Start the sweep again to fill the gap."
            )
    return warnings


def _nulls(arms: Sequence[Arm]) -> list[str]:
    warnings = []
    for arm in arms:
        seeds_of: dict[str, list[int]] = defaultdict(list)
        for seed in arm.seeds:
            for key in arm.runs[seed].nulls:
                seeds_of[key].append(seed)
        for key, seeds in seeds_of.items():
            warnings.append(
                f"Arm {arm.label}: {key} is no finite number for {_seeds(seeds)}; left out of "
                "its mean."
            )
    return warnings


def _describe(name: str, fingerprint: str, runs: Sequence[Run]) -> str:
    counts = runs[0].data.get("counts")
    counts = counts if isinstance(counts, Mapping) else {}
    sizes = "/".join(f"{n:,}" if isinstance(n, int) else "?" for n in counts.values())
    kind = runs[0].data.get("root_kind")
    arms = _some(sorted({run.arm for run in runs}))
    return f"{name} ({kind}, {sizes} pictures, fingerprint {fingerprint[:12]}; arms {arms})"


def _some(names: Sequence[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _seeds(seeds: Iterable[int]) -> str:
    seeds = list(seeds)
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _show(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{k}={v}" for k, v in value.items()) or "none"
    if isinstance(value, list):
        return "×".join(map(str, value))
    return str(value)
