"""Which runs may stand in one table: one data set only, a warning for other differences."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mtlface.analysis.results import Run, RunTree, UnfinishedRun
from mtlface.errors import MtlfaceError

# What no config says, or says for all arms, and should be equal between arms: path → words.
SHOULD_AGREE = {
    "selection.monitor": "what selects the checkpoint",
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


def test_sets(tree: RunTree, wanted: str | None) -> list[list[Run]]:
    """The runs by what they were tested on: one group, or one for each source of a join.

    What they were trained on may differ. Where the split comes from the seed, the test images of a
    seed must be those of all arms.

    Args:
        tree: What was read.
        wanted: A data set's name, or the first characters of a fingerprint of its images or test
            images; None for the only one, or for all sources of runs that learnt from several.

    Raises:
        MtlfaceError: The runs were tested on different images or labels, or none on those asked
            for.
    """
    groups = _test_sets(tree.runs)
    found = "; ".join(map(_describe, groups))
    if wanted:
        groups = [[r for r in runs if _is_called(r, wanted)] for runs in groups]
        groups = [runs for runs in groups if runs]
        if not groups:
            raise MtlfaceError(f"data={wanted}: no run was made on it. Found {found}.")
    elif len(groups) > 1:
        groups = _sources_of_a_join(groups) or groups
    names = [str(runs[0].data["name"]) for runs in groups]
    joined = not wanted and all(any(run.source for run in runs) for runs in groups)
    if len(groups) > 1 and (not joined or len(set(names)) < len(names)):
        print_of = [str(runs[0].test_set or runs[0].data["fingerprint"])[:12] for runs in groups]
        choice = print_of[0] if len(set(names)) < len(names) else names[0]
        raise MtlfaceError(
            f"These runs were tested on {len(groups)} different sets of images and cannot stand in "
            f"one table: {found}. Compare one at a time: add data={choice} (a name or the start of "
            "a fingerprint), or point runs= at a folder that holds one of them."
        )
    for runs in groups:
        _check_labels(runs)
    return groups


def one_test_set(tree: RunTree, wanted: str | None) -> list[Run]:
    """The runs of the only test set of the tree, or of the one that was asked for.

    Raises:
        MtlfaceError: As for `test_sets`, or the runs learnt from several sources and none is named.
    """
    first, *more = test_sets(tree, wanted)
    if more:
        names = ", ".join(str(runs[0].data["name"]) for runs in (first, *more))
        raise MtlfaceError(f"These runs were tested on several sources: {names}. Name one: data=….")
    return first


def _sources_of_a_join(groups: Sequence[list[Run]]) -> list[list[Run]]:
    """The groups of single sources, where all others are of runs on several at once."""
    single = [runs for runs in groups if any(run.source for run in runs)]
    whole = [runs for runs in groups if runs not in single]
    several = (len(run.content.get("evaluated_on") or {}) > 1 for runs in whole for run in runs)
    return single if all(several) else []


def _test_sets(runs: Sequence[Run]) -> list[list[Run]]:
    """Groups of runs that were tested on the same images, seed by seed."""
    by_images: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        by_images[str(run.data["name"]), str(run.data["fingerprint"])].append(run)
    groups: list[list[Run]] = []
    for (name, _), members in sorted(by_images.items()):
        seeded: dict[int, set[str | None]] = defaultdict(set)
        for run in members:
            seeded[run.seed].add(run.test_set)
        # Splits from the seed: the same images, drawn anew for each seed, alike in all arms.
        parts = [members]
        if any(len(sets) > 1 for sets in seeded.values()):
            once = dict.fromkeys(run.test_set for run in members)
            parts = [[r for r in members if r.test_set == test] for test in once]
        for part in parts:
            tests = {run.test_set for run in part} - {None}
            same = (g for g in groups if g[0].data["name"] == name)
            # Trained on other images, tested on the same ones.
            joined = next((g for g in same if tests & {run.test_set for run in g}), None)
            if joined is None:
                groups.append(list(part))
            else:
                joined.extend(part)
    return groups


def _check_labels(runs: Sequence[Run]) -> None:
    known: dict[tuple[str, str | None], tuple[str, Run]] = {}
    for run in runs:
        for task, labels in run.test_labels.items():
            first, other = known.setdefault((task, run.test_set), (labels, run))
            if first != labels:
                raise MtlfaceError(
                    f"{run.folder} and {other.folder} were tested on the same images with "
                    f"different labels of {task}: their metrics do not measure the same thing. "
                    "One of them was run before its label file changed; run it again."
                )


def _is_called(run: Run, wanted: str) -> bool:
    prints = (str(run.data["fingerprint"]), *(run.test_set or "").split())
    return run.data["name"] == wanted or any(p.startswith(wanted) for p in prints)


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


def _describe(runs: Sequence[Run]) -> str:
    data = runs[0].data
    counts = data.get("counts")
    counts = counts if isinstance(counts, Mapping) else {}
    sizes = "/".join(f"{n:,}" if isinstance(n, int) else "?" for n in counts.values())
    arms = _some(sorted({run.arm for run in runs}))
    prints = f"fingerprint {str(data['fingerprint'])[:12]}"
    if test := runs[0].test_set:
        prints += f", test images {test[:12]}"
    return f"{data['name']} ({data.get('root_kind')}, {sizes} images, {prints}; arms {arms})"


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
