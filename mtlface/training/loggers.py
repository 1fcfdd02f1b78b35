"""Where a run's log goes: Lightning's loggers, told which run it is and where its files lie.

Each is a section `logger.<name>` of the config. With `_partial_: true` its target is called with
the `LoggedRun`; any other target, such as a logger of one's own, is built from its settings alone.
Scalars go to all of them, images to those that `show_image` knows.
"""

from __future__ import annotations

import csv as csv_files
import os
import re
import shutil
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import singledispatch
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import numpy as np
from filelock import FileLock
from hydra.utils import get_object, instantiate
from lightning import Trainer
from lightning.pytorch.loggers import (
    CSVLogger,
    Logger,
    MLFlowLogger,
    TensorBoardLogger,
    WandbLogger,
)
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from mtlface.errors import MtlfaceError
from mtlface.training.event_log import EventLog
from mtlface.training.ranks import is_first_rank
from mtlface.training.unwrapped import unwrapped

Pixels = NDArray[np.uint8]
Maker = TypeVar("Maker", bound=Callable[..., Logger])

SHOWN = 20  # characters of an arm, so that name and seed stand where TensorBoard cuts, at some 27


@dataclass(frozen=True)
class LoggedRun:
    """Which run is logged.

    Attributes:
        folder: The run folder.
        outputs: The folder that runs share; the run folder where that lies elsewhere.
        name: By which a logger shows it.
        events: The folder of TensorBoard's events.
        step: The optimizer step from which it goes on; 0: it starts anew.
    """

    folder: Path
    outputs: Path
    name: str
    events: Path
    step: int

    @classmethod
    def of(cls, cfg: DictConfig, folder: Path, step: int) -> LoggedRun:
        """The run of a composed config."""
        outputs = Path(cfg.outputs).expanduser().absolute()
        shared = outputs if folder.absolute().is_relative_to(outputs) else folder
        name = f"{cfg.arm},{cfg.data.name},seed={cfg.seed}"
        return cls(folder, shared, name, events_folder(cfg, folder), step)

    def kept_id(self, logger: str, found: str | None = None) -> str | None:
        """The name that a logger's store has for this run: of a run that goes on, the old one.

        Args:
            logger: Whose.
            found: A new one, to be kept.
        """
        file = self.folder / f"{logger}_run_id"
        if found is not None:
            file.write_text(found, encoding="utf-8")
        elif self.step == 0 or not file.is_file():
            return None
        return file.read_text(encoding="utf-8").strip()


def events_folder(cfg: DictConfig, folder: Path) -> Path:
    """The folder of TensorBoard's events, whose path is the name by which TensorBoard shows a run.

    TensorBoard cuts long names at their end, so they begin with what tells runs apart: the arm's
    label with what the command line changes in it, and the seed. Run folders begin with what they
    share, so the events of runs in `outputs` lie beside them, in `<outputs>/tensorboard`.

    Args:
        cfg: The composed config.
        folder: The run folder; one outside of `outputs` has its events in itself.
    """
    outputs = Path(cfg.outputs).expanduser().absolute()
    if not folder.absolute().is_relative_to(outputs):
        return folder / "tensorboard"
    changes = str(cfg.arm).removeprefix(str(cfg.name)).replace("/", "-")
    shown = f"{cfg.label or cfg.name}{re.sub(r'(?<=[,{])[^,=:{]+[=:]', '', changes)}"
    arm = re.sub(r"[^\w.,@+~\[\]{} -]", "-", shown).strip()
    if len(arm) > SHOWN:
        arm = f"{arm[: SHOWN - 4].rstrip()}~{blake2b(arm.encode(), digest_size=2).hexdigest()[:3]}"
    rest = Path(str(cfg.group)) / str(cfg.arm) / str(cfg.data.name)
    return outputs / "tensorboard" / f"{arm},seed={cfg.seed}" / rest


def events_of(folder: Path) -> Path:
    """The folder of TensorBoard's events of a run that has ended, by its own `config.yaml`."""
    inside = folder / "tensorboard"
    config = folder / "config.yaml"
    if inside.is_dir() or not config.is_file():
        return inside
    found = OmegaConf.load(config)
    return events_folder(found, folder) if isinstance(found, DictConfig) else inside


def needs(module: str, extra: str) -> Callable[[Maker], Maker]:
    """Marks what makes a logger with the module that it needs and the extra that brings it."""

    def mark(make: Maker) -> Maker:
        make.needs = module, extra  # type: ignore[attr-defined]
        return make

    return mark


