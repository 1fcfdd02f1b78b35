"""Measures a trained network: every test metric, by group, beside a predictor without eyes.

    python -m mtlface.evaluate checkpoint=outputs/…/seed=0
    python -m mtlface.evaluate checkpoint=outputs/…/seed=0 data=agegender data.root=UTKFace

Keys:
  checkpoint=…     a run folder (its best epoch), a .ckpt file, or an exported bundle
  data=…           celeba | agegender | facecom, or your own with config_dir=… (default: the
                   run's own data); tasks whose label the data lacks are skipped, by name
  data.root=…      the data's folder; other keys of data too: data.limit='{test: 1000}'
  split=test       test | val | train
  output=…         folder for evaluation.json and predictions.csv
                   (default: evaluation/<data>_<split>_<fingerprint> in the run folder)
  device=auto      auto | cpu | cuda | cuda:<n>
  config_dir=…     folder of your own configs (data/NAME.yaml), as in a training
  trusted=…        packages of others whose objects the checkpoint may name: a,b
  debug=true       show the stack trace of an error
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtlface.arguments import config_folders, names, parse, wants_help, with_config_dir
from mtlface.door import config_folder, guarded
from mtlface.errors import MtlfaceError

if TYPE_CHECKING:
    from rich.console import Console

    from mtlface.inference.measure import Measured


@dataclass
class Options:
    """What the command line may say, besides `data.<key>=…`."""

    checkpoint: str | None = None
    data: str | None = None
    split: str = "test"
    output: str | None = None
    device: str = "auto"
    config_dir: str = ""
    trusted: str = ""
    debug: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the door; returns the exit code.

    Raises:
        MtlfaceError: The command line, the checkpoint or the data are not what they should be.
    """
    given = with_config_dir(sys.argv[1:] if arguments is None else arguments)
    if wants_help(given):
        print(__doc__)
        return 0
    of_data = [word for word in given if word.startswith("data.") and "=" in word]
    rest = [word for word in given if word not in of_data]
    options = parse("evaluate", Options, rest, {"checkpoint": "outputs/…/seed=0"})
    from rich.console import Console

    from mtlface.inference.fairness import equalised_odds
    from mtlface.inference.measure import measure
    from mtlface.inference.network import open_network
    from mtlface.inference.other_data import data_config

    own = config_folders(options.config_dir)
    if options.output:
        _make(Path(options.output).expanduser())  # before hours of measuring
    network = open_network(str(options.checkpoint), options.device, names(options.trusted))
    config = data_config(network, options.data, of_data, [config_folder(), *own])
    found = measure(network, config, options.split)
    odds = equalised_odds(found.predictions, network.module.tasks, list(found.group_sizes))
    # The fingerprint: two folders of one data set, or two limits, are two evaluations.
    name = f"{found.data['name']}_{found.split}_{found.fingerprint[:8]}"
    default = network.run_folder / "evaluation" / name
    output = Path(options.output).expanduser() if options.output else default
    # A pipe or a log has no width of its own; 100 columns is what the tables are made for.
    # Paths and names are text: brackets and colons in them are no markup.
    width = None if sys.stdout.isatty() else 100
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    show(found, odds, console)
    write(found, odds, network.checkpoint, output)
    console.print(f"Written to {output}/: evaluation.json, predictions.csv", soft_wrap=True)
    return 0


def show(found: Measured, odds: dict[str, float] | None, console: Console) -> None:
    """Prints the metrics, the groups and what was skipped."""
    from rich.table import Table

    data = found.data
    table = Table(title=f"{data['name']} ({data['root_kind']}), {found.split}, n = {found.n:,}")
    for heading in ("metric", "value", "trivial predictor"):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for name, value in found.metrics.items():
        if "@" not in name:
            style = "bold" if name in found.primary.values() else ""
            table.add_row(name, _text(value), _text(found.trivial.get(name)), style=style)
    console.print(table)
    for key, gap in found.gaps.items():
        task, _, column = key.partition("@")
        groups = Table(title=f"{found.primary[task]} by {column}")
        groups.add_column(column)
        groups.add_column("n", justify="right")
        groups.add_column("value", justify="right")
        for group, value in gap.values.items():
            size = found.group_sizes[column][group]
            mark = "red" if group == gap.worst else ""
            groups.add_row(group, f"{size:,}", _text(value), style=mark)
        console.print(groups)
        line = f"Worst: {gap.worst}. Largest gap between groups: {_text(gap.gap)}."
        if odds is not None and key in odds:
            line += f" Equalised-odds difference: {_text(odds[key])}."
        console.print(line)
    if odds is None and found.gaps:
        console.print("For equalised odds too: pip install 'mtlface[fairness]'")
    for task, reason in found.skipped.items():
        console.print(f"Skipped {task}: {reason}.")


def write(found: Measured, odds: dict[str, float] | None, checkpoint: Path, output: Path) -> None:
    """Writes `evaluation.json` and `predictions.csv`.

    Raises:
        MtlfaceError: The folder cannot be written.
    """
    from mtlface.atomic import atomic_write
    from mtlface.training.result import write_result

    content: dict[str, Any] = {"schema": 1, "checkpoint": str(checkpoint)}
    content |= {
        item.name: getattr(found, item.name)
        for item in dataclasses.fields(found)
        if item.name not in ("predictions", "gaps")
    }
    content["gaps"] = {key: dataclasses.asdict(gap) for key, gap in found.gaps.items()}
    content["equalised_odds_difference"] = odds
    _make(output)
    try:
        with atomic_write(output / "predictions.csv") as file:
            found.predictions.to_csv(file, index=False)
        write_result(output / "evaluation.json", content)
    except OSError as error:
        raise _unwritable(output, error) from error


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> MtlfaceError:
    return MtlfaceError(
        f"The evaluation cannot be written to {folder} ({error.strerror}). Give another output=…."
    )


def _text(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.4g}"


if __name__ == "__main__":
    guarded(main)
