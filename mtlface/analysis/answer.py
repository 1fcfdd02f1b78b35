"""The answer in one line, for the top of the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mtlface.analysis import wording as w
from mtlface.analysis.comparison import Comparison
from mtlface.analysis.differences import Difference
from mtlface.analysis.references import Kind
from mtlface.analysis.tables import TITLES

FEW_ARMS = 3  # whose answers fit a line


def answer_line(comparison: Comparison) -> str:
    """What the report found, with its n; with few seeds the caveat stands in front."""
    verdicts = [d for d in comparison.verdicts if not d.matched]
    parts = [text for kind in TITLES if (text := _of_kind(comparison, verdicts, kind))]
    if not parts:
        return "Nothing here says whether sharing helped: no arm has a reference (see the notes)."
    if not any(d.kind == "sharing" for d in verdicts):
        parts.append("What sharing alone does is not known here: the arms have no twins")
    seeds = _usual_n(verdicts)
    caveat = {
        1: "One seed cannot tell; of these networks alone: ",
        2: "Two seeds give no verdict. ",
    }.get(seeds, "")
    samples = Counter(w.sample(d) for d in verdicts)
    return f"{caveat}{'; '.join(parts)}. {samples.most_common(1)[0][0]}."


def question(comparison: Comparison) -> str:
    """The report's title: about sharing only where an arm has a twin."""
    kinds = {d.kind for d in comparison.verdicts}
    if "sharing" in kinds:
        return "Did sharing help?"
    return "Did recipe and sharing help?" if "recipe + sharing" in kinds else "Comparison"


def _phrase(comparison: Comparison, d: Difference) -> str:
    text = w.phrase(d)
    if d.n != _usual_n(comparison.verdicts):
        text += f" at n = {d.n}"
    unlearnt = (d.reference, d.metric.task) in comparison.unlearnt
    flag = ", against a reference not shown to beat the constant predictor"
    return text + (flag if unlearnt else "")


def _usual_n(verdicts: Sequence[Difference]) -> int:
    return Counter(d.n for d in verdicts).most_common(1)[0][0]


def _of_kind(comparison: Comparison, verdicts: Sequence[Difference], kind: Kind) -> str:
    found = [d for d in verdicts if d.kind == kind]
    arms = list(dict.fromkeys(d.arm for d in found))
    if not found:
        return ""
    if len(arms) <= FEW_ARMS and kind != "recipe":
        each = []
        for arm in arms:
            answers = ", ".join(_phrase(comparison, d) for d in found if d.arm == arm)
            each.append(f"{comparison.names[arm]}: {answers}" if len(arms) > 1 else answers)
        return f"{TITLES[kind]}: {'; '.join(each)}"
    if len(found) <= 2 * FEW_ARMS:
        pairs = (f"{_phrase(comparison, d)} ({comparison.names[d.arm]})" for d in found)
        return f"{TITLES[kind]}: {', '.join(pairs)}"
    counts = []
    for task in dict.fromkeys(d.metric.task for d in found):
        answers_of = Counter(d.answer for d in found if d.metric.task == task)
        words = ", ".join(f"{answer} {n}" for answer, n in answers_of.most_common())
        counts.append(f"{task} {words}")
    return f"{TITLES[kind]}, {len(arms)} arms: {'; '.join(counts)}"
