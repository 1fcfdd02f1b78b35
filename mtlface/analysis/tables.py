"""The comparison as tables, in the order in which they are read."""

from collections.abc import Sequence

import numpy as np

from mtlface.analysis import wording as w
from mtlface.analysis.comparison import Comparison
from mtlface.analysis.crossed import mean_squares
from mtlface.analysis.differences import Metric, collapsed, of_images
from mtlface.analysis.groups import FEWEST
from mtlface.analysis.overall import SINGLE
from mtlface.analysis.planning import plan
from mtlface.analysis.references import Kind
from mtlface.analysis.settings import in_words
from mtlface.analysis.statistics import mean_interval
from mtlface.analysis.table import Table
from mtlface.analysis.tuning import Tuning

TRIVIAL = "constant predictor"
TITLES: dict[Kind, str] = {
    "sharing": "Sharing",
    "more images": "More images",
    "more sources": "More sources",
    "recipe + sharing": "Recipe + sharing",
    "recipe": "Recipe",
}
DIFFERENCES: dict[Kind, str] = {
    "sharing": "Sharing: each arm against its single-task twin, paired by seed",
    "more images": "More images: each single-task arm on all data sets against the one on its own",
    "more sources": "More sources: each arm of several tasks against the one on its own data set",
    "recipe + sharing": "Recipe + sharing: each arm against a single-task arm, paired by seed",
    "recipe": "Recipe: each twin against the named baseline, paired by seed",
}
TASKS_A_TABLE = 3  # what fits into 100 columns beside the arms' names


def main_tables(comparison: Comparison) -> list[Table]:
    """Arms × primary metrics, a few tasks a table, with the constant predictor as last row."""
    shown = comparison.primaries or [m for m in comparison.metrics if "@" not in m.name]
    across = [m for m in comparison.metrics if _is_across_tasks(comparison, m)]
    metrics = [*shown, *across]
    chunks = [metrics[i : i + TASKS_A_TABLE] for i in range(0, len(metrics), TASKS_A_TABLE)]
    return [_main_table(comparison, chunk, first=i == 0) for i, chunk in enumerate(chunks)]


def tally_table(comparison: Comparison) -> Table:
    """Which arms lose a task, which keep it, which gain: all verdicts in a few rows."""
    names = comparison.names
    rows = []
    for metric in comparison.primaries:
        verdicts = [d for d in comparison.verdicts if d.metric == metric]
        for verdict in ("worse", "undecided", "shown equal", "better", "no verdict"):
            arms = [names[d.arm] for d in verdicts if d.answer == verdict]
            if arms:
                task = w.measured(metric)
                share = f"{verdict}: {len(arms)} of {len(verdicts)}"
                rows.append((task, share, "; ".join(arms)))
    return Table(
        "Against the single-task arm, task by task",
        ("task", "verdict", "arms"),
        tuple(rows),
        "Recovered is a task that is better or shown equal. Undecided is neither: the intervals "
        "below say how much may be hidden.",
    )


def secondary_table(comparison: Comparison) -> Table:
    """Every other metric of every arm, a row each."""
    rows = []
    for metric in comparison.metrics:
        if metric.primary or "@" in metric.name:
            continue
        decimals = comparison.decimals(metric)
        for arm in comparison.arms:
            summary = comparison.summaries.get((arm.label, metric.key))
            if summary:
                trivial = w.number(comparison.trivial.get(metric.key), decimals)
                rows.append(
                    (
                        w.measured(metric),
                        comparison.names[arm.label],
                        str(summary.n),
                        w.mean_sd(summary, decimals),
                        trivial,
                    )
                )
    return Table("All other metrics", ("metric", "arm", "n", "mean ± sd", TRIVIAL), tuple(rows))


def differences_table(comparison: Comparison, kind: Kind) -> Table:
    """Each arm against its reference in each task's primary metric, with the answer."""
    rows = []
    order = [m.task for m in comparison.primaries]
    found = [d for d in comparison.verdicts if d.kind == kind]
    for d in sorted(found, key=lambda d: order.index(d.metric.task)):
        decimals = comparison.decimals_of_difference(d)
        reference = comparison.names[d.reference]
        rows.append(
            (
                w.measured(d.metric),
                comparison.names[d.arm],
                f"{reference} (same whole budget)" if d.matched else reference,
                w.verdict_text(d),
                w.short_sample(d),
                w.number(d.mean, decimals, signed=True),
                w.interval(d.estimate.interval if d.estimate else None, decimals),
                w.interval(d.pairs.interval if d.pairs else None, decimals),
                w.p_value(d.p_holm),
                w.p_value(d.q),
            )
        )
    bases = [basis for basis in w.SCOPE if any(d.basis == basis for d in found)]
    scope = " or ".join(w.SCOPE[basis] for basis in bases if w.SCOPE[basis]) or "not to be had"
    return Table(
        DIFFERENCES[kind],
        (
            *("task", "arm", "reference", "verdict", "n", "difference", "95 % interval"),
            *("these test images", "Holm p", "q"),
        ),
        tuple(rows),
        f"n: seeds × test images, or the people on them. The 95 % interval is {scope}; the one of "
        "these test images counts the seeds alone. Holm's p is corrected over all "
        "verdicts of the report, and decides; q (Benjamini and Hochberg) says what to follow up. "
        "Shown equal: the 90 % interval lies within the smallest effect of interest. ↑ higher is "
        "better, ↓ lower is better.",
        frozenset({"these test images", "q", "reference"}),
    )


