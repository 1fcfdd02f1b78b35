"""From a command line to runs: compose, plan, start what is not done, say how it went."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import count
from pathlib import Path

# Hydra makes the context of its plugins from this class, and has no other name for it.
from hydra._internal.callbacks import Callbacks
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import configure_log, run_job
from hydra.initialize import initialize_config_dir
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, open_dict
from rich.console import Console

from mtlface.errors import MtlfaceError
from mtlface.training.ranks import is_first_rank
from mtlface.training.reports import Outcome, heard_by
from mtlface.training.sweeps.job import job, monitored
from mtlface.training.sweeps.mistakes import explained
from mtlface.training.sweeps.overview import Overview
from mtlface.training.sweeps.plan import PlannedRun, Planner, plan
from mtlface.training.sweeps.summary import ending, outcomes, searched, show, summary
from mtlface.training.sweeps.tune import Search, Train, search, searches_of, tuned_runs
from mtlface.values import as_line

log = logging.getLogger(__name__)

FAILED = 1
EVERY_CHOICE = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
IN_THIS_PROCESS = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


def start(conf: Path, overrides: Sequence[str], multirun: bool) -> int:
    """Runs what the command line asks for and returns the exit code.

    Args:
        conf: The folder of the configs.
        overrides: The command line without its flags.
        multirun: Whether several values of a key mean several runs, as `-m` says.

    Raises:
        MtlfaceError: The command line does not make a config.
    """
    with initialize_config_dir(str(conf), job_name="train", version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        with explained(overrides, loader.list_groups("")):
            cfg = compose(loader, list(overrides), multirun)
            several = cfg.hydra.mode == RunMode.MULTIRUN
            chosen = cfg.hydra.sweeper._target_ != EVERY_CHOICE
            if several and chosen:
                return _other_sweeper(cfg, HydraContext(loader, Callbacks(cfg)))
            runs = plan(loader, cfg) if several else []
            searches = searches_of(loader, cfg, runs) if cfg.get("tune") is not None else {}
            cfg.arm = cfg.arm if several else Planner(loader, cfg).config(_task(cfg)).arm
        configure_log(cfg.hydra.hydra_logging, cfg.hydra.verbose)
        context = HydraContext(config_loader=loader, callbacks=Callbacks(cfg))
        if searches:
            return _tuned_sweep(cfg, context, runs, searches)
        return _sweep(cfg, context, runs) if runs else _single(cfg, context)


def train_one(conf: Path, overrides: Sequence[str]) -> Outcome:
    """Trains the one run that the words ask for.

    Args:
        conf: The folder of the configs.
        overrides: As on the command line.

    Raises:
        MtlfaceError: They do not make a config, or make several runs.
    """
    with initialize_config_dir(str(conf), job_name="train", version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        with explained(overrides, loader.list_groups("")):
            cfg = compose(loader, list(overrides), multirun=False)
            if cfg.hydra.mode == RunMode.MULTIRUN:
                raise MtlfaceError(
                    "This trains one run, and a sweep= or tune= is many of them. Start it as a "
                    f"command: python -m mtlface.train {' '.join(overrides)}"
                )
            cfg.arm = Planner(loader, cfg).config(_task(cfg)).arm
        return _outcome(cfg, HydraContext(config_loader=loader, callbacks=Callbacks(cfg)))


def compose(loader: ConfigLoader, overrides: list[str], multirun: bool) -> DictConfig:
    """The config of the only run, or the one that all runs of a sweep share."""
    if multirun:
        overrides = [*overrides, "hydra.mode=MULTIRUN"]
    # A sweep= sets the mode in its file, so that it is known only afterwards.
    cfg = loader.load_configuration(
        "train", overrides, RunMode.MULTIRUN, validate_sweep_overrides=False
    )
    parsed = OverridesParser.create().parse_overrides(overrides)
    if cfg.get("tune") is not None and cfg.hydra.mode != RunMode.MULTIRUN:
        return compose(loader, overrides, multirun=True)  # a search of one arm is many runs
    if cfg.hydra.mode != RunMode.MULTIRUN and any(o.is_sweep_override() for o in parsed):
        return loader.load_configuration("train", overrides, RunMode.RUN)  # raises, with a reason
    return cfg


def _task(cfg: DictConfig) -> tuple[str, ...]:
    return tuple(cfg.hydra.overrides.task)


def _outcome(cfg: DictConfig, context: HydraContext) -> Outcome:
    returned = run_job(
        task_function=job,
        config=cfg,
        job_dir_key="hydra.run.dir",
        job_subdir_key=None,
        hydra_context=context,
    )
    outcome: Outcome = returned.return_value
    return outcome


def _single(cfg: DictConfig, context: HydraContext) -> int:
    outcome = _outcome(cfg, context)
    if outcome.state != "failed":
        if is_first_rank():
            show(ending(outcome.folder))
        return 0
    print(f"error: {as_line(str(outcome.error))}", file=sys.stderr)
    if not outcome.expected:
        print(f"The stack trace is in {outcome.folder / 'train.log'}.", file=sys.stderr)
    return 2 if outcome.expected else FAILED


def _other_sweeper(cfg: DictConfig, context: HydraContext) -> int:
    """A sweeper of the user's own choice, such as Optuna's: it asks, and each run answers.

    It plans as it goes, so that nothing is known beforehand: runs lie in `trials/` by number, and
    neither twins nor a finished run's result are looked for.
    """
    if cfg.get("tune") is not None:
        raise MtlfaceError(
            f"hydra/sweeper={cfg.hydra.sweeper._target_} and tune= both choose settings. Leave one "
            "of them out."
        )
    if cfg.grids or cfg.transfer.tasks or cfg.twins:
        raise MtlfaceError(
            f"hydra/sweeper={cfg.hydra.sweeper._target_} chooses the runs itself, and sweep="
            f"{cfg.hydra.runtime.choices.get('sweep')} lists them. Take one of them: an experiment "
            "with the sweeper, or the sweep without it."
        )
    configure_log(cfg.hydra.hydra_logging, cfg.hydra.verbose)
    with open_dict(cfg):  # what every trial is composed with
        cfg.hydra.overrides.hydra.append("hydra.sweep.subdir='${group}/trials/${hydra.job.num}'")
    sweeper = Plugins.instance().instantiate_sweeper(
        hydra_context=context, task_function=monitored, config=cfg
    )
    sweeper.sweep(arguments=list(cfg.hydra.overrides.task))
    return 0


def _sweep(cfg: DictConfig, context: HydraContext, runs: list[PlannedRun]) -> int:
    done_before = {run.folder for run in runs if run.done}
    todo = [run for run in runs if run.folder not in done_before]
    for run in todo:
        (run.folder / "error.json").unlink(missing_ok=True)
        if run.stale:
            log.warning("%s has a result of other data or settings, to be set aside.", run.folder)
    console = Console(markup=False, emoji=False)  # arms and errors are text
    live = console.is_terminal and cfg.hydra.launcher._target_ == IN_THIS_PROCESS
    overview = Overview(runs, console) if live and todo else None
    if overview is None:
        print(f"{len(todo)} of {len(runs)} runs are to be done.", flush=True)
    with overview or nullcontext(), heard_by(overview):
        _launch(cfg, context, todo)
    ended = outcomes(runs, done_before)
    show(summary(runs, ended, list(cfg.hydra.overrides.hydra)))
    return 0 if all(r.folder in ended and ended[r.folder].error is None for r in runs) else FAILED


def _tuned_sweep(
    cfg: DictConfig,
    context: HydraContext,
    runs: list[PlannedRun],
    searches: dict[tuple[str, ...], Search],
) -> int:
    """Every arm's trials, and then the sweep with what they chose."""
    found = list(searches.values())
    print(f"{found[0].settings.trials} trials for each of {len(found)} arms.", flush=True)
    if is_first_rank():
        search(found, _trainer(cfg, context))
        show(searched(found))
    tuned = tuned_runs(context.config_loader, cfg, runs, searches)
    code = _sweep(cfg, context, tuned) if tuned else FAILED
    return code if len(tuned) == len(runs) else FAILED


