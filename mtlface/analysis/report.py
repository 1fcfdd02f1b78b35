"""Writes a comparison: terminal, CSV, Markdown, and one self-contained HTML page."""

import csv
import io
import os
import re
import shlex
from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table as RichTable

from mtlface import __version__
from mtlface.analysis import tables as t
from mtlface.analysis import wording as w
from mtlface.analysis.comparison import Comparison
from mtlface.analysis.cost import cost_against_single_table, cost_table
from mtlface.analysis.crossed import Estimate
from mtlface.analysis.differences import Difference
from mtlface.analysis.figures import Drawn
from mtlface.analysis.gradients import gradients
from mtlface.analysis.label_curves import label_curve_tables
from mtlface.analysis.latex import write_latex
from mtlface.analysis.published import published_table
from mtlface.analysis.references import Kind
from mtlface.analysis.settings import common_table, settings_table
from mtlface.analysis.several_sources import Report, answer, name_of, tables_across, title
from mtlface.analysis.table import WORDS, Table
from mtlface.analysis.transfer import transfer_tables
from mtlface.atomic import write_text
from mtlface.errors import MtlfaceError
from mtlface.plots.labels import wrap_name
from mtlface.values import cell

DEMO = (
    "RENDERED DEMO FACES: these images were drawn by a computer. The numbers show that the "
    "program works; they are not comparable with any published figure and say nothing about "
    "real faces."
)
CSV_COLUMNS = [
    *("data", "arm", "task", "metric", "higher_is_better", "primary", "n", "mean", "sd"),
    *(
        "constant_predictor",
        "statement",
        "reference",
        "same_budget",
        "differs_in",
        "pairs",
        "seeds",
        "difference",
        "sample",
        "units",
    ),
    *("low", "high", "df", "p", "p_holm", "q", "seeds_low", "seeds_high", "seeds_p"),
    *("effect", "benefit_percent", "collapsed", "verdict"),
]
WIDE = 130  # columns from which on the terminal shows everything
STYLES = {"better": "bold blue", "worse": "bold red", "shown equal": "bold green"}


def headline(comparison: Comparison) -> str:
    """Which data, how many runs."""
    data = comparison.data
    counts = data.get("counts")
    sizes = (
        ", ".join(f"{n:,} {split}" for split, n in counts.items())
        if isinstance(counts, dict)
        else "unknown size"
    )
    arms = [arm for arm in comparison.arms if arm.runs]
    runs = sum(len(arm.runs) for arm in arms)
    seeds = len({seed for arm in arms for seed in arm.runs})
    return (
        f"{data.get('name')} ({sizes} images) · {w.many(len(arms), 'arm')} · "
        f"{w.many(seeds, 'seed')} · {w.many(runs, 'run')}"
    )


@dataclass(frozen=True)
class Card:
    """One verdict as a card: its kind (`sharing`, `recipe`, …), the answer and the numbers."""

    kind: Kind
    answer: str
    words: str
    numbers: str


def cards(comparison: Comparison) -> list[Card]:
    """Every verdict in words with the numbers behind it: sharing first, task by task."""
    order = {m.task: i for i, m in enumerate(comparison.primaries)}
    kinds = list(t.DIFFERENCES)
    found = sorted(
        comparison.verdicts, key=lambda d: (kinds.index(d.kind), order[d.metric.task], d.matched)
    )
    return [_card(comparison, d) for d in found]


def _card(comparison: Comparison, d: Difference) -> Card:
    decimals = comparison.decimals_of_difference(d)
    words, numbers = w.sentence(d, decimals, comparison.names)
    if (d.reference, d.metric.task) in comparison.unlearnt:
        numbers += " The reference is not shown to beat the constant predictor: no result."
    return Card(d.kind, d.answer, words, numbers)


def notes(comparison: Comparison) -> list[str]:
    """What a reader must know before believing the verdicts."""
    choices = [note for tuning in comparison.tunings for note in w.choice(tuning)]
    unlearnt = [
        f'{arm}, a reference for {task}, is not shown to beat the constant predictor: "better" '
        "than an arm that has not learnt its task is no result."
        for arm, task in comparison.unlearnt
    ]
    return [*unlearnt, *choices, *comparison.notes]


def all_tables(comparison: Comparison) -> list[Table]:
    """Every table that has something to say, in reading order."""
    tables = [
        *([t.tally_table(comparison)] if comparison.has_many_verdicts else []),
        *t.main_tables(comparison),
        *transfer_tables(comparison),
        *label_curve_tables(comparison),
        *(t.differences_table(comparison, kind) for kind in t.DIFFERENCES),
        t.gaps_table(comparison),
        t.differing_table(comparison),
        t.collapse_table(comparison),
        t.overall_table(comparison),
        *(t.candidates_table(tuning) for tuning in comparison.tunings),
        published_table(comparison),
        cost_table(comparison.costs, comparison.names),
        cost_against_single_table(comparison.costs_against_single, comparison.names),
    ]
    return [table.without_empty() for table in tables if table.rows]