def gaps_table(comparison: Comparison) -> Table:
    """Does sharing widen the gap between the best and the worst group? Each arm and its twin."""
    rows = []
    for d in comparison.gaps:
        decimals = comparison.decimals_of_difference(d)
        twin = comparison.names[d.reference]
        verdict = w.verdict_text(d).replace("worse", "wider").replace("better", "narrower")
        rows.append(
            (
                w.measured(d.metric),
                comparison.names[d.arm],
                f"{twin} (same whole budget)" if d.matched else twin,
                verdict,
                w.short_sample(d),
                w.number(d.base, decimals),
                w.number(d.mean, decimals, signed=True),
                w.interval(d.estimate.interval if d.estimate else None, decimals),
                w.p_value(d.p_holm),
            )
        )
    return Table(
        "Does sharing widen the gap between groups? Each arm against its single-task twin",
        (
            *("task", "arm", "reference", "verdict", "n", "twin's gap", "difference"),
            *("95 % interval", "Holm p"),
        ),
        tuple(rows),
        f"The gap is that between the best and the worst group of at least {FEWEST} test images, "
        "and its difference is arm less twin: above 0, sharing widens it. Intervals as above; "
        "Holm's p is corrected over the rows of this table.",
        frozenset({"reference"}),
    )


def ensembles_table(comparison: Comparison) -> Table:
    """The seeds of each arm as one deep ensemble, beside the mean of its members."""
    rows = []
    for e in comparison.ensembles:
        decimals, sure = comparison.decimals(e.metric), e.sureness
        of = (sure.nll, sure.nll_members, sure.brier, sure.ece, sure.disagreement) if sure else ()
        rows.append(
            (
                w.measured(e.metric),
                comparison.names[e.arm],
                str(e.members),
                w.number(e.mean, decimals),
                w.number(e.value, decimals),
                w.number(e.spread, decimals),
                *(w.number(value, 3) for value in of or (None,) * 5),
            )
        )
    return Table(
        "Seeds as an ensemble: the mean of their answers",
        (
            *("task", "arm", "members", "mean of members", "ensemble", "sd between members"),
            *("NLL", "mean NLL of members", "Brier", "ECE", "disagreement (nats)"),
        ),
        tuple(rows),
        "From the saved test predictions: numbers and probabilities of yes are averaged. An "
        "ensemble costs as many forward passes as it has members. Other tasks, groups and "
        "conformal regions: python -m mtlface.evaluate ensemble=<folder of the arm>.",
    )


def differing_table(comparison: Comparison) -> Table:
    """The settings behind each difference that is not sharing alone."""
    rows: dict[tuple[str, str], tuple[str, ...]] = {}
    for d in comparison.verdicts:
        if d.differing:
            pair = comparison.names[d.arm], comparison.names[d.reference]
            rows[pair] = (*pair, in_words(d.differing, most=len(d.differing)))
    return Table(
        "What a recipe is, or a search chose: settings in which arm and reference differ",
        ("arm", "reference", "settings (arm and reference)"),
        tuple(rows.values()),
    )


def collapse_table(comparison: Comparison) -> Table:
    """Seeds that learnt nothing of a task, counted."""
    rows: dict[tuple[str, str], tuple[str, ...]] = {}
    for arm in comparison.arms:
        for metric in comparison.primaries:
            seeds = [s for s in arm.seeds if metric.key in arm.runs[s].metrics]
            if failed := collapsed(arm, metric, seeds):
                decimals = comparison.decimals(metric)
                rows[arm.label, metric.task] = (
                    metric.task,
                    comparison.names[arm.label],
                    f"{len(failed)} of {len(seeds)}",
                    ", ".join(map(str, failed)),
                    w.number(comparison.trivial.get(metric.key), decimals),
                )
    return Table(
        "Seeds that are no better than the constant predictor",
        ("task", "arm", "collapsed", "seeds", TRIVIAL),
        tuple(rows.values()),
        "A mean over such seeds and others describes neither. Where three or more seeds did learn, "
        "an answer above holds with and without the others.",
    )


