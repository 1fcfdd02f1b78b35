"""Compares finished runs: did sharing help, on which task, by how much, and how sure are we?

    python -m mtlface.compare runs=outputs/celeba_landmarks_gender

Keys:
  runs=…              folder of runs, or several: runs=[outputs/a,outputs/b]
  output=…            folder for comparison.html, .md, .csv, .tex and figures/ (default: the first
                      of runs)
  data=…              the data set to compare on: its name, or the first characters of its
                      fingerprint (default: the only one, or every source of a join)
  references.<task>=… arm that stands as this task's single-task reference
  effects.<task>=…    smallest difference that matters: 0.01 (in the metric's unit) or 2%
  plan=…              plan a sweep with so many verdicts (arms × tasks) from these runs as a pilot:
                      how many seeds it needs; writes no report
  tuned.<name>=…      a grid of arms that stands as one arm, chosen on validation, in quotes:
                      'tuned.fixed_weights=tasks.landmarks.weight=*' (docs/statistics.md)
  figures=false       tables only
  debug=true          show the stack trace of an error

Seeds pair the arms; run a sweep first:  python -m mtlface.train sweep=<name>
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtlface.arguments import parse as parse_words
from mtlface.arguments import wants_help
from mtlface.door import guarded
from mtlface.errors import MtlfaceError

if TYPE_CHECKING:
    from mtlface.analysis.figures import Drawn


@dataclass
class Options:
    """What the command line may say."""

    runs: Any = None
    output: str | None = None
    data: str | None = None
    references: dict[str, str] = field(default_factory=dict)
    tuned: dict[str, str] = field(default_factory=dict)
    effects: dict[str, str] = field(default_factory=dict)
    plan: int | None = None
    figures: bool = True
    debug: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the door; returns the exit code.

    Raises:
        MtlfaceError: The command line or the runs are not what they should be.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if wants_help(given):
        print(__doc__)
    else:
        compare_runs(parse(given))
    return 0


def parse(arguments: Sequence[str]) -> Options:
    """Reads `key=value` words.

    Raises:
        MtlfaceError: A key is unknown, a value is of the wrong kind, or `runs` is missing.
    """
    return parse_words("compare", Options, arguments, {"runs": "outputs/celeba_landmarks_gender"})


def compare_runs(options: Options) -> Path:
    """Reads, compares, prints and writes; returns the folder of the report.

    Raises:
        MtlfaceError: There is nothing to compare, or the runs may not be compared.
    """
    from rich.console import Console

    from mtlface.analysis.results import read_runs

    roots = _roots(options.runs)
    tree = read_runs(roots)  # before the imports that take a second: a wrong path is said at once

    from mtlface.analysis import report
    from mtlface.analysis.comparison import compare_all
    from mtlface.analysis.several_sources import name_of

    output = Path(options.output).expanduser() if options.output else roots[0]
    found = compare_all(tree, options.data, options.references, options.tuned, options.effects)
    # A pipe or a log has no width of its own; 100 columns is what the tables are made for.
    console = Console(width=None if sys.stdout.isatty() else 100)
    if options.plan is not None:
        for comparison in found:
            report.print_plan(comparison, options.plan, console)
        return output
    # Written before it is printed: whoever reads only the first lines, as `| head` does, ends the
    # printing, and must not end the report.
    try:
        output.mkdir(parents=True, exist_ok=True)
        drawn: list[list[Drawn]] = [[] for _ in found]
        if options.figures:
            from mtlface.analysis.figures import draw_all

            # The figures of several data sets lie in a folder each.
            places = [f"{name_of(part)}/" if len(found) > 1 else "" for part in found]
            drawn = [
                draw_all(part, output / "figures", place)
                for part, place in zip(found, places, strict=True)
            ]
        report.write_csv(found, output / "comparison.csv")
        report.write_markdown(found, drawn, output / "comparison.md")
        report.write_html(found, drawn, output / "comparison.html")
        report.write_tex(found, output / "comparison.tex")
    except OSError as error:
        raise MtlfaceError(
            f"The report cannot be written to {output} ({error.strerror}): give another "
            "folder with output=…."
        ) from error
    report.print_report(found, console)
    written = "comparison.html, .md, .csv, .tex" + (" and figures/" if any(drawn) else "")
    shown = f"Report: {output}/ ({written})"
    console.print(shown, highlight=False, markup=False, emoji=False, soft_wrap=True)
    return output


def _roots(runs: Any) -> list[Path]:
    # A folder's own name may hold a comma: arms are called after what was changed in them.
    if not isinstance(runs, list):
        runs = [runs] if Path(str(runs)).expanduser().is_dir() else str(runs).split(",")
    return [Path(str(root)).expanduser() for root in runs]


if __name__ == "__main__":
    guarded(main)