def check_loggers(sections: Mapping[str, Any]) -> None:
    """Whether the libraries of the chosen loggers are there, before anything is read.

    Raises:
        MtlfaceError: One is not.
    """
    for name, section in sections.items():
        with unwrapped(f"logger.{name}"):
            made_by = _target(section["_target_"], f"logger.{name}")
        module, extra = getattr(made_by, "needs", (None, None))
        if module is not None and find_spec(module) is None:
            raise MtlfaceError(
                f"logger.{name} needs {module}, which is not installed. "
                f"pip install 'mtlface[{extra}]' brings it; logger=tensorboard and logger=csv "
                "need nothing more."
            )


def _target(path: str, place: str) -> Any:
    try:
        return get_object(path)
    except Exception as error:  # Hydra's, of many kinds
        raise MtlfaceError(
            f"{place} asks for {path}, which cannot be imported ({error}). Check its spelling; a "
            "module of your own lies in the folder where you start the command."
        ) from error


def build_loggers(sections: Mapping[str, Any], run: LoggedRun) -> list[Logger]:
    """The chosen loggers, by their sections of the config.

    Raises:
        MtlfaceError: One refuses its settings, or is no logger of Lightning's.
    """
    found = []
    for name, section in sections.items():
        with unwrapped(f"logger.{name}"):
            made = instantiate(section)
            logger = made(run=run) if section.get("_partial_") else made
        if not isinstance(logger, Logger):
            raise MtlfaceError(
                f"logger.{name}._target_ is {section['_target_']}, which makes no logger of "
                "Lightning's. Choose one with logger=[…], or name a subclass of "
                "lightning.pytorch.loggers.Logger."
            )
        found.append(logger)
    return found


def tensorboard(run: LoggedRun) -> EventLog:
    """TensorBoard's event file, `<outputs>/tensorboard/<arm>,seed=<n>/…`."""
    if run.step == 0 and is_first_rank():
        shutil.rmtree(run.events, ignore_errors=True)  # of a run that was cut off at its beginning
    return EventLog(run.events.parent, name="", version=run.events.name, purge_step=run.step)


def csv(run: LoggedRun) -> CSVLogger:
    """`csv/metrics.csv` in the run folder: a row for every point, a column for every scalar."""
    # Every point at once: one that waits is lost when the run is killed.
    logger = CSVLogger(run.folder, name="", version="csv", flush_logs_every_n_steps=1)
    if is_first_rank():
        kept = _rows_before(run.step, run.folder / "csv" / "metrics.csv")
        shutil.rmtree(run.folder / "csv", ignore_errors=True)
        if kept:
            logger.experiment.metrics = kept
            logger.save()
    return logger


def _rows_before(step: int, file: Path) -> list[dict[str, Any]]:
    if step == 0 or not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as content:
        rows = [row for row in csv_files.DictReader(content) if (row["step"] or "").isdigit()]
    return [{k: v for k, v in row.items() if v} for row in rows if int(row["step"]) < step]


@needs("wandb", "wandb")
def wandb(run: LoggedRun, project: str, mode: str, **settings: Any) -> WandbLogger:
    """Weights & Biases; offline, a folder `wandb` in the run folder that `wandb sync` uploads.

    Args:
        run: Which run it is.
        project: Where it is shown.
        mode: `offline`, `online` or `disabled`.
        settings: More arguments of `wandb.init`.
    """
    name = run.kept_id("wandb") or uuid4().hex[:8]
    if is_first_rank():
        run.kept_id("wandb", name)
    own = {"project": project.replace("/", "-"), "mode": mode}
    quiet = {"settings": {"silent": True}} if mode == "offline" else {}
    return WandbLogger(name=run.name, save_dir=run.folder, id=name, **(quiet | own | settings))


@needs("mlflow", "mlflow")
def mlflow(
    run: LoggedRun, experiment_name: str, tracking_uri: str | None, **settings: Any
) -> MLFlowLogger:
    """MLflow; without a server, `<outputs>/mlflow/mlflow.db` with the images beside it.

    Args:
        run: Which run it is.
        experiment_name: Where it is shown.
        tracking_uri: A server's address, or None.
        settings: More arguments of Lightning's `MLFlowLogger`.
    """
    store = (run.outputs / "mlflow").absolute()
    local = {
        "tracking_uri": f"sqlite:///{store / 'mlflow.db'}",
        "artifact_location": (store / "artifacts").as_uri(),
    }
    place = {"tracking_uri": tracking_uri} if tracking_uri else local
    if tracking_uri is None and find_spec("sqlalchemy") is None:
        raise MtlfaceError(
            "logger.mlflow keeps its local store in SQLite, which needs sqlalchemy. pip install "
            "'mtlface[mlflow]' brings it; a server needs logger.mlflow.tracking_uri=<address>."
        )
    store.mkdir(parents=True, exist_ok=True)
    own = {"experiment_name": experiment_name, "run_name": run.name} | place | settings
    if not is_first_rank():
        return MLFlowLogger(**own)
    with FileLock(store / ".lock"):  # runs side by side make the tables once
        logger = MLFlowLogger(run_id=run.kept_id("mlflow"), **own)
        run.kept_id("mlflow", str(logger.run_id))
        logger.experiment.update_run(logger.run_id, status="RUNNING")
    return logger