def overall_table(comparison: Comparison) -> Table:
    """Δm with its parts, so that one outlier task cannot hide."""
    rows = []
    tasks = list(dict.fromkeys(t for o in comparison.overall for t in o.contributions))
    for o in comparison.overall:
        parts = [
            f"{task} {w.number(o.contributions[task], 2, signed=True)}"
            for task in tasks
            if task in o.contributions
        ]
        if o.without_reference:
            parts.append(f"without reference: {', '.join(o.without_reference)}")
        without = w.number(o.without_influential, 2, signed=True)
        rows.append(
            (
                comparison.names[o.arm],
                str(len(o.seeds)),
                w.number(o.delta_m, 2, signed=True),
                w.interval(o.estimate.interval if o.estimate else None, 2),
                f"{without} ({o.influential})" if o.influential else w.ABSENT,
                w.number(o.median, 2, signed=True),
                f"{len(o.worse)} of {len(o.contributions)}",
                w.number(comparison.ranks.get(o.arm), 2),
                ", ".join(parts),
            )
        )
    if rows and SINGLE in comparison.ranks:
        zero, none = w.number(0.0, 2), w.ABSENT
        rank = w.number(comparison.ranks[SINGLE], 2)
        rows.append((SINGLE, none, zero, none, none, zero, none, rank, none))
    scope = "and new images" if any(o.crossed for o in comparison.overall) else "on these images"
    known = any(o.estimate for o in comparison.overall)
    interval = f"The interval is for new seeds {scope}. " if known else ""
    return Table(
        "Over tasks: Δm in percent of the single-task networks (higher is better)",
        (
            *("arm", "n", "Δm %", "95 % interval", "without its most influential task"),
            *("median %", "tasks worse", "mean rank", "each task's part %"),
        ),
        tuple(rows),
        "Δm = mean over tasks of s·(M − B)/|B|, s = +1 where higher is better and −1 where lower "
        "is, so that higher is always better here; part of the literature has the opposite sign. "
        f"{interval}Rank 1 is best, over the seeds that all arms have.",
        frozenset({"without its most influential task"})
        if not any(o.influential for o in comparison.overall)
        else frozenset(),
    )


def candidates_table(tuning: Tuning) -> Table:
    """The grid behind a tuned arm: what each candidate scored on validation."""
    percent = tuning.score == "Δm"
    rows = []
    for c in tuning.candidates:
        parts = [f"{task} {w.number(v, 2, signed=percent)}" for task, v in c.parts.items()]
        choice = "chosen" if c.arm.label == tuning.source else c.left_out and "left out"
        n = w.ABSENT if c.left_out else str(len(tuning.seeds))
        score = w.number(c.score, 2, signed=percent)
        rows.append((c.arm.label, n, score, ", ".join(parts) or w.ABSENT, choice or w.ABSENT))
    score, part = ("Δm %", "part %") if percent else ("mean rank", "rank")
    return Table(
        f"Candidates of {tuning.name}, by validation",
        ("arm", "n", f"validation {score}", f"each task's {part}", "choice"),
        tuple(rows),
        ("The best by Δm to the single-task arms" if percent else "The lowest mean rank")
        + " on validation is chosen; the test figures took no part.",
    )


def _main_table(comparison: Comparison, metrics: Sequence[Metric], *, first: bool) -> Table:
    rows = []
    alone = all(len(arm.seeds) == 1 for arm in comparison.arms if arm.runs)
    for arm in comparison.arms:
        summaries = [comparison.summaries.get((arm.label, m.key)) for m in metrics]
        if arm.runs and not any(summaries):
            continue
        name = comparison.names[arm.label]
        if not arm.runs:
            failed = sum(1 for u in arm.unfinished if u.error)
            status = f"{failed} failed" if failed else f"{len(arm.unfinished)} unfinished"
            rows.append((name, "0", *([status] * len(metrics))))
            continue
        cells = []
        for metric, summary in zip(metrics, summaries, strict=True):
            decimals = comparison.decimals(metric)
            text = w.mean_sd(summary, decimals)
            ends = of_images(arm, metric, comparison.predictions) if alone else None
            if ends:
                text += f" {w.interval(ends, decimals)}".replace("+", "")
            fewer = summary is not None and summary.n != len(arm.seeds)
            cells.append(f"{text} (n={summary.n})" if fewer and summary else text)
        rows.append((name, str(len(arm.seeds)), *cells))
    trivial = [w.number(comparison.trivial.get(m.key), comparison.decimals(m)) for m in metrics]
    if any(cell != w.ABSENT for cell in trivial):
        rows.append((TRIVIAL, w.ABSENT, *trivial))
    spread = "95 % interval over test images" if alone else "mean ± standard deviation over seeds"
    return Table(
        f"Test metrics, {spread}" + ("" if first else " (continued)"),
        ("arm", "n", *(w.measured(m) for m in metrics)),
        tuple(rows),
        f"{TRIVIAL}: always the most frequent class, the mean value or the mean points."
        if trivial and first
        else "",
    )


