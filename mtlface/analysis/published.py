"""Figures that others published, and whether ours may stand beside them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from omegaconf import OmegaConf

from mtlface.analysis.results import Run


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
        if found != expected:
            reasons.append(f"{path} is {found} here and {expected} there")
    return tuple(reasons)


@cache
def _known() -> dict[str, Any]:
    text = files("mtlface.analysis").joinpath("published.yaml").read_text(encoding="utf-8")
    known = OmegaConf.to_container(OmegaConf.create(text))
    assert isinstance(known, dict)
    return {str(key): value for key, value in known.items()}
