"""Finds and reads the run folders of any tree: what finished, what failed, what is half done."""

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mtlface.analysis.result_shape import LONGEST_NAME, shape_problem
from mtlface.data.schema import Labels
from mtlface.errors import MtlfaceError
from mtlface.training.reports import TRIALS
from mtlface.training.result import read_json
from mtlface.values import printable, shown

LONGEST_ERROR = 5000  # characters
RUN_FILES = {"result.json", "error.json", "config.yaml"}


@dataclass(frozen=True)
class Run:
    """One finished run: its folder and the content of its `result.json`.

    Attributes:
        folder: The run folder.
        content: What the file says; of a run on several sources, what it says of `source`.
        source: The one source that counts, or None for all.
    """

    folder: Path
    content: Mapping[str, Any]
    source: str | None = None

    @property
    def arm(self) -> str:
        """The arm's name as the run wrote it."""
        return str(self.content["arm"])

    @property
    def group(self) -> str:
        """The sweep that the run belongs to, or its experiment where it was started alone."""
        return str(self.content.get("sweep") or self.content["experiment"])

    @property
    def seed(self) -> int:
        """The seed."""
        return int(self.content["seed"])

    @property
    def tasks(self) -> dict[str, dict[str, str]]:
        """Task name → its label and primary metric."""
        return dict(self.content["tasks"])

    @cached_property
    def labels(self) -> Labels:
        """The label schema of the data; empty where the run did not write it down."""
        return Labels.from_dict(self.content.get("labels") or [])

    @property
    def effects(self) -> dict[str, float | str]:
        """Task → the smallest difference of interest that the run's config declares."""
        return dict(self.content.get("effects") or {})

    @property
    def test_set(self) -> str | None:
        """The fingerprints of what the run was tested on; None where it did not write them down."""
        sources = self.content.get("evaluated_on") or {}
        return " ".join(str(of["fingerprint"]) for of in sources.values()) or None

    @property
    def test_labels(self) -> dict[str, str]:
        """Task → the fingerprint of the test images with its labels."""
        sources = (self.content.get("evaluated_on") or {}).values()
        tasks = dict.fromkeys(task for of in sources for task in of.get("labels") or {})
        return {
            task: " ".join(of["labels"][task] for of in sources if task in (of.get("labels") or {}))
            for task in tasks
        }

    @property
    def label(self) -> str:
        """What tables and figures call its experiment."""
        return str(self.content.get("label") or self.content["experiment"])

    @property
    def data(self) -> Mapping[str, Any]:
        """Name, kind of root, counts and fingerprint of the data."""
        every = list(self.content["trained_on"].values())
        if len(every) == 1:
            whole = dict(every[0])
        else:
            splits = {split: sum(d["counts"][split] for d in every) for split in every[0]["counts"]}
            kinds = {described["root_kind"] for described in every}
            kind = kinds.pop() if len(kinds) == 1 else "mixed"
            whole = {"root_kind": kind, "counts": splits}
        images = "+".join(str(described["images"]) for described in every)
        return {**whole, "name": self.content["data"], "fingerprint": images}

    def by_source(self) -> list["Run"]:
        """The run, and where it is on several sources, also what it is on each."""
        sources = self.content.get("evaluated_on") or {}
        return [self, *(self._on(name) for name in sources if len(sources) > 1)]

    def _on(self, name: str) -> "Run":
        """The run as if it had been tested on this source alone."""
        found = self.content["evaluated_on"][name]
        kept = {k: v for k, v in self.content["metrics"].items() if not k.startswith("test/")}
        content = {
            **self.content,
            "data": name,
            "trained_on": {name: self.content["trained_on"][name]},
            "evaluated_on": {name: found},
            "tasks": {t: info for t, info in self.content["tasks"].items() if t in found["labels"]},
            "metrics": kept | {f"test/{k}": value for k, value in found["metrics"].items()},
            "trivial": {f"test/{k}": value for k, value in found["trivial"].items()},
        }
        return Run(self.folder, content, name)

    @cached_property
    def metrics(self) -> dict[str, float]:
        """The metrics that are finite numbers."""
        return _finite(self.content["metrics"])

    @property
    def groups(self) -> tuple[str, ...]:
        """The columns by which test metrics are told, such as `race`."""
        told = (key.partition("@")[2] for key in self.content["metrics"])
        return tuple(dict.fromkeys(of.partition("=")[0] for of in told if of))

    @cached_property
    def trivial(self) -> dict[str, float]:
        """What a constant predictor scores, under the same keys."""
        return _finite(self.content.get("trivial") or {})

    @property
    def nulls(self) -> list[str]:
        """Test metrics that the run could not compute (null, or NaN in a foreign file)."""
        every = self.content["metrics"]
        return sorted(k for k in every if k.startswith("test/") and k not in self.metrics)

    def lookup(self, dotted: str) -> Any:
        """Returns the value at a dotted path of `result.json`, None where it is absent."""
        node: Any = self.content
        for part in dotted.split("."):
            node = node.get(part) if isinstance(node, Mapping) else None
        return node


