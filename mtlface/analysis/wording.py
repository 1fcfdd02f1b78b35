"""Numbers and verdicts as a reader sees them."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from mtlface.analysis.crossed import Interval
from mtlface.analysis.decisions import ALPHA
from mtlface.analysis.differences import FEWEST_SEEDS, Difference, Metric
from mtlface.analysis.planning import MOST_SEEDS
from mtlface.analysis.protocol import Arm
from mtlface.analysis.settings import in_words
from mtlface.analysis.statistics import Summary
from mtlface.analysis.tuning import Tuning

ABSENT = "–"
METRICS = {
    "nme": "NME",
    "nme_image": "NME by image side",
    "auc08": "AUC@0.08",
    "fr08": "failures@0.08",
    "mse_px": "MSE (px²)",
    "mse": "MSE",
    "mae": "MAE",
    "rmse": "RMSE",
    "cs5": "CS@5",
    "auroc": "AUROC",
    "f1": "F1",
    "f1_macro": "macro F1",
    "top1": "top-1",
    "gallery_top1": "gallery top-1",
    "verification_auc": "verification AUC",
}
MINUS = "\N{MINUS SIGN}"


def decimals_for(values: Sequence[float]) -> int:
    """Decimals that show the largest of the values with four significant digits."""
    largest = max((abs(v) for v in values), default=0.0)
    if largest == 0.0:
        return 3
    return min(6, max(0, 3 - math.floor(math.log10(largest))))


def number(value: float | None, decimals: int, *, signed: bool = False) -> str:
    """Formats a number with a real minus sign; a dash for None."""
    if value is None:
        return ABSENT
    text = f"{value:+.{decimals}f}" if signed else f"{value:.{decimals}f}"
    return text.replace("-", MINUS)


def many(n: int, noun: str) -> str:
    """`1 arm`, `2 arms`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def mean_sd(summary: Summary | None, decimals: int) -> str:
    """`0.9123 ± 0.0041`, or the mean alone for one seed."""
    if summary is None:
        return ABSENT
    mean = number(summary.mean, decimals)
    return mean if summary.sd is None else f"{mean} ± {number(summary.sd, decimals)}"


def interval(ends: Interval | None, decimals: int) -> str:
    """`[+0.004, +0.020]`, or a dash."""
    if ends is None:
        return ABSENT
    return "[" + ", ".join(number(end, decimals, signed=True) for end in ends) + "]"


def display_names(arms: Sequence[Arm], compared: Sequence[str] = ()) -> dict[str, str]:
    """What tables and figures call each arm; names that would be equal stay as they are.

    An experiment goes by its `label`; an arm cut to one task says so: `S0d · gender alone`.

    Args:
        arms: All arms of the report.
        compared: Labels of many compared arms: those of one experiment are told apart by their
            changes alone.
    """
    experiments = {label.partition(",")[0] for label in compared if "," in label}
    found = {}
    changes = {arm.label: split_changes(arm.changes) for arm in arms}
    # What the command line set for all of them stands in the table of common settings.
    common = set.intersection(*map(set, changes.values())) if len(arms) > 1 else set()
    for arm in arms:
        words = [word for word in changes[arm.label] if word not in common]
        alone = next((word[5:] for word in words if word.startswith("only=")), None)
        rest = ",".join(word for word in words if not word.startswith("only="))
        name = next((run.label for run in arm.runs.values()), arm.label)
        if arm.label in compared and len(experiments) == 1 and rest and alone is None:
            name, rest = rest, ""
        name = f"{name}, {rest}" if rest else name
        found[arm.label] = f"{name} · {alone} alone" if alone else name
    counts = Counter(found.values())
    return {label: name if counts[name] == 1 else label for label, name in found.items()}


def split_changes(text: str) -> list[str]:
    """The changes in an arm's name: `,a=1,b={c:2,d:3}` to `a=1` and `b={c:2,d:3}`."""
    return [word for word in re.split(r",(?![^\[{(]*[\]})])", text) if word]


def metric_name(name: str) -> str:
    """What people call a metric: `nme` is NME."""
    plain, at, group = name.partition("@")
    whole, slash, part = plain.partition("/")
    shown = METRICS.get(whole, whole.replace("_", " "))
    return f"{shown}{slash}{part}{at}{group}"