def _trainer(cfg: DictConfig, context: HydraContext) -> Train:
    """Trains jobs by the launcher, and gives their outcomes; one that it lost has failed."""
    launcher = Plugins.instance().instantiate_launcher(
        hydra_context=context, task_function=job, config=cfg
    )
    here = cfg.hydra.launcher._target_ == IN_THIS_PROCESS
    numbers = count()

    def train(jobs: Sequence[list[str]]) -> Iterator[Outcome]:
        for batch in [[one] for one in jobs] if here else [list(jobs)]:
            try:
                returned = launcher.launch(batch, initial_job_idx=next(numbers))
            except Exception as error:
                if cfg.debug:
                    raise
                lost = f"the launcher stopped: {type(error).__name__}: {error}"
                yield from (Outcome(Path(), "failed", error=lost) for _ in batch)
            else:
                yield from (one.return_value for one in returned)

    return train


def _launch(cfg: DictConfig, context: HydraContext, todo: list[PlannedRun]) -> None:
    if not todo:
        return
    launcher = Plugins.instance().instantiate_launcher(
        hydra_context=context, task_function=job, config=cfg
    )
    # What Hydra returns of a job holds its configs: in this process, hundreds would add up.
    here = cfg.hydra.launcher._target_ == IN_THIS_PROCESS
    for first, batch in enumerate([[run] for run in todo] if here else [todo]):
        try:
            returned = launcher.launch([r.job for r in batch], initial_job_idx=first)
        except Exception as error:
            # A worker or a cluster job was killed; what the others did is in their folders.
            if cfg.debug:
                raise
            log.error("The launcher stopped: %s: %s", type(error).__name__, error)
            return
        for one in returned:
            _ = one.return_value  # raises what a job let through on purpose
