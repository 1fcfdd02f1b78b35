"""Searches for settings: every arm of a sweep gets the same number of trials, on validation.

An arm against another one whose settings somebody tuned for longer says how long that was (Kurin et
al. 2022, Xin et al. 2022). Here each arm, and each twin, has a study of its own in one journal, all
of them the same number of trials from the same seeds; then the sweep's seeds are trained with what
was best. The sampler is Optuna's TPE (Bergstra et al. 2011).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf

from mtlface.errors import MtlfaceError, how_to_install
from mtlface.training.arm import as_name, only_task
from mtlface.training.identity import fingerprint, identity
from mtlface.training.journal import mend, open_study
from mtlface.training.reports import TRIALS, Outcome
from mtlface.training.result import read_result
from mtlface.training.seeds import derived_seed
from mtlface.training.sweeps.plan import PlannedRun, Planner
from mtlface.training.sweeps.space import Ranges, Value, check_keys, ranges_of, read_space
from mtlface.values import quoted

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

Train = Callable[[Sequence[list[str]]], Iterator[Outcome]]
SETTINGS = ("trials", "seed", "prune", "space")
OWN = ("tune", "tune.", "twins", "trial", "tuned")  # what a trial's command line has no more
JOURNAL = "journal.log"


@dataclass
class Search:
    """The search of one arm.

    Attributes:
        arm: The arm.
        overrides: The command line's changes that make it, without seed and search.
        folder: The folder of its trials.
        group: The same, below the outputs.
        name: What the journal calls it: the arm, and what it searches in what.
        ranges: What it searches.
        settings: The config's section `tune`.
        error: Why it had to stop; empty as long as it had not.
    """

    arm: str
    overrides: tuple[str, ...]
    folder: Path
    group: str
    name: str
    ranges: Ranges
    settings: DictConfig
    error: str = field(default="")

    @property
    def journal(self) -> Path:
        """The file that the searches of a sweep share."""
        return self.folder.parent / JOURNAL

    @cached_property
    def study(self) -> Study:
        """Its trials so far."""
        return open_study(self.journal, self.name)

    @property
    def trials(self) -> list[FrozenTrial]:
        """Its trials that count: a journal of a longer search has more."""
        return self.study.get_trials(deepcopy=False)[: self.settings.trials]

    def next(self) -> tuple[int, dict[str, Value]] | None:
        """The trial that is to be trained, its number and settings; None when all are over.

        One that a dead process has left behind is the next: its run goes on where it was.
        """
        from optuna.samplers import TPESampler
        from optuna.trial import Trial

        trials = self.trials
        left = next((t for t in trials if not t.state.is_finished()), None)
        if self.error or (left is None and len(trials) == self.settings.trials):
            return None
        number = len(trials) if left is None else left.number
        # By number, so that a search that was cut off draws what it would have drawn, and arms
        # begin with the same draws: no arm has the luckier ones.
        seed = derived_seed(self.settings.seed, number) % 2**32
        self.study.sampler = TPESampler(seed=seed)
        trial = self.study.ask() if left is None else Trial(self.study, left._trial_id)
        return number, {key: _suggested(trial, key, self.ranges) for key in self.ranges}

    def job(self, number: int, values: dict[str, Value]) -> list[str]:
        """The overrides of a trial's run."""
        prune: Any = OmegaConf.to_container(self.settings)
        trial = {"journal": str(self.journal), "study": self.name, "number": number}
        return [
            *self.overrides,
            f"seed={self.settings.seed}",
            f"group={quoted(self.group)}",
            f"arm={quoted(str(number))}",
            f"trial={written({**trial, 'prune': prune['prune']})}",
            "twins=false",
            "figures=false",
            *changes(values),
        ]

    def tell(self, number: int, outcome: Outcome) -> None:
        """Writes down how a trial ended; one that broke off is left open, to be trained again."""
        from optuna.trial import TrialState

        if outcome.state == "pruned":
            self.study.tell(number, state=TrialState.PRUNED)
        elif outcome.diverged:
            self.study.tell(number, state=TrialState.FAIL)
        elif outcome.state == "failed":
            self.error = f"trial {number}: {outcome.error}"
        else:
            chosen = (read_result(outcome.folder / "result.json") or {}).get("selection", {})
            value = chosen.get("value")
            if value is None:
                self.study.tell(number, state=TrialState.FAIL)
            else:
                self.study.tell(number, value if chosen["mode"] == "max" else -value)

    def best(self) -> FrozenTrial | None:
        """The best trial that trained to its end; None if none did."""
        from optuna.trial import TrialState

        done = [t for t in self.trials if t.state == TrialState.COMPLETE]
        return max(done, key=lambda t: t.value or -math.inf, default=None)

    def count(self, state: str) -> int:
        """How many trials ended in a state, in Optuna's word."""
        return sum(trial.state.name == state for trial in self.trials)


