"""The comparison's figures: picks the numbers, lets `plots` draw them, names the files."""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mtlface.analysis.comparison import Comparison
from mtlface.analysis.curves import cumulative_errors, learning_curve, reliability_curves
from mtlface.analysis.differences import Difference, Metric, of_images
from mtlface.analysis.gradients import mean_cosines
from mtlface.analysis.label_curves import crossover_words, label_curves
from mtlface.analysis.protocol import Arm
from mtlface.analysis.references import Kind
from mtlface.analysis.transfer import percent_interval, transfer_of
from mtlface.analysis.wording import SCOPE, measured, metric_name
from mtlface.plots.bars import AbsoluteBar, absolute_bars, grouped_bars
from mtlface.plots.curves import Curve, error_curves, learning_curves, reliability
from mtlface.plots.forest import ForestRow, forest
from mtlface.plots.label_curve import label_curve_figure
from mtlface.plots.matrices import heat_map
from mtlface.plots.style import save

MOST_ARMS = 8  # colours that can be told apart
MOST_ROWS, LONGEST = 30, 60  # arms a task, and rows in all, that a reader can scroll through
MOST_PAIRS = 10  # of tasks, beside each other in one figure
COSINE = "cosine of the gradients"
EVERY_ARM = (
    "differences",
    "recipe",
    "transfer",
    "label_curve",
    "absolute",
    "cosines",
)  # figures that show all arms
# Kind → file, title and caption of its forest.
FORESTS: dict[Kind, tuple[str, str, str]] = {
    "sharing": (
        "differences",
        "Did sharing help? Right of zero: yes",
        "Sharing: each arm against its single-task twin",
    ),
    "more images": (
        "more_images",
        "Did more images help? Right of zero: yes",
        "More images: each single-task arm on all data sets against the one on its own",
    ),
    "more sources": (
        "more_sources",
        "Did more data sets help? Right of zero: yes",
        "More sources: each arm of several tasks against the one on its own data set",
    ),
    "recipe + sharing": (
        "differences_recipe_and_sharing",
        "Recipe and sharing together, right of zero: better",
        "Recipe and sharing: each arm against a single-task arm of other settings",
    ),
    "recipe": (
        "recipe",
        "Did the recipe help? Right of zero: yes",
        "Recipe: each single-task twin against the named baseline",
    ),
}


@dataclass(frozen=True)
class Drawn:
    """A figure on disk: `<name>.svg` and `<name>.png`, what it shows, and its SVG."""

    name: str
    caption: str
    svg: str


def draw_all(comparison: Comparison, folder: Path, place: str = "") -> list[Drawn]:
    """Draws every figure that the runs have numbers for into the folder.

    Args:
        comparison: What was found.
        folder: Where figures go; made if it is not there.
        place: What the names begin with: empty, or a folder in it with a slash at its end.
    """
    (folder / place).mkdir(parents=True, exist_ok=True)
    arms = [arm for arm in comparison.arms if arm.runs]
    shown = arms[:MOST_ARMS] if len(arms) <= MOST_ARMS else _most_telling(comparison, arms)
    found: list[tuple[str, str, Figure]] = [
        *(figure for kind in FORESTS for figure in _forest(comparison, kind)),
        *_transfer(comparison),
        *_label_curves(comparison),
        *_absolute(comparison, arms),
        *_learning(comparison, shown),
        *_errors(comparison, shown),
        *_reliability(comparison, shown),
        *_groups(comparison, shown),
        *_cosines(comparison, arms),
    ]
    more = f" The first {len(shown)} of {len(arms)} arms." if len(shown) < len(arms) else ""
    drawn = []
    for name, caption, figure in found:
        every = name.startswith(EVERY_ARM)
        svg = save(figure, folder / f"{place}{name}")
        drawn.append(Drawn(f"{place}{name}", caption + ("" if every else more), svg))
    return drawn


def _most_telling(comparison: Comparison, arms: list[Arm]) -> list[Arm]:
    """The references, then multi-task arms by rank, as many as have a colour."""
    references = {d.reference for d in comparison.verdicts}
    best = sorted(
        arms, key=lambda a: (a.label not in references, comparison.ranks.get(a.label, np.inf))
    )[:MOST_ARMS]
    return [arm for arm in arms if arm in best]