def more_tables(comparison: Comparison) -> list[Table]:
    """What the files have and a terminal has no room for."""
    arms = [arm for arm in comparison.arms if arm.runs]
    tables = [
        settings_table(arms, comparison.names),
        t.ensembles_table(comparison),
        t.own_best_table(comparison),
        t.condition_table(comparison),
        t.secondary_table(comparison),
        common_table(arms),
    ]
    return [table.without_empty() for table in tables if table.rows]


def print_report(report: Report, console: Console) -> None:
    """Prints the tables that a terminal of 100 columns can show, then verdicts and notes."""
    if len(report) == 1:
        console.print(f"[bold]{escape(headline(report[0]))}[/bold]")
    console.print(Panel(escape(answer(report)), style="bold", expand=True))
    if any(part.is_demo for part in report):
        console.print(Panel(DEMO, style="bold yellow", expand=True))
    for table in tables_across(report):
        _print_table(table, console)
    for comparison in report:
        if len(report) > 1:
            console.rule(f"[bold]{escape(headline(comparison))}[/bold]", align="left")
        _print_part(comparison, console)


def _print_part(comparison: Comparison, console: Console) -> None:
    for table in all_tables(comparison):
        _print_table(table, console)
    # Many verdicts stand counted in a table above, and one by one in the files.
    if (found := cards(comparison)) and not comparison.has_many_verdicts:
        console.print("[bold]Verdicts[/bold]")
        for card in found:
            words = f"[{STYLES.get(card.answer, 'bold')}]{escape(card.words)}[/]"
            console.print(
                f"• {t.TITLES[card.kind]}, {words} {escape(card.numbers)}", highlight=False
            )
    for sentence in gradients(comparison):
        console.print(f"• {escape(sentence)}", highlight=False)
    for note in notes(comparison):
        console.print(f"[bold yellow]note[/bold yellow] {escape(note)}")


def print_plan(comparison: Comparison, tests: int, console: Console) -> None:
    """Prints how many seeds a sweep needs, from the runs as a pilot.

    Raises:
        MtlfaceError: The runs are no pilot: no arm shares two seeds with its reference.
    """
    if tests < 1:
        raise MtlfaceError(
            f"plan={tests}: expected the number of verdicts of the sweep, arms × tasks, at least 1."
        )
    table = t.plan_table(comparison, tests)
    if not table.rows:
        raise MtlfaceError(
            "plan= needs a pilot: at least one arm and its single-task reference, both with the "
            "same two seeds or more, and a difference that varies. These runs have none; train a "
            "few seeds first, for example with seed=0,1,2."
        )
    _print_table(table, console)
    for note in notes(comparison):
        console.print(f"[bold yellow]note[/bold yellow] {escape(note)}")