def searches_of(
    loader: ConfigLoader, master: DictConfig, runs: Sequence[PlannedRun]
) -> dict[tuple[str, ...], Search]:
    """The search of each arm of these runs, by the arm's overrides; none is begun.

    Raises:
        MtlfaceError: Optuna is missing, a setting is not possible, or a seed of the sweep is that
            of the trials.
    """
    if find_spec("optuna") is None:
        raise MtlfaceError(f"tune= needs Optuna, which is not installed.{how_to_install('optuna')}")
    if absent := [key for key in SETTINGS if key not in master.tune]:
        raise MtlfaceError(
            f"The search has no tune.{absent[0]}, which every search needs. Take tune=default, or "
            "let your own file begin with it (defaults: [default])."
        )
    if str(master.tune.seed) in {run.seed for run in runs}:
        raise MtlfaceError(
            f"tune.seed={master.tune.seed} is one of the sweep's seeds. Its run would be measured "
            "with settings that were chosen by its own luck; take another tune.seed."
        )
    space: Any = OmegaConf.to_container(master.tune.space, resolve=True)
    ranges, planner = read_space(space), Planner(loader, master)
    arms = {_arm(run.overrides): run for run in runs}
    configs = {arm: planner.config(arm).copy() for arm in arms}
    check_keys(ranges, configs.values())
    return {
        arm: _search(arms[arm], arm, cfg, ranges_of(ranges, cfg), master.tune)
        for arm, cfg in configs.items()
    }


def _search(
    run: PlannedRun,
    overrides: tuple[str, ...],
    cfg: DictConfig,
    ranges: Ranges,
    settings: DictConfig,
) -> Search:
    if not ranges:
        raise MtlfaceError(
            f"tune.space: {run.arm} has none of its keys, so there is nothing to search. Add one "
            "that every arm has, such as optimizer.lr."
        )
    group = f"{cfg.group}/{TRIALS}/{run.arm}"
    what = identity(only_task(cfg)) | {"seed": settings.seed}
    plain = {key: [*of.ends, of.log, of.whole] for key, of in ranges.items()}
    name = f"{run.arm}/{cfg.data.name}/{fingerprint({'arm': what, 'space': plain})}"
    folder = (Path(cfg.hydra.sweep.dir) / group).absolute()
    return Search(run.arm, overrides, folder, group, name, ranges, settings)


def search(searches: Sequence[Search], train: Train) -> None:
    """Trains the trials that are not over, one of each arm in turn.

    Cut off at any time, no arm has had more than one trial more than another.

    Args:
        searches: Those of all arms.
        train: Trains jobs, side by side where it can, and gives their outcomes in their order.

    Raises:
        MtlfaceError: Another process searches in the same folder.
    """
    journals = dict.fromkeys(search.journal for search in searches)
    with ExitStack() as locks:
        for journal in journals:
            journal.parent.mkdir(parents=True, exist_ok=True)
            try:
                locks.enter_context(FileLock(journal.with_name(".lock"), blocking=False))
            except Timeout as error:
                raise MtlfaceError(
                    f"Another process is searching in {journal.parent} right now. Wait for it, or "
                    "choose another group or outputs folder."
                ) from error
            mend(journal)
        while True:
            # In this order: `next` begins a trial.
            begun = [(one, trial) for one in searches if (trial := one.next()) is not None]
            if not begun:
                return
            jobs = [one.job(*trial) for one, trial in begun]
            for (one, (number, _)), outcome in zip(begun, train(jobs), strict=True):
                one.tell(number, outcome)


def tuned_runs(
    loader: ConfigLoader,
    master: DictConfig,
    runs: Sequence[PlannedRun],
    searches: dict[tuple[str, ...], Search],
) -> list[PlannedRun]:
    """The sweep's runs with what its searches chose; none of an arm whose search has no answer."""
    planner, found = Planner(loader, master), []
    for run in runs:
        one = searches[_arm(run.overrides)]
        best = None if one.error else one.best()
        if best is None:
            continue
        plain: Any = OmegaConf.to_container(one.settings, resolve=True)
        tuned = {"trials": plain["trials"], "search": fingerprint(plain), "keys": [*one.ranges]}
        found.append(
            planner.run(
                (
                    *one.overrides,
                    *(o for o in run.overrides if o.startswith("seed=")),
                    "twins=false",
                    f"tuned={written(tuned)}",
                    f"arm={quoted(as_name(one.arm, [f'tuned={one.settings.trials}']))}",
                    *changes(best.params),
                )
            )
        )
    return found


def changes(values: dict[str, Value]) -> list[str]:
    """Values as overrides, whether or not the config has their keys."""
    return [f"++{key}={written(value)}" for key, value in values.items()]


def written(value: Any) -> str:
    """Plain data in Hydra's override grammar."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return quoted(value) if isinstance(value, str) else repr(value)


def _arm(overrides: Sequence[str]) -> tuple[str, ...]:
    kept = (o for o in overrides if not o.startswith("seed="))
    return tuple(o for o in kept if not _is_own(o.lstrip("+~").partition("=")[0]))


def _is_own(key: str) -> bool:
    return key in OWN or key.startswith("tune.")


def _suggested(trial: Trial, key: str, ranges: Ranges) -> Value:
    of = ranges[key]
    if of.low is None or of.high is None:
        chosen: Any = trial.suggest_categorical(key, of.choices)
        return of.choices[of.choices.index(chosen)]
    if of.whole:
        return trial.suggest_int(key, int(of.low), int(of.high), log=of.log)
    return trial.suggest_float(key, of.low, of.high, log=of.log)