@dataclass(frozen=True)
class UnfinishedRun:
    """A run folder without a result: it failed (`error` says why), or it was cut off."""

    folder: Path
    group: str
    arm: str
    data: str
    seed: int | None
    error: str | None


@dataclass
class RunTree:
    """All run folders below some roots, and what had to be said while reading them."""

    runs: list[Run] = field(default_factory=list)
    unfinished: list[UnfinishedRun] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_runs(roots: Sequence[Path]) -> RunTree:
    """Reads every run folder below the roots, sorted by path.

    A `result.json` that is torn or of another schema becomes a note, not an error: one bad file
    must not hide the other 499 runs.

    Raises:
        MtlfaceError: A root does not exist, or no finished run lies below the roots.
    """
    tree = RunTree()
    seen: set[Path] = set()
    for root in roots:
        if not root.is_dir():
            raise MtlfaceError(
                f"runs={root}: there is no such folder. Expected a folder that holds run folders "
                "(…/<arm>/<data>/seed=<n>/result.json); look into 'outputs' for the ones you have."
            )
        for folder, files in _run_folders(root):
            if folder.resolve() in seen:
                continue
            seen.add(folder.resolve())
            if "result.json" not in files:
                tree.unfinished.append(_read_unfinished(folder, files))
            elif (run := _read_result(folder, tree.notes)) is not None:
                tree.runs += [each for each in run.by_source() if each.tasks]
    if not tree.runs:
        raise MtlfaceError(_nothing_found(roots, tree))
    return tree


def _run_folders(root: Path) -> Iterator[tuple[Path, set[str]]]:
    for folder, folders, files in os.walk(root):
        place = Path(folder).relative_to(root).parts
        if TRIALS in place[:-1] and place[-1].isdigit():
            folders.clear()  # what settings were chosen by, on validation, is no result
            continue
        found = RUN_FILES.intersection(files)
        # config.yaml alone marks a run only in a seed folder: Hydra writes one beside a sweep too.
        if found - {"config.yaml"} or (found and Path(folder).name.startswith("seed=")):
            folders.clear()
            yield Path(folder), set(files)
        else:
            folders[:] = sorted(f for f in folders if not f.startswith("."))


def _read_result(folder: Path, notes: list[str]) -> Run | None:
    path = folder / "result.json"
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        reason = shown(str(error), LONGEST_NAME)
        notes.append(f"{path} cannot be read ({reason}); this run is left out: run it again.")
        return None
    run = Run(folder, content)
    problem = shape_problem(content) or _value_problem(run)
    if problem:
        notes.append(f"{path} {problem}; this run is left out.")
        return None
    return run


def _value_problem(run: Run) -> str | None:
    """What of a result cannot be read as this version wants it."""
    for name in ("labels", "effects", "test_set", "data", "metrics", "trivial", "nulls", "seed"):
        try:
            getattr(run, name)
        except Exception as error:  # whatever a foreign value makes of it
            return f"has other values than expected ({name}: {type(error).__name__})"
    return None


def _read_unfinished(folder: Path, files: set[str]) -> UnfinishedRun:
    error = None
    if "error.json" in files:
        try:
            error = shown(str(read_json(folder / "error.json")["error"]), LONGEST_ERROR)
        except (OSError, ValueError, KeyError, TypeError):
            error = "error.json cannot be read"
    places = map(printable, folder.resolve().parts)
    group, arm, data, last = ("", "", "", "", *places)[-4:]
    seed = re.fullmatch(r"seed=(\d+)", last)
    return UnfinishedRun(folder, group, arm, data, int(seed[1]) if seed else None, error)


def _finite(values: Mapping[str, Any]) -> dict[str, float]:
    return {
        key: float(value)
        for key, value in values.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


def _nothing_found(roots: Sequence[Path], tree: RunTree) -> str:
    where = ", ".join(map(str, roots))
    message = f"runs={where}: no finished run (a folder with a result.json) was found."
    if tree.unfinished:
        failed = [u for u in tree.unfinished if u.error]
        message += f" {len(tree.unfinished)} runs are unfinished, {len(failed)} of them failed"
        message += f" (first: {failed[0].error})." if failed else "."
    if tree.notes:
        message += " " + tree.notes[0]
    return message + " Start the sweep again: finished runs are skipped, the rest is run."
