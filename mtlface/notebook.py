"""Training from Python: a run as an object that shows itself in a notebook."""

from __future__ import annotations

import html
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from mtlface.door import config_folder
from mtlface.errors import MtlfaceError
from mtlface.menu import check_choices
from mtlface.values import quoted

if TYPE_CHECKING:
    from mtlface.inference.predictor import Predictor

SHOWN = ("panels/test.png", "figures/losses.png")


def train(experiment: str | None = None, *overrides: str, **settings: Any) -> Run:
    """Trains one run, as `python -m mtlface.train` does, and gives what it found.

    A run that is done already is not trained again.

    Example:
        >>> run = mtlface.train("celeba_landmarks_gender", profile="smoke", seed=1)
        >>> run.metrics

    Args:
        experiment: An experiment, as on the command line.
        overrides: Words of the command line, such as `"data.batch_size=32"` or `"~tasks.age"`.
        settings: The same as keywords; `__` stands for a dot: `data__batch_size=32`.

    Raises:
        MtlfaceError: The words do not make a config, or the run failed.
    """
    from mtlface.training.joined_data import with_joined_data
    from mtlface.training.sweeps.launch import train_one

    chosen = {"experiment": experiment} if experiment is not None else {}
    words = [f"{key.replace('__', '.')}={_word(v)}" for key, v in (chosen | settings).items()]
    words += overrides
    check_choices([config_folder()], words)
    outcome = train_one(config_folder(), with_joined_data(words))
    if outcome.state == "failed":
        raise MtlfaceError(str(outcome.error))
    return Run(outcome.folder)


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: Its run folder.
    """

    folder: Path

    @cached_property
    def result(self) -> dict[str, Any]:
        """The content of `result.json`.

        Raises:
            MtlfaceError: The folder has none.
        """
        from mtlface.training.result import read_result

        if (found := read_result(self.folder / "result.json")) is None:
            raise MtlfaceError(
                f"{self.folder} has no result.json of this version: no run ended there. Give the "
                "folder of a run that did, …/seed=<n>."
            )
        return found

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """The test metrics beside the constant predictor, a row per task and metric."""
        rows = [
            (*key.removeprefix("test/").split("/", 1), value, self.result["trivial"].get(key))
            for key, value in self.result["metrics"].items()
            if key.startswith("test/") and key.count("/") == 2 and "@" not in key
        ]
        columns = ["task", "metric", "value", "constant predictor"]
        return pd.DataFrame(rows, columns=columns).set_index(["task", "metric"])

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """The test predictions, a row per image, with the truth."""
        return pd.read_csv(self.folder / "test_predictions.csv")

    @cached_property
    def history(self) -> pd.DataFrame:
        """What was measured after each epoch."""
        return pd.read_csv(self.folder / "metrics.csv").set_index("epoch")

    @property
    def figures(self) -> dict[str, Path]:
        """The PNG files of the run by name, such as `panels/test`."""
        found = sorted(self.folder.glob("**/*.png"))
        return {p.relative_to(self.folder).with_suffix("").as_posix(): p for p in found}

    def predictor(self, device: str = "auto") -> Predictor:
        """The trained network; see `mtlface.load`."""
        from mtlface import load

        return load(self.folder, device)

    def _repr_html_(self) -> str:
        """What Jupyter shows: each task's own metric, the test panel and the folder."""
        tasks: Mapping[str, Any] = self.result["tasks"]
        own = {(task, info["primary"]) for task, info in tasks.items()}
        shown = self.metrics[[key in own for key in self.metrics.index]]
        parts = [
            f"<p><b>{html.escape(str(self.result['arm']))}</b>, seed {self.result['seed']}, "
            f"best epoch {self.result['selection']['epoch'] + 1}</p>",
            shown.to_html(float_format="{:.4g}".format, border=0),
        ]
        panel = self.folder / "panels" / "test.png"
        if panel.is_file():
            data = b64encode(panel.read_bytes()).decode()
            parts.append(f'<img alt="test images" src="data:image/png;base64,{data}">')
        parts.append(f"<p>{html.escape(str(self.folder))}</p>")
        return "".join(parts)


def _word(value: Any) -> str:
    """A Python value as the command line writes it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_word, value))}]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}: {_word(item)}" for key, item in value.items()) + "}"
    text = str(value)
    plain = isinstance(value, int | float) or all(c.isalnum() or c in "_./-@" for c in text)
    return text if plain and text else quoted(text)