def _forest(comparison: Comparison, kind: Kind) -> list[tuple[str, str, Figure]]:
    found = [d for d in comparison.verdicts if d.kind == kind and d.benefit is not None]
    arms = list(dict.fromkeys(d.arm for d in found))
    best = sorted(arms, key=lambda arm: comparison.ranks.get(arm, np.inf))
    best = best[: max(1, min(MOST_ROWS, LONGEST // max(1, len(comparison.primaries))))]
    rows = [_forest_row(d, comparison.names) for d in found if d.arm in best]
    if not rows:
        return []
    name, title, what = FORESTS[kind]
    bases = {d.basis for d in found}
    scope = SCOPE["seeds and images" if "seeds and images" in bases else next(iter(bases))]
    caption = (
        f"{what}; in percent of it, turned so that right is better, with 95 % intervals {scope}. "
        "The colour is the answer after Holm's correction over the whole report."
    )
    if len(best) < len(arms):
        caption += f" The {len(best)} of {len(arms)} arms with the best mean rank."
    figure = forest(rows, "% of the reference, right is better", title)
    return [(name, caption, figure)]


def _transfer(comparison: Comparison) -> list[tuple[str, str, Figure]]:
    found = transfer_of(comparison)
    if found is None:
        return []
    matrix = found.matrix()
    limit = float(np.nanmax(np.abs(matrix), initial=0.0)) or 1.0
    figure = heat_map(
        found.tasks, found.tasks, matrix, "What a row's task gains from a column's",
        "% of the single-task twin", limit,
    )  # fmt: skip
    caption = (
        "The gain of each row's task from training together with each column's, in percent of its "
        "single-task twin; blue helps. Grey: no such pair, see the table."
    )
    return [("transfer", caption, figure)]


def _label_curves(comparison: Comparison) -> list[tuple[str, str, Figure]]:
    found = []
    for curve in label_curves(comparison):
        figure = label_curve_figure(
            curve.labels,
            curve.benefit,
            [percent_interval(d) for d in curve.points],
            None if curve.crossover is None else curve.crossover.interval,
            f"What sharing brings {curve.task}, by its labels",
        )
        caption = (
            f"Sharing in {curve.task} by the number of its training labels, the other tasks' as "
            "they are: the mean over seeds with its 95 % interval, a dot per seed. "
            f"{crossover_words(curve)}"
        )
        found.append((_file_name(f"label_curve_{curve.task}"), caption, figure))
    return found


def _forest_row(d: Difference, names: Mapping[str, str]) -> ForestRow:
    task = f"{d.metric.task}: {metric_name(d.metric.name)}"
    name = names[d.arm] + (" (same whole budget)" if d.matched else "")
    return ForestRow(name, task, d.benefit or (), percent_interval(d), d.answer)


def _absolute(comparison: Comparison, arms: list[Arm]) -> list[tuple[str, str, Figure]]:
    alone = all(len(arm.seeds) == 1 for arm in arms)
    panels = {}
    for metric in comparison.primaries:
        bars = [bar for arm in arms if (bar := _bar(comparison, arm, metric, alone))]
        if bars:
            constant = comparison.trivial.get(metric.key)
            panels[measured(metric)] = (bars[:MOST_ROWS], constant)
    if not panels:
        return []
    spread = (
        "one seed, whisker 95 % interval over test images"
        if alone
        else "mean over seeds, ticks for single seeds, whisker ± one standard deviation"
    )
    caption = (
        f"Every arm's test metrics themselves: {spread}; the dashed line is the constant predictor."
    )
    return [("absolute", caption, absolute_bars(panels))]


def _bar(comparison: Comparison, arm: Arm, metric: Metric, alone: bool) -> AbsoluteBar | None:
    summary = comparison.summaries.get((arm.label, metric.key))
    if summary is None:
        return None
    values = tuple(arm.values(metric.key).values())
    ends = of_images(arm, metric, comparison.predictions) if alone else None
    if ends is None and summary.sd is not None:
        ends = (summary.mean - summary.sd, summary.mean + summary.sd)
    return AbsoluteBar(comparison.names[arm.label], summary.mean, values, ends)


def _learning(comparison: Comparison, arms: list[Arm]) -> list[tuple[str, str, Figure]]:
    order = [comparison.names[arm.label] for arm in arms]
    panels = {}
    for metric in comparison.primaries:
        curves = [learning_curve(arm, f"val/{metric.task}/{metric.name}") for arm in arms]
        if found := [curve for curve in curves if curve is not None]:
            panels[measured(metric)] = [_named(curve, comparison) for curve in found]
    if not panels:
        return []
    caption = (
        "Validation metrics by epoch: mean over the seeds that reached the epoch, with a band of "
        "± one standard deviation."
    )
    return [("learning_curves", caption, learning_curves(panels, order))]


def _errors(comparison: Comparison, arms: list[Arm]) -> list[tuple[str, str, Figure]]:
    order = [comparison.names[arm.label] for arm in arms]
    panels = {}
    for task in dict.fromkeys(m.task for m in comparison.primaries):
        if curves := cumulative_errors(arms, task, comparison.predictions):
            panels[f"{task}: error of an image"] = [_named(curve, comparison) for curve in curves]
    if not panels:
        return []
    caption = "Cumulative error on the test images: higher and further left is better."
    return [("cumulative_error", caption, error_curves(panels, order))]


def _reliability(comparison: Comparison, arms: list[Arm]) -> list[tuple[str, str, Figure]]:
    order = [comparison.names[arm.label] for arm in arms]
    found = reliability_curves(arms, comparison.predictions)
    if not found:
        return []
    found = {n: [(_named(c, comparison), e) for c, e in pairs] for n, pairs in found.items()}
    figure = reliability({n: [c for c, _ in pairs] for n, pairs in found.items()}, order)
    errors = "; ".join(
        f"{name}: " + ", ".join(f"{curve.label} {ece:.3f}" for curve, ece in pairs)
        for name, pairs in found.items()
    )
    caption = (
        "Reliability on the test images, seeds pooled, in as many bins as they carry; a point is "
        "as large as its share of images. On the diagonal a probability means what it says. "
        f"Expected calibration error: {errors}."
    )
    return [("reliability", caption, figure)]


def _groups(comparison: Comparison, arms: list[Arm]) -> list[tuple[str, str, Figure]]:
    primaries = {(m.task, m.name): m for m in comparison.primaries}
    order = [comparison.names[arm.label] for arm in arms]
    groups: dict[tuple[str, str, str], dict[str, str]] = defaultdict(dict)
    for metric in comparison.metrics:
        name, at, group = metric.name.partition("@")
        column, equals, value = group.partition("=")
        if at and equals and (metric.task, name) in primaries:
            groups[metric.task, name, column][value] = metric.key
    found = []
    for (task, name, column), keys in groups.items():
        series = {}
        for arm in arms:
            summaries = [comparison.summaries.get((arm.label, key)) for key in keys.values()]
            if any(summaries):
                means = [s.mean if s else np.nan for s in summaries]
                sds = [s.sd if s and s.sd is not None else np.nan for s in summaries]
                series[comparison.names[arm.label]] = (np.array(means), np.array(sds))
        if not series:
            continue
        metric = primaries[task, name]
        figure = grouped_bars(list(keys), series, order, measured(metric), f"{task} by {column}")
        caption = f"{measured(metric)} by {column}: mean over seeds, whisker ± one sd."
        found.append((_file_name(f"by_{column}_{task}"), caption, figure))
    return found


def _cosines(comparison: Comparison, arms: list[Arm]) -> list[tuple[str, str, Figure]]:
    of_arm = {arm.label: cosines for arm in arms if (cosines := mean_cosines(arm))}
    pairs = list(dict.fromkeys(pair for cosines in of_arm.values() for pair in cosines))
    if len(of_arm) > MOST_ARMS and len(pairs) <= MOST_PAIRS:
        matrix = np.array([[c.get(pair, np.nan) for pair in pairs] for c in of_arm.values()])
        figure = heat_map(
            [comparison.names[label] for label in of_arm],
            [" · ".join(pair) for pair in pairs],
            matrix,
            "Do the tasks' gradients agree?",
            COSINE,
        )
        caption = (
            "Mean cosine between the tasks' gradients at the shared features by arm; below zero "
            "they pull against each other."
        )
        return [("cosines", caption, figure)]
    found = []
    for label, values in of_arm.items():
        if len(values) == 1:
            continue  # one number is a sentence of the report
        tasks = list(dict.fromkeys(name for pair in values for name in pair))
        matrix = np.full((len(tasks), len(tasks)), np.nan)
        np.fill_diagonal(matrix, 1.0)
        for (a, b), cosine in values.items():
            i, j = tasks.index(a), tasks.index(b)
            matrix[i, j] = matrix[j, i] = cosine
        figure = heat_map(tasks, tasks, matrix, comparison.names[label], COSINE)
        caption = (
            f"{comparison.names[label]}: mean cosine between the tasks' gradients at the shared "
            "features; below zero they pull against each other."
        )
        found.append((_file_name(f"cosines_{label}"), caption, figure))
    return found


def _named(curve: Curve, comparison: Comparison) -> Curve:
    return replace(curve, label=comparison.names[curve.label])


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.-]+", "_", text)
