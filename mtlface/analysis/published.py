"""Figures that others published, and whether ours may stand beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from omegaconf import OmegaConf

from mtlface.analysis import wording as w
from mtlface.analysis.comparison import Comparison
from mtlface.analysis.results import Run
from mtlface.analysis.table import Table


@dataclass(frozen=True)
class Published:
    """A published value of a metric.

    Attributes:
        kind: `project` (the project whose arm this reproduces) or `system` (the best known).
        reasons: Why it is not comparable with this run; empty where metric and protocol agree.
    """

    title: str
    kind: str
    metric: str
    value: float
    reasons: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether the metric and the protocol agree."""
        return not self.reasons


def published_for(run: Run) -> list[Published]:
    """Returns every published figure for a run's experiment or data set."""
    known = _known()
    return [
        Published(
            title=source["title"],
            kind=source["kind"],
            metric=metric,
            value=float(value),
            reasons=_reasons(run, source, (entry.get("metric_differs") or {}).get(metric)),
        )
        for entry in known["figures"]
        if run.content["experiment"] in entry.get("experiments", [])
        or run.data.get("name") in entry.get("data", [])
        for source in [known["sources"][entry["source"]]]
        for metric, value in entry["values"].items()
    ]


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
                decimals = comparison.decimals(metric)
                ours = w.mean_sd(comparison.summaries[arm.label, metric.key], decimals)
                name = w.measured(metric)
                higher = metric.higher_is_better is not False
            elif key == "all/delta_m" and arm.label in overall:
                ours, name, higher = (
                    w.number(overall[arm.label].delta_m, 2, signed=True),
                    "Δm % ↑",
                    True,
                )
            else:
                continue
            found = [p for p in known if p.metric == key]
            project = _cite([p for p in found if p.kind == "project"], notes)
            system = _cite(_best([p for p in found if p.kind == "system"], higher), notes)
            rows.append((comparison.names[arm.label], name, ours, project, system))
    return Table(
        "Published figures",
        ("arm", "metric", "ours", "original project", "best known"),
        tuple(rows),
        "[In brackets]: not comparable. "
        + " ".join(f"({i}) {reason}." for reason, i in notes.items())
        if notes
        else "Metric and protocol agree.",
    )


def _reasons(run: Run, source: Mapping[str, Any], metric_differs: str | None) -> tuple[str, ...]:
    reasons = []
    if run.data.get("root_kind") == "demo":
        return ("ours are rendered faces",)
    if source["kind"] == "project" and run.arm != run.content["experiment"]:
        reasons.append("this arm changes the original recipe")
    if metric_differs:
        reasons.append(" ".join(metric_differs.split()))
    if not source["agrees"]:
        reasons.append(" ".join(source["reason"].split()))
    for path, expected in (source.get("requires") or {}).items():
        found = run.lookup(path)
        allowed = expected["one_of"] if isinstance(expected, Mapping) else [expected]
        if found not in allowed:
            there = " or ".join(map(str, allowed))
            reasons.append(f"{path} is {found} here and {there} there")
    return tuple(reasons)


@cache
def _known() -> dict[str, Any]:
    text = files("mtlface.analysis").joinpath("published.yaml").read_text(encoding="utf-8")
    known = OmegaConf.to_container(OmegaConf.create(text))
    assert isinstance(known, dict)
    return {str(key): value for key, value in known.items()}


def _best(found: list[Published], higher: bool) -> list[Published]:
    """All that are comparable, the best first; the best of those that are not where none is."""
    ordered = sorted(found, key=lambda p: p.value, reverse=higher)
    return [p for p in ordered if p.agrees] or ordered[:1]


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