@needs("trackio", "trackio")
def trackio(run: LoggedRun, project: str, space_id: str | None, **settings: Any) -> TrackioLogger:
    """Trackio; without a Space, `<outputs>/trackio`.

    Args:
        run: Which run it is.
        project: Where it is shown.
        space_id: A Space of Hugging Face's, `user/name`, or None.
        settings: More arguments of `trackio.init`.
    """
    # trackio reads it once, when it is imported; who has set it means it.
    os.environ.setdefault("TRACKIO_DIR", str((run.outputs / "trackio").absolute()))
    return TrackioLogger(
        project=project.replace("/", "-"),
        name=run.name,
        resume="allow" if run.step else "never",
        space_id=space_id,
        **({"embed": False, "auto_log_cpu": False, "auto_log_gpu": False} | settings),
    )


class TrackioLogger(Logger):
    """Logs to trackio; Lightning has no logger for it.

    Args:
        settings: Arguments of `trackio.init`, `project` and `name` among them.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.settings = settings
        self._run: Any = None

    @property
    def experiment(self) -> Any:
        """Trackio's run, which begins with the first call; on the first rank only."""
        if self._run is None:
            import trackio

            self._run = trackio.init(**self.settings)
        return self._run

    @property
    def name(self) -> str:
        """The project."""
        return str(self.settings["project"])

    @property
    def version(self) -> str:
        """The run's name in it."""
        return str(self.settings["name"])

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs scalars by their names."""
        self.experiment.log({name: float(value) for name, value in metrics.items()}, step=step)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        """Adds the config to the run's."""
        found = vars(params) if isinstance(params, Namespace) else params
        if self._run is None:
            self.settings["config"] = found
        else:
            self._run.config.update(found)

    @rank_zero_only
    def close(self) -> None:
        """Writes what is not on the disk yet, and ends the run."""
        if self._run is not None:
            self._run.finish()
            self._run = None


@singledispatch
def show_image(logger: Logger, tag: str, pixels: Pixels, step: int) -> None:
    """Logs an image; loggers that take none do nothing. More are added with `.register`.

    Args:
        logger: Where to.
        tag: Its name.
        pixels: RGB (H, W, 3), uint8.
        step: The optimizer step that it is of.
    """


@show_image.register
def _(logger: TensorBoardLogger, tag: str, pixels: Pixels, step: int) -> None:
    logger.experiment.add_image(tag, pixels, step, dataformats="HWC")


@show_image.register
def _(logger: WandbLogger, tag: str, pixels: Pixels, step: int) -> None:
    logger.log_image(tag, [pixels], step=None, caption=[f"step {step}"])


@show_image.register
def _(logger: MLFlowLogger, tag: str, pixels: Pixels, step: int) -> None:
    logger.experiment.log_image(logger.run_id, np.ascontiguousarray(pixels), key=tag, step=step)


@show_image.register
def _(logger: TrackioLogger, tag: str, pixels: Pixels, step: int) -> None:
    import trackio

    logger.experiment.log({tag: trackio.Image(np.ascontiguousarray(pixels))}, step=step)


def image_loggers(trainer: Trainer) -> list[Logger]:
    """The loggers that take images, on the first rank."""
    nowhere = show_image.dispatch(object)
    taking = [x for x in trainer.loggers if show_image.dispatch(type(x)) is not nowhere]
    return taking if trainer.is_global_zero else []


@singledispatch
def show_config(logger: Logger, text: str, settings: dict[str, Any], resumed: bool) -> None:
    """Logs the config of a run.

    Args:
        logger: Where to.
        text: It as YAML.
        settings: It as plain data, without the loggers' own settings: they may hold addresses.
        resumed: Whether the run goes on.
    """
    logger.log_hyperparams(settings)


@show_config.register
def _(logger: TensorBoardLogger, text: str, settings: dict[str, Any], resumed: bool) -> None:
    if not resumed:  # it has it already
        logger.experiment.add_text("config", f"```yaml\n{text.rstrip()}\n```", 0)


@singledispatch
def close(logger: Logger) -> None:
    """Ends a log, so that the next run of this process has one of its own."""
    logger.save()


@close.register
def _(logger: EventLog) -> None:
    logger.close()


@close.register
def _(logger: TrackioLogger) -> None:
    logger.close()


@close.register
def _(logger: WandbLogger) -> None:
    if logger._experiment is not None:
        logger._experiment.finish()


@contextmanager
def closing_logs(trainer: Trainer) -> Iterator[None]:
    """Closes the trainer's logs in the end, whatever that is."""
    try:
        yield
    finally:
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                close(logger)