def measured(metric: Metric) -> str:
    """A task with its metric and which way is better: `landmarks NME ↓`."""
    return f"{metric.task} {metric_name(metric.name)}{arrow(metric.higher_is_better)}"


def p_value(p: float | None) -> str:
    """`0.012`, `<0.001`, or a dash."""
    if p is None:
        return ABSENT
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def arrow(higher_is_better: bool | None) -> str:
    """Which way is better."""
    return {True: " ↑", False: " ↓", None: ""}[higher_is_better]


def seeds_text(needed: int | None) -> str:
    """A number of seeds, or that it is beyond reason."""
    return f"> {MOST_SEEDS:,}" if needed is None else str(needed)


def effect_text(difference: Difference) -> str:
    """The smallest effect of interest: `±1 pt` of a share, `±2 %` of an error."""
    d = difference
    if d.metric.higher_is_better:
        return f"±{100 * d.effect:.3g} pt"
    return f"±{100 * d.effect / abs(d.base):.3g} %" if d.base else f"±{d.effect:.3g}"


def verdict_text(difference: Difference) -> str:
    """The answer for a table: `better`, `shown equal (±1 pt)`, `undecided at n = 5`, …."""
    d = difference
    text = str(d.answer)
    if d.answer == "shown equal":
        text += f" ({effect_text(d)})"
    elif d.answer == "undecided":
        text += f" at n = {d.n}"
    elif d.answer in ("better", "worse") and d.equal:
        text += f", by less than {effect_text(d)[1:]}"
    return text + " (one seed)" if d.basis == "images" else text


def short_sample(d: Difference) -> str:
    """The same for a narrow column: `5 × 300`."""
    units = d.estimate.units if d.estimate and d.basis in ("seeds and images", "images") else 0
    return f"{d.n} × {units:,}" if units else str(d.n)


def sample(difference: Difference) -> str:
    """What the interval counts: `5 seeds × 300 images`."""
    d = difference
    seeds = many(d.n, "seed")
    if d.basis not in ("seeds and images", "images") or d.estimate is None or not d.estimate.units:
        return seeds
    images = f"{d.estimate.units:,}"
    people = d.cells is not None and len(d.cells.images) > d.estimate.units
    return f"{seeds} × {images} {'people' if people else 'images'}"


def change(d: Difference) -> str:
    """The difference in a unit that reads: points of a share, percent of an error; good is up."""
    return _in_unit(d, d.mean)


def change_interval(d: Difference) -> str:
    """Its interval in the same unit, or nothing: `[+0.9, +3.8]`."""
    if d.estimate is None:
        return ""
    factor, _ = _unit(d)
    ends = sorted(factor * end for end in d.estimate.interval)
    decimals = decimals_for([max(map(abs, ends)) * 10])
    return f"[{', '.join(number(end, decimals, signed=True) for end in ends)}]"


def phrase(d: Difference) -> str:
    """An answer for the line at the top: `landmarks better by 2.4 % [+0.9, +3.8]`."""
    task = d.metric.task
    if d.answer == "shown equal":
        return f"{task} shown equal ({effect_text(d)})"
    if d.answer in ("better", "worse"):
        size = _in_unit(d, abs(d.mean) * d.metric.sign).lstrip("+" + MINUS)
        return f"{task} {d.answer} by {size} {change_interval(d)}"
    if d.answer == "no verdict":
        return f"{task} no verdict ({change(d)})"
    return f"{task} {d.answer} ({change(d)} {change_interval(d)})"


def sentence(difference: Difference, decimals: int, names: Mapping[str, str]) -> tuple[str, str]:
    """One task's answer in words, and the numbers behind it."""
    d = difference
    words = f"{d.metric.task}: {_says(d, names)}."
    numbers = f"{metric_name(d.metric.name)} {number(d.mean, decimals, signed=True)}"
    if d.estimate is None:
        numbers = f"{numbers}, n = {d.n}. {_why_none(d)}"
    else:
        numbers += (
            f", 95 % interval {interval(d.estimate.interval, decimals)} {SCOPE[d.basis]} "
            f"({sample(d)}); Holm p {_equals(d.p_holm)}, q {_equals(d.q)}."
        )
    if d.basis == "seeds and images" and d.pairs:
        numbers += f" On these test images alone: {interval(d.pairs.interval, decimals)}."
    if d.answer == "undecided" and d.p is not None and d.p < ALPHA:
        numbers += " This test alone says more; the report's family of tests does not."
    if d.answer == "depends on the budget":
        numbers += " The twin of the same epochs and the one of the same whole budget disagree."
    if d.differing:
        numbers += f" They differ in {in_words(d.differing)}."
    return words, " ".join([numbers, *_collapses(d, names)])