def write_csv(report: Sequence[Comparison], path: Path) -> None:
    """One row per source, arm, metric and reference, full precision; Δm stands under task `all`.

    So do the validation scores of the candidates of a tuned arm, each under its own name.
    """
    stream = io.StringIO()
    writer = csv.DictWriter(stream, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for comparison in report:
        data = {"data": str(comparison.data.get("name"))}
        writer.writerows(_cells(data | row) for row in _csv_rows(comparison))
    write_text(path, stream.getvalue())


def _csv_rows(comparison: Comparison) -> Iterator[dict[str, object]]:
    differences = defaultdict(list)
    for d in comparison.differences:
        differences[d.arm, d.metric].append(d)
    for arm in comparison.arms:
        for metric in comparison.metrics:
            summary = comparison.summaries.get((arm.label, metric.key))
            if summary is None:
                continue
            row: dict[str, object] = {
                "arm": arm.label,
                "task": metric.task,
                "metric": metric.name,
                "higher_is_better": metric.higher_is_better,
                "primary": metric.primary,
                "n": summary.n,
                "mean": summary.mean,
                "sd": summary.sd,
                "constant_predictor": comparison.trivial.get(metric.key),
            }
            found = [_difference_columns(d) for d in differences[arm.label, metric]]
            yield from (row | columns for columns in found or [{}])
    for o in comparison.overall:
        row = {"arm": o.arm, "task": "all", "metric": "delta_m", "higher_is_better": True}
        row |= {"primary": False, "n": len(o.seeds), "mean": o.delta_m}
        yield row | (_estimate_columns(o.estimate) if o.estimate else {})
    for d in comparison.gaps:
        row = {"arm": d.arm, "task": d.metric.task, "metric": d.metric.name}
        row |= {"higher_is_better": False, "primary": False, "n": d.n, "mean": d.base + d.mean}
        yield row | _difference_columns(d)
    for tuning in comparison.tunings:
        score = "validation_" + ("delta_m" if tuning.score == "Δm" else "mean_rank")
        for c in tuning.candidates:
            row = {"arm": c.arm.label, "task": "all", "metric": score, "primary": False}
            row |= {"higher_is_better": tuning.score == "Δm", "mean": c.score}
            yield row | {"n": 0 if c.left_out else len(tuning.seeds)}


def _cells(row: dict[str, object]) -> dict[str, object]:
    return {key: cell(value) for key, value in row.items()}


def write_markdown(report: Report, drawn: Sequence[Sequence[Drawn]], path: Path) -> None:
    """The report for a repository or a paper's supplement.

    Args:
        report: What was found, a comparison for each data set.
        drawn: The figures of each.
        path: The file.
    """
    parts = [f"# {title(report)}", f"**{_md(answer(report))}**"]
    if any(part.is_demo for part in report):
        parts.append(f"> **{DEMO}**")
    for table in tables_across(report):
        parts += _markdown_section(table, 2)
    for comparison, figures in zip(report, drawn, strict=True):
        level = 2
        if len(report) > 1:
            parts.append(f"## On {_md(name_of(comparison))}")
            level = 3
        parts += _markdown_part(comparison, figures, level)
    write_text(path, "\n\n".join(parts) + "\n")


def _markdown_part(comparison: Comparison, drawn: Sequence[Drawn], level: int) -> list[str]:
    parts, head = [_md(headline(comparison))], "#" * level
    found = cards(comparison)
    lines = [f"- {t.TITLES[c.kind]}, **{_md(c.words)}** {_md(c.numbers)}" for c in found]
    lines += [f"- {_md(sentence)}" for sentence in gradients(comparison)]
    each = [f"{head} Verdicts", "\n".join(lines)] if lines else []
    if not comparison.has_many_verdicts:
        parts += each
    for table in [*all_tables(comparison), *more_tables(comparison)]:
        parts += _markdown_section(table, level)
    if found_notes := notes(comparison):
        parts += [f"{head} Notes", "\n".join(f"- {_md(note)}" for note in found_notes)]
    if drawn:
        parts.append(f"{head} Figures")
        parts += [f"![{d.name}](figures/{d.name}.svg)\n\n{_md(d.caption)}" for d in drawn]
    if comparison.has_many_verdicts:
        parts += each
    return parts


def _markdown_section(table: Table, level: int) -> list[str]:
    note = [_md(table.note)] if table.note else []
    return [f"{'#' * level} {_md(table.title)}", _markdown_table(table), *note]


@dataclass(frozen=True)
class RunLink:
    """Where a run lies and what it came from.

    Attributes:
        folder: As a link from the report.
        panels: Its images with predictions, as a link; None without any.
        command: What started it.
        date: The day on which it ended, UTC.
    """

    arm: str
    seed: int
    folder: str
    panels: str | None
    command: str
    commit: str
    date: str


@dataclass(frozen=True)
class Section:
    """What the page shows of one data set."""

    name: str
    headline: str
    cards: list[Card]
    many: bool
    gradients: list[str]
    tables: list[Table]
    extra: list[Table]
    figures: list[tuple[Drawn, str]]
    notes: list[str]
    runs: list[RunLink]


def write_html(report: Report, drawn: Sequence[Sequence[Drawn]], path: Path) -> None:
    """One page with everything in it: no script, no font; it links the run folders.

    Whatever comes from the runs is escaped.

    Args:
        report: What was found, a comparison for each data set.
        drawn: The figures of each.
        path: The file.
    """
    source = files("mtlface.analysis").joinpath("templates/comparison.html").read_text("utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.filters["breakable"] = _breakable
    sections = [
        Section(
            name_of(comparison),
            headline(comparison),
            cards(comparison),
            comparison.has_many_verdicts,
            gradients(comparison),
            all_tables(comparison),
            more_tables(comparison),
            # As images: ids of one drawing cannot meet those of another, and an image runs nothing.
            [(d, b64encode(d.svg.encode()).decode()) for d in figures],
            notes(comparison),
            run_links(comparison, path.parent),
        )
        for comparison, figures in zip(report, drawn, strict=True)
    ]
    page = environment.from_string(source).render(
        question=title(report),
        answer=answer(report),
        demo=DEMO if any(part.is_demo for part in report) else "",
        across=tables_across(report),
        sections=sections,
        titles=t.TITLES,
        words=WORDS,
        version=__version__,
    )
    write_text(path, page)


def write_tex(report: Report, path: Path) -> None:
    """The tables for a paper, with booktabs."""
    tables = tables_across(report)
    for comparison in report:
        where = f", on {name_of(comparison)}" if len(report) > 1 else ""
        tables += [replace(table, title=table.title + where) for table in all_tables(comparison)]
    write_latex([table for table in tables if table.rows], answer(report), path)


def run_links(comparison: Comparison, output: Path) -> list[RunLink]:
    """Every run of the report, arm by arm."""
    found = []
    for arm in comparison.arms:
        for seed in arm.seeds:
            run = arm.runs[seed]
            ended = (run.folder / "result.json").stat().st_mtime
            panels = run.folder / "panels" / "test.png"
            words = " ".join(shlex.quote(str(word)) for word in run.content.get("overrides") or [])
            found.append(
                RunLink(
                    comparison.names[arm.label],
                    seed,
                    _link(run.folder, output),
                    _link(panels, output) if panels.is_file() else None,
                    f"python -m mtlface.train {words}".strip(),
                    str(run.content.get("git") or "unknown"),
                    datetime.fromtimestamp(ended, UTC).date().isoformat(),
                )
            )
    return found


def _link(path: Path, output: Path) -> str:
    return quote(os.path.relpath(path.resolve(), output.resolve()))


def _print_table(table: Table, console: Console) -> None:
    shown = RichTable(
        title=escape(table.title),
        title_justify="left",
        title_style="bold",
        caption=escape(table.note) or None,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    narrow = console.width < WIDE
    kept = [i for i, c in enumerate(table.columns) if not (narrow and c in table.wide_only)]
    for i in kept:
        words = table.columns[i] in WORDS
        shown.add_column(
            escape(table.columns[i]),
            justify="left" if words else "right",
            no_wrap=not words,
            overflow="fold",
        )
    longest = 0 if not narrow else (20 if len(kept) > 4 else 34)
    previous = ""
    for row in table.rows:
        cells = [_rich_cell(table.columns[i], row[i], longest) for i in kept]
        if row[0] == previous:
            cells[0] = ""  # a block of rows carries its name once
        previous = row[0]
        shown.add_row(*cells)
    console.print(shown)
    console.print()


def _rich_cell(column: str, cell: str, longest: int) -> str:
    if longest and column in ("arm", "instead of", "metric"):
        cell = wrap_name(cell, longest)
    style = next((s for word, s in STYLES.items() if cell.startswith(word)), None)
    return f"[{style}]{escape(cell)}[/{style}]" if style else escape(cell)


def _difference_columns(d: Difference) -> dict[str, object]:
    columns: dict[str, object] = {
        "statement": d.kind,
        "reference": d.reference,
        "same_budget": d.matched or None,
        "differs_in": " ".join(d.differing),
        "pairs": d.n,
        "seeds": " ".join(map(str, d.seeds)),
        "difference": d.mean,
        "benefit_percent": d.percent,
    }
    if d.pairs:
        columns["seeds_low"], columns["seeds_high"] = d.pairs.interval
        columns["seeds_p"] = d.pairs.p
    if d.metric.primary:
        columns |= {"p": d.p, "p_holm": d.p_holm, "q": d.q, "effect": d.effect}
        columns |= {"verdict": w.verdict_text(d)}
        columns["collapsed"] = "; ".join(
            f"{arm}: {' '.join(map(str, seeds))}" for arm, seeds in d.collapsed.items()
        )
    if d.estimate:
        columns |= {"sample": d.basis, **_estimate_columns(d.estimate), "p": d.p}
    return columns


def _estimate_columns(estimate: Estimate) -> dict[str, object]:
    low, high = estimate.interval
    return {"low": low, "high": high, "df": estimate.df, "units": estimate.units, "p": estimate.p}


def _markdown_table(table: Table) -> str:
    lines = [table.columns, tuple("---" for _ in table.columns), *table.rows]
    return "\n".join("| " + " | ".join(_md(cell) for cell in line) + " |" for line in lines)


def _md(text: str) -> str:
    # Names of runs are data: what Markdown or HTML would read as markup is escaped.
    text = text.replace("\n", " ").replace("<", "&lt;")
    return "".join(f"\\{c}" if c in "\\`*_[]|" else c for c in text)


def _breakable(text: str) -> Markup:
    """Escapes text; lets a browser break names after their joints, and not within `n = 5`."""
    safe = str(Markup.escape(text)).replace("n = ", "n&nbsp;=&nbsp;")
    return Markup(re.sub(r"([_/,=@]|\.(?=[a-z]))(?=[^\s&])", r"\1<wbr>", safe))
