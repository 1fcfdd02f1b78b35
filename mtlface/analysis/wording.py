"""Numbers and verdicts as a reader sees them."""

import math
from collections.abc import Sequence

from mtlface.analysis.comparison import Difference, Summary
from mtlface.analysis.statistics import ALPHA, MOST_SEEDS, Interval
from mtlface.analysis.tuning import Tuning

ABSENT = "–"
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


def short_names(labels: Sequence[str]) -> dict[str, str]:
    """Arm → its changes alone, where all changed arms are of one experiment; else its name."""
    experiments = {label.partition(",")[0] for label in labels if "," in label}
    if len(experiments) != 1:
        return {label: label for label in labels}
    prefix = experiments.pop() + ","
    return {label: label.removeprefix(prefix) for label in labels}


def p_value(p: float | None) -> str:
    """`0.012`, `<0.001`, or a dash."""
    if p is None:
        return ABSENT
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def arrow(higher_is_better: bool | None) -> str:
    """Which way is better."""
    return {True: " ↑", False: " ↓", None: ""}[higher_is_better]


def _seeds_text(needed: int) -> str:
    """The number of seeds, or that it is beyond reason."""
    return f"More than {MOST_SEEDS:,}" if needed > MOST_SEEDS else f"About {needed}"


def verdict_text(difference: Difference) -> str:
    """The verdict with its evidence, for a table: `better`, `better on these pictures`, …."""
    if difference.verdict == "no verdict":
        return "no verdict"
    if difference.pictures is not None:
        return f"{difference.verdict} on these pictures"
    if difference.verdict == "no difference shown":
        return f"no difference shown at n = {difference.pairs.n}"
    return difference.verdict


def sentence(difference: Difference, decimals: int) -> tuple[str, str]:
    """One task's verdict in words, and the numbers behind it."""
    d, pairs = difference, difference.pairs
    unit = f"{d.metric.name} {number(pairs.mean, decimals, signed=True)}"
    where = " on these test pictures (one seed)" if d.pictures is not None else ""
    if d.verdict == "no verdict":
        words = f"{d.metric.task}: no verdict on {d.arm} against {d.reference}."
        return words, f"{unit}, n = {pairs.n}. {_why_none(d)}"
    if d.verdict == "no difference shown":
        at = where or f" at n = {pairs.n}"
        words = f"{d.metric.task}: no difference shown between {d.arm} and {d.reference}{at}."
    else:
        words = f"{d.metric.task}: {d.arm} is {d.verdict} than {d.reference}{where}."
    if d.pictures is not None:
        return words, f"{unit}; {_pictures(d)}."
    numbers = f"{unit}, n = {pairs.n} seeds"
    if pairs.t_interval:
        numbers += (
            f", 95 % interval {interval(pairs.t_interval, decimals)}, Holm p {_equals(d.p_holm)}"
        )
    numbers += "."
    if d.verdict == "no difference shown":
        if d.p is not None and d.p < ALPHA:
            numbers += " The interval leaves zero out, but not after correction over the tasks."
        if d.seeds_needed is not None and d.seeds_needed > pairs.n:
            numbers += (
                f" {_seeds_text(d.seeds_needed)} seeds would be needed to show a difference "
                "of this size (80 % power)."
            )
    return words, numbers


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


ONE_SEED = (
    "Verdicts from one seed speak of other test pictures only, not of the randomness of training: "
    "another seed may turn them round. Run more seeds before you believe them."
)


def _pictures(difference: Difference) -> str:
    pictures = difference.pictures
    assert pictures is not None
    ends = pictures.bootstrap_interval
    spread = ""
    if ends:
        decimals = decimals_for([max(abs(e) for e in ends) * 10])
        spread = f", 95 % interval {interval(ends, decimals)}"
    mean = number(pictures.mean, decimals_for([abs(pictures.mean) * 10]), signed=True)
    return (
        f"mean error per picture {mean}{spread}, {pictures.n:,} pictures, "
        f"Holm p {_equals(difference.p_holm)}"
    )


def _why_none(difference: Difference) -> str:
    if difference.pairs.n == 1:
        return "One seed, and no errors by picture that both runs kept: run more seeds."
    return "The difference is the same for every seed, so its uncertainty cannot be estimated."


def _equals(p: float | None) -> str:
    text = p_value(p)
    return text if text.startswith("<") else f"= {text}"


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