def _unit(d: Difference) -> tuple[float, str]:
    """What the metric's unit is multiplied by so that up is good, and what it is called then."""
    if d.metric.higher_is_better:
        return 100.0, " pt"
    return (-100.0 / abs(d.base), " %") if d.base else (-1.0, "")


def _in_unit(d: Difference, value: float) -> str:
    factor, unit = _unit(d)
    shown = factor * value
    return number(shown, decimals_for([abs(shown) * 10]), signed=True) + unit


def _says(d: Difference, names: Mapping[str, str]) -> str:
    seed = "; one seed, and another training may turn it round" if d.basis == "images" else ""
    arm, reference = names[d.arm], names[d.reference]
    if d.matched:
        reference += " (same whole budget)"
    if d.answer == "no verdict":
        return f"no verdict on {arm} against {reference}"
    if d.answer == "undecided":
        return f"undecided between {arm} and {reference} at n = {d.n}{seed}"
    if d.answer == "depends on the budget":
        return f"whether {arm} is better than {reference} depends on the budget"
    if d.answer == "shown equal":
        return f"{arm} and {reference} are shown equal within {effect_text(d)}{seed}"
    small = f", by less than {effect_text(d)[1:]}" if d.equal else ""
    return f"{arm} is {d.answer} than {reference}{small}{seed}"


def _collapses(d: Difference, names: Mapping[str, str]) -> list[str]:
    """Which seeds learnt nothing: their mean with the others is no typical training."""
    return [
        f"{len(seeds)} of {many(d.n, 'seed')} of {names[arm]} "
        f"{'is' if len(seeds) == 1 else 'are'} no better than the constant predictor "
        f"({', '.join(map(str, seeds))})."
        for arm, seeds in d.collapsed.items()
    ]


def choice(tuning: Tuning) -> list[str]:
    """What a tuned arm was chosen from and by what, and whatever weakens the choice."""
    t, usable = tuning, [c.arm for c in tuning.candidates if not c.left_out]
    percent = t.score == "Δm"
    best = number(t.best, 2, signed=percent) + (" %" if percent else "")
    found = [
        f"{t.chosen.label} is {t.source}, chosen out of {many(len(usable), 'arm')} by the best "
        f"mean validation {t.score} ({best} over {_seeds(t.seeds)}); the test figures took no "
        f"part. The cost tables count the chosen arm only, the search trained {len(t.candidates)}."
    ]
    found += [
        f"Candidate {c.arm.label} is left out of the choice of {t.name}: {c.left_out}."
        for c in t.candidates
        if c.left_out
    ]
    if dropped := {seed for arm in usable for seed in arm.seeds} - set(t.seeds):
        found.append(
            f"The choice of {t.name} leaves out {_seeds(sorted(dropped))}, which not every "
            "candidate and single-task arm has: all are measured on the same seeds."
        )
    if t.tied:
        found.append(
            f"The choice of {t.name} is a tie with {', '.join(t.tied)} on validation: the first "
            "by name was taken."
        )
    return found


SCOPE = {
    "seeds and images": "for new seeds and new images",
    "seeds": "for new seeds on these test images",
    "images": "for new images with these two networks",
    "nothing": "",
}


def _why_none(d: Difference) -> str:
    if d.n == 1:
        return "One seed, and no predictions by image that give this metric: run more seeds."
    if d.n < FEWEST_SEEDS:
        return f"{d.n} seeds are too few for an interval that can be trusted: run three or more."
    return "The difference is the same for every seed, so its uncertainty cannot be estimated."


def _equals(p: float | None) -> str:
    text = p_value(p)
    return text if text.startswith("<") else f"= {text}"


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
