"""Which runs a sweep has, where each lies, and how far each is; known before any is started."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from mtlface.errors import MtlfaceError
from mtlface.training.result import config_fingerprint
from mtlface.training.sweeps.job import is_done


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep.

    Attributes:
        overrides: The command line's changes that make this run.
        folder: Its run folder.
        fingerprint: Of its resolved config.
    """

    overrides: tuple[str, ...]
    folder: Path
    fingerprint: str

    @property
    def arm(self) -> str:
        """What comparisons call the configuration."""
        return self.folder.parts[-3]

    @property
    def seed(self) -> str:
        """Its seed."""
        return self.folder.name.removeprefix("seed=")

    @property
    def done(self) -> bool:
        """Whether its result is there."""
        return is_done(self.folder, self.fingerprint)

    @property
    def stale(self) -> bool:
        """Whether the result of another configuration lies in its folder."""
        return not self.done and (self.folder / "result.json").is_file()


def plan(loader: ConfigLoader, master: DictConfig) -> list[PlannedRun]:
    """The runs of a multirun, in the order that Hydra would start them.

    Args:
        loader: Composes configs.
        master: The config that all of them share, composed for a multirun.

    Raises:
        MtlfaceError: A seed is not a whole number, or two runs would share a folder.
    """
    composed: dict[tuple[str, ...], DictConfig] = {}
    runs: dict[Path, PlannedRun] = {}
    for overrides in combinations(master):
        seed = next((o for o in overrides if o.startswith("seed=")), None)
        rest = tuple(o for o in overrides if o != seed)
        # Composing takes a third of a second, and the seeds of an arm differ in one value only.
        if rest not in composed:
            composed[rest] = loader.load_sweep_config(master, list(overrides))
        cfg = composed[rest]
        if seed is not None:
            cfg.seed = _whole_number(seed)
        run = planned_run(cfg, overrides)
        other = runs.setdefault(run.folder, run)
        if other.fingerprint != run.fingerprint:
            raise MtlfaceError(
                f"Two runs of this sweep would share the folder {run.folder}: "
                f"{' '.join(other.overrides)} and {' '.join(run.overrides)}. They differ in where "
                "or on which data they run, which is no part of an arm's name; start them one "
                "after the other with an outputs= folder each."
            )
    return list(runs.values())


def combinations(master: DictConfig) -> list[tuple[str, ...]]:
    """The overrides of each run: the sweep's choices, those of the command line in their place.

    A sweep whose arms do not all vary in the same keys lists several `grids` of choices, each
    beside the choices that all of them share.
    """
    runs: dict[tuple[str, ...], None] = {}
    for grid in master.grids or [{}]:
        choices = {**(master.hydra.sweeper.params or {}), **grid}
        chosen = [f"{key}={value}" for key, value in choices.items()]
        parser = OverridesParser.create()
        overrides = parser.parse_overrides([*chosen, *master.hydra.overrides.task])
        for run in BasicSweeper.split_arguments(overrides, None)[0]:
            runs[tuple(run)] = None
    return list(runs)


def planned_run(cfg: DictConfig, overrides: tuple[str, ...]) -> PlannedRun:
    """The run of a composed config."""
    folder = Path(cfg.hydra.sweep.dir) / cfg.hydra.sweep.subdir
    job = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    return PlannedRun(overrides, folder.absolute(), config_fingerprint(job))


def _whole_number(override: str) -> int:
    try:
        return int(override.partition("=")[2])
    except ValueError as error:
        raise MtlfaceError(f"{override}: a seed is a whole number, such as seed=0.") from error
