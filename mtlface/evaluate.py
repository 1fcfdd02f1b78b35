"""Measures a trained network: every test metric, by group, beside a predictor without eyes.

    python -m mtlface.evaluate checkpoint=outputs/…/seed=0
    python -m mtlface.evaluate checkpoint=outputs/…/seed=0 data=agegender data.root=UTKFace

Keys:
  checkpoint=…     a run folder (its best epoch), a .ckpt file, or an exported bundle
  ensemble=…       instead: the folder of an arm, whose seeds answer together
  mc_samples=0     draws of the network's dropout, such as 30, that answer together
  coverage=0.9     the share of images whose conformal region should hold the truth: columns
                   age_low and age_high, gender_set, landmarks_radius; calibrated on validation
  min_group=20     labelled images that a group of people needs to be ranked
  intersections=…  groups of two columns at once: race*age_group,gender*race
  attention_maps=0 images, such as 12, to draw where each head looks on: attention/<task>.png
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
    ensemble: str | None = None
    mc_samples: int = 0
    coverage: float = 0.9
    min_group: int = 20
    intersections: str = ""
    attention_maps: int = 0
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
    options = parse("evaluate", Options, rest, {})
    given_both = options.checkpoint is not None and options.ensemble is not None
    if given_both or (options.checkpoint is None and options.ensemble is None):
        fault = "both are given" if given_both else "checkpoint= is missing"
        raise MtlfaceError(
            f"{fault}: evaluate takes checkpoint=outputs/…/seed=0, or ensemble=outputs/…/<arm>. "
            "See python -m mtlface.evaluate --help."
        )
    from rich.console import Console

    from mtlface.inference.fairness import equalised_odds
    from mtlface.inference.measure import Settings, measure
    from mtlface.inference.members import open_ensemble
    from mtlface.inference.network import open_network
    from mtlface.inference.other_data import data_config

    own = config_folders(options.config_dir)
    settings = Settings(
        options.split,
        options.mc_samples,
        options.coverage,
        options.min_group,
        _pairs(options.intersections),
        options.attention_maps,
    )
    if options.output:
        _make(Path(options.output).expanduser())  # before hours of measuring
    trusted = names(options.trusted)
    if options.ensemble is None:
        networks = [open_network(str(options.checkpoint), options.device, trusted)]
        folder = networks[0].run_folder
    else:
        networks = open_ensemble(Path(options.ensemble).expanduser(), options.device, trusted)
        folder = networks[0].run_folder.parent
    config = data_config(networks[0], options.data, of_data, [config_folder(), *own])
    found = measure(networks, config, settings)
    tasks = networks[0].module.tasks
    columns = [column for column in found.group_sizes if "*" not in column]
    odds = equalised_odds(found.predictions, tasks, columns)
    # The fingerprint: two folders of one data set, or two limits, are two evaluations.
    name = f"{found.data['name']}_{found.split}_{found.fingerprint[:8]}"
    if options.mc_samples:
        name += f"_mc{options.mc_samples}"
    default = folder / "evaluation" / name
    output = Path(options.output).expanduser() if options.output else default
    # A pipe or a log has no width of its own; 100 columns is what the tables are made for.
    # Paths and names are text: brackets and colons in them are no markup.
    width = None if sys.stdout.isatty() else 100
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    show(found, odds, console)
    written = write(found, odds, [network.checkpoint for network in networks], output)
    console.print(f"Written to {output}/: {', '.join(written)}", soft_wrap=True)
    return 0


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    """`race*age_group,gender*race` as pairs of columns."""
    pairs = []
    for word in names(text):
        first, _, second = word.partition("*")
        if not (first and second) or "*" in second or first == second:
            raise MtlfaceError(
                f"intersections={word}: expected two different columns of groups with * between "
                "them, such as race*age_group."
            )
        pairs.append((first, second))
    return tuple(pairs)


def show(found: Measured, odds: dict[str, float] | None, console: Console) -> None:
    """Prints the metrics, how sure the network is, the groups and what was skipped."""
    from rich.table import Table

    data, together = found.data, found.together
    table = Table(title=f"{data['name']} ({data['root_kind']}), {found.split}, n = {found.n:,}")
    headings = ["metric", "value", "constant predictor"]
    if together is not None:
        headings[1:1] = [f"mean of the {together.members} members"]
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for name, value in found.metrics.items():
        if "@" not in name:
            style = "bold" if name in found.primary.values() else ""
            alone = [] if together is None else [_text(together.mean.get(name))]
            table.add_row(name, *alone, _text(value), _text(found.trivial.get(name)), style=style)
    console.print(table)
    _show_uncertainty(found, console)
    for key, gap in found.gaps.items():
        task, _, column = key.partition("@")
        groups = Table(title=f"{found.primary[task]} by {column}")
        groups.add_column(column)
        for heading in ("n", "value", "95 % interval"):
            groups.add_column(heading, justify="right")
        for group, value in gap.values.items():
            mark = "red" if group == gap.worst else "dim" if group in gap.unranked else ""
            interval = _interval(gap.intervals.get(group))
            groups.add_row(group, f"{gap.n[group]:,}", _text(value), interval, style=mark)
        console.print(groups)
        line = "Fewer than two groups are large enough to be ranked."
        if gap.worst is not None:
            line = f"Worst: {gap.worst}. Largest gap between groups: {_text(gap.gap)} "
            line += f"{_interval(gap.gap_interval)}."
        if gap.unranked:
            small, few = len(gap.unranked), ", ".join(gap.unranked)
            line += f" Too few images to be ranked: {few if small <= 6 else f'{small} groups'}."
        if odds is not None and key in odds:
            line += f" Equalised-odds difference: {_text(odds[key])}."
        console.print(line)
    if odds is None and found.gaps:
        console.print("For equalised odds too: pip install 'mtlface[fairness]'")
    for task, reason in found.skipped.items():
        console.print(f"Skipped {task}: {reason}.")


def _show_uncertainty(found: Measured, console: Console) -> None:
    from rich.table import Table

    table = Table(title="How sure, and whether rightly")
    headings = ("task", "NLL", "Brier", "ECE", "T", "NLL, ECE at T", "AURC (ideal)", "held", "size")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "task" else "right")
    for name, of in found.uncertainty.items():
        own, softer, region = of.calibration, of.tempered, of.coverage
        known = (None,) * 3 if own is None else (own.nll, own.brier, own.ece)
        table.add_row(
            name,
            *map(_text, known),
            _text(of.temperature),
            "–" if softer is None else f"{_text(softer.nll)}, {_text(softer.ece)}",
            "–" if of.aurc is None else f"{_text(of.aurc)} ({_text(of.aurc_best)})",
            "–" if region is None else f"{region.covered:.1%} of {region.n:,}",
            "–" if region is None else _text(region.size),
        )
    console.print(table)
    levels = {of.level for of in found.uncertainty.values() if of.level is not None}
    for level in levels:
        console.print(
            f"held: conformal regions of {level:.0%}, calibrated on validation. T: the temperature "
            "that validation chooses; it changes no prediction."
        )


def write(
    found: Measured, odds: dict[str, float] | None, checkpoints: Sequence[Path], output: Path
) -> list[str]:
    """Writes the files of an evaluation, and returns their names.

    Raises:
        MtlfaceError: The folder cannot be written.
    """
    from mtlface.atomic import atomic_write, write_text
    from mtlface.data.csv_cells import to_csv
    from mtlface.training.result import write_result

    content: dict[str, Any] = {"schema": 1, "checkpoint": str(checkpoints[0])}
    if len(checkpoints) > 1:
        content["ensemble"] = [str(checkpoint) for checkpoint in checkpoints]
    plain = dataclasses.asdict(dataclasses.replace(found, predictions=None, attention={}))  # type: ignore[arg-type]
    content |= {k: v for k, v in plain.items() if k not in ("predictions", "attention")}
    curves = {name: of.pop("curve") for name, of in content["uncertainty"].items()}
    curves = {name: curve for name, curve in curves.items() if curve is not None}
    content["equalised_odds_difference"] = odds
    _make(output)
    try:
        write_text(output / "predictions.csv", to_csv(found.predictions))
        write_result(output / "evaluation.json", content)
        if curves:
            from mtlface.plots.risk import risk_coverage_figure
            from mtlface.plots.style import save

            save(risk_coverage_figure(curves), output / "risk_coverage")
        for task, pixels in found.attention.items():
            from mtlface.plots.raster import pixels_png

            (output / "attention").mkdir(exist_ok=True)
            with atomic_write(output / "attention" / f"{task}.png") as file:
                file.write(pixels_png(pixels))
    except OSError as error:
        raise _unwritable(output, error) from error
    drawn = ["risk_coverage.png"] if curves else []
    drawn += [f"attention/{task}.png" for task in found.attention]
    return ["evaluation.json", "predictions.csv", *drawn]


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> MtlfaceError:
    return MtlfaceError(
        f"The evaluation cannot be written to {folder} ({error.strerror}). Give another output=…."
    )


def _interval(found: tuple[float, float] | None) -> str:
    return "–" if found is None else f"[{_text(found[0])}, {_text(found[1])}]"


def _text(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.4g}"


if __name__ == "__main__":
    guarded(main)
