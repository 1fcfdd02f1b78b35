"""Which runs a sweep has, where each lies, and how far each is; known before any is started."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations as combinations_of
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from mtlface.errors import MtlfaceError
from mtlface.training.arm import arm_name, only_task
from mtlface.training.config_schema import check_value, check_values
from mtlface.training.identity import RunId
from mtlface.values import quoted


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep.

    Attributes:
        overrides: The command line's changes that make this run.
        folder: Its run folder.
        run_id: What it is.
    """

    overrides: tuple[str, ...]
    folder: Path
    run_id: RunId

    @property
    def fingerprint(self) -> str:
        """Of what the run is."""
        return self.run_id.fingerprint

    @property
    def arm(self) -> str:
        """What comparisons call the configuration."""
        return self.folder.parts[-3]

    @property
    def seed(self) -> str:
        """Its seed."""
        return self.folder.name.removeprefix("seed=")

    @property
    def job(self) -> list[str]:
        """The overrides to start it with; the arm's name is not worked out again."""
        return [*self.overrides, f"arm={quoted(self.arm)}"]

    @property
    def done(self) -> bool:
        """Whether its result is there."""
        return self.run_id.result_in(self.folder) is not None

    @property
    def stale(self) -> bool:
        """Whether the result of another run, or of this one on other data, is in its folder."""
        found = not self.done and (self.folder / "result.json").is_file()
        return found and not self.run_id.extend


class Planner:
    """Composes runs; the seeds of an arm are composed once, for it takes a third of a second.

    Args:
        loader: Composes configs.
        master: The config that all runs share.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self._loader, self._master = loader, master
        self._groups = frozenset(loader.list_groups(""))
        self._composed: dict[tuple[str, ...], DictConfig] = {}
        self._names: dict[tuple[str, ...], str] = {}

    def config(self, overrides: tuple[str, ...]) -> DictConfig:
        """The composed config of a run, with the name of its arm; the next call may change it.

        Raises:
            MtlfaceError: A value of it is not possible.
        """
        seed = next((o for o in overrides if o.startswith("seed=")), None)
        rest = tuple(o for o in overrides if o != seed)
        cfg = self._compose(rest)
        if rest not in self._names:
            check_values(cfg)
            given = any(o.startswith("arm=") for o in rest)
            compose = lambda changes: self._compose(tuple(changes))  # noqa: E731
            self._names[rest] = cfg.arm if given else arm_name(cfg, rest, self._groups, compose)
        cfg.arm = self._names[rest]
        if seed is not None:
            cfg.seed = _whole_number(seed)
        return cfg

    def run(self, overrides: tuple[str, ...]) -> PlannedRun:
        """The run of these overrides."""
        return planned_run(self.config(overrides), overrides)

    def twins(self, overrides: tuple[str, ...]) -> list[PlannedRun]:
        """The single-task twins of a multi-task run, where they are wanted."""
        cfg = self.config(overrides)
        wanted = cfg.twins and cfg.only is None and len(cfg.tasks) > 1
        tasks = [str(task) for task in cfg.tasks] if wanted else []
        given = [o for o in overrides if o.startswith("match=") and cfg.match is not None]
        rest = tuple(o for o in overrides if o not in given)
        ways = [rest, (*rest, *given)] if given else [rest]
        return [self.run((*way, f"only={task}")) for task in tasks for way in ways]

    def _compose(self, overrides: tuple[str, ...]) -> DictConfig:
        if overrides not in self._composed:
            self._composed[overrides] = self._loader.load_sweep_config(
                self._master, list(overrides)
            )
        return self._composed[overrides]


def plan(loader: ConfigLoader, master: DictConfig) -> list[PlannedRun]:
    """The runs of a multirun, in the order that Hydra would start them, and then their twins.

    With `twins` each multi-task arm brings one run for each of its tasks, which is the arm cut to
    that task. Runs that are the same by identity are one run, so that a single-task arm of the same
    recipe is the twin, and all balancing methods share theirs.

    Args:
        loader: Composes configs.
        master: The config that all of them share, composed for a multirun.

    Raises:
        MtlfaceError: A value is not possible, there is no run, or two would share a folder.
    """
    check_value("grids", OmegaConf.to_container(master).get("grids"))  # type: ignore[union-attr]
    planner, wanted = Planner(loader, master), combinations(master)
    if not wanted:
        raise MtlfaceError(
            "The sweep has no run: one of its keys has no value, such as seed=range(0). Give each "
            "key at least one."
        )
    runs: dict[str, PlannedRun] = {}
    folders: dict[Path, PlannedRun] = {}
    # Whole arms first: a single-task arm of a recipe has a name of its own, and is the twin.
    whole = [planner.run(overrides) for overrides in wanted]
    twins = [twin for overrides in wanted for twin in planner.twins(overrides)]
    for run in [*whole, *twins]:
        if run.fingerprint in runs:
            continue
        other = folders.setdefault(run.folder, run)
        if other is not run:
            raise MtlfaceError(
                f"Two runs of this sweep would share the folder {run.folder}: "
                f"{' '.join(other.overrides)} and {' '.join(run.overrides)}. They differ in what "
                "is no part of an arm's name; start them one after the other with an outputs= "
                "folder each."
            )
        runs[run.fingerprint] = run
    return list(runs.values())


def combinations(master: DictConfig) -> list[tuple[str, ...]]:
    """The overrides of each run: the sweep's choices, those of the command line in their place.

    A sweep whose arms do not all vary in the same keys lists several `grids` of choices, each
    beside the choices that all of them share.
    """
    runs: dict[tuple[str, ...], None] = {}
    tasks = task_sets(list(master.transfer.tasks), int(master.transfer.largest))
    for grid in master.grids or [{}]:
        choices = {**(master.hydra.sweeper.params or {}), **tasks, **grid}
        chosen = [f"{key}={value}" for key, value in choices.items()]
        parser = OverridesParser.create()
        overrides = parser.parse_overrides([*chosen, *master.hydra.overrides.task])
        for run in BasicSweeper.split_arguments(overrides, None)[0]:
            runs[tuple(run)] = None
    return list(runs)


def task_sets(tasks: Sequence[str], largest: int) -> dict[str, str]:
    """The choice of every set of tasks up to a size, each task alone first; none of no tasks.

    Raises:
        MtlfaceError: A task is named twice, or there is only one.
    """
    if not tasks:
        return {}
    if len(set(tasks)) < max(2, len(tasks)):
        raise MtlfaceError(
            f"transfer.tasks={list(tasks)}: expected two different tasks or more, each named once."
        )
    sizes = range(1, min(largest, len(tasks)) + 1)
    sets = [",".join(chosen) for size in sizes for chosen in combinations_of(tasks, size)]
    return {"task": ",".join(f"[{names}]" for names in sets)}


def planned_run(cfg: DictConfig, overrides: tuple[str, ...]) -> PlannedRun:
    """The run of a composed config."""
    folder = Path(cfg.hydra.sweep.dir) / cfg.hydra.sweep.subdir
    return PlannedRun(overrides, folder.absolute(), RunId.of(only_task(cfg)))


def _whole_number(override: str) -> int:
    text = override.partition("=")[2]
    value = int(text) if re.fullmatch(r"-?\d{1,20}", text) else text
    check_value("seed", value)
    return int(value)
