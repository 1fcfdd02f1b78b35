"""Ours beside the figures of the original projects and of the best known systems."""

from collections.abc import Sequence

from mtlface.analysis import wording as w
from mtlface.analysis.comparison import Comparison
from mtlface.analysis.published import Published, published_for
from mtlface.analysis.table import Table, decimals_of


def published_table(comparison: Comparison) -> Table:
    """Ours beside published figures; brackets where metric or protocol differ."""
    rows = []
    notes: dict[str, int] = {}
    metrics = {f"{m.task}/{m.name}": m for m in comparison.metrics}
    overall = {o.arm: o for o in comparison.overall}
    for arm in comparison.arms:
        if not arm.runs:
            continue
        known = published_for(arm.runs[arm.seeds[0]])
        for key in dict.fromkeys(p.metric for p in known):
            if key in metrics and (arm.label, metrics[key].key) in comparison.summaries:
                metric = metrics[key]
                decimals = decimals_of(comparison, metric)
                ours = w.mean_sd(comparison.summaries[arm.label, metric.key], decimals)
                name = key + w.arrow(metric.higher_is_better)
                higher = metric.higher_is_better is not False
            elif key == "all/delta_m" and arm.label in overall:
                ours, name, higher = (
                    w.number(overall[arm.label].delta_m.mean, 2, signed=True),
                    "Δm % ↑",
                    True,
                )
            else:
                continue
            found = [p for p in known if p.metric == key]
            project = _cite([p for p in found if p.kind == "project"], notes)
            system = _cite(_best([p for p in found if p.kind == "system"], higher), notes)
            rows.append((arm.label, name, ours, project, system))
    return Table(
        "Published figures",
        ("arm", "metric", "ours", "original project", "best known"),
        tuple(rows),
        "[In brackets]: not comparable. "
        + " ".join(f"({i}) {reason}." for reason, i in notes.items())
        if notes
        else "Metric and protocol agree.",
    )


def _best(found: list[Published], higher: bool) -> list[Published]:
    usable = [p for p in found if p.agrees] or found
    return sorted(usable, key=lambda p: p.value, reverse=higher)[:1]


def _cite(found: Sequence[Published], notes: dict[str, int]) -> str:
    cells = []
    for p in found:
        title = f" {p.title}" if p.kind == "system" else ""
        if p.agrees:
            cells.append(f"{p.value:g}{title}")
        else:
            numbers = ",".join(str(notes.setdefault(r, len(notes) + 1)) for r in p.reasons)
            cells.append(f"[{p.value:g}]{title} ({numbers})")
    return "; ".join(cells) or w.ABSENT