def _is_across_tasks(comparison: Comparison, metric: Metric) -> bool:
    return (
        metric.higher_is_better is not None
        and "@" not in metric.name
        and all(metric.task not in arm.tasks for arm in comparison.arms if arm.runs)
    )


def own_best_table(comparison: Comparison) -> Table:
    """What one checkpoint for all tasks costs: each task at its own best epoch, on validation."""
    rows = []
    for arm in comparison.arms:
        for metric in comparison.primaries:
            found = [
                best
                for seed in arm.seeds
                if (
                    best := (arm.runs[seed].lookup("selection.each_task_best") or {}).get(
                        metric.task
                    )
                )
            ]
            pairs = [(b["value"], b["at_chosen"]) for b in found if b.get("at_chosen") is not None]
            if not pairs or len(arm.tasks) < 2:
                continue
            own, chosen = np.array(pairs, dtype=np.float64).T
            decimals = w.decimals_for([*own, *chosen])
            rows.append(
                (
                    w.measured(metric),
                    comparison.names[arm.label],
                    str(len(pairs)),
                    w.number(float(chosen.mean()), decimals),
                    w.number(float(own.mean()), decimals),
                    w.number(float((chosen - own).mean()), decimals, signed=True),
                )
            )
    return Table(
        "One checkpoint for all tasks: validation at the chosen epoch and at each task's own best",
        ("task", "arm", "n", "chosen epoch", "own best epoch", "price"),
        tuple(rows),
        "A single-task arm chooses its best epoch for itself alone; an arm of several tasks pays "
        "this price for one network.",
    )


def condition_table(comparison: Comparison) -> Table:
    """Primary metrics by group, where the runs have groups."""
    primaries = {(m.task, m.name) for m in comparison.primaries}
    rows = []
    for metric in comparison.metrics:
        name, at, group = metric.name.partition("@")
        if not at or (metric.task, name) not in primaries:
            continue
        for arm in comparison.arms:
            values = list(arm.values(metric.key).values()) if arm.runs else []
            if values:
                decimals = w.decimals_for(values)
                ends = mean_interval(values)
                rows.append(
                    (
                        f"{metric.task} {w.metric_name(name)}{w.arrow(metric.higher_is_better)}",
                        group.replace("=", " = "),
                        comparison.names[arm.label],
                        str(len(values)),
                        w.mean_sd(comparison.summaries[arm.label, metric.key], decimals),
                        w.interval(ends, decimals).replace("+", ""),
                    )
                )
    return Table(
        "By group", ("metric", "group", "arm", "n", "mean ± sd", "95 % t interval"), tuple(rows)
    )


def plan_table(comparison: Comparison, tests: int) -> Table:
    """How many seeds a sweep with so many verdicts needs, from these runs as a pilot."""
    rows = []
    for d in comparison.verdicts:
        squares = mean_squares(d.cells.units) if d.cells else None
        sd = float(np.std(d.values, ddof=1)) if d.n > 1 else 0.0
        if not sd:
            continue
        p, decimals = plan(sd, d.n, d.effect, tests, squares), comparison.decimals(d.metric)
        low, high = (w.number(end, decimals) for end in p.sd_interval)
        rows.append(
            (
                w.measured(d.metric),
                comparison.names[d.arm],
                str(d.n),
                w.effect_text(d),
                f"{w.number(sd, decimals)} [{low}, {high}]",
                *(w.seeds_text(n) for n in (p.one, p.family, p.equal)),
                w.number(p.floor, decimals) + (" !" if p.out_of_reach else ""),
            )
        )
    return Table(
        f"Seeds that a sweep with {w.many(tests, 'verdict')} needs",
        (
            *("task", "arm", "pilot", "to see", "sd of the difference", "one test"),
            *(f"{tests} tests", "to show equal", "floor"),
        ),
        tuple(rows),
        "To see the smallest effect of interest with 80 % power: in one test, and in Holm's first "
        "step over all tests; to show equality within it where there is no difference. The sd has "
        "its 95 % interval: a pilot of few seeds says little. Floor: the standard error that the "
        "test images leave however many seeds are run; ! where it alone hides the effect.",
    )
