"""The model card of a bundle (Mitchell et al. 2019), filled from the run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from mtlface.data.source import source_sections
from mtlface.inference.network import Network

TEMPLATE = Path(__file__).with_name("model_card.md.jinja")

# Of the rendered faces, as their data card has it.
RENDERED_TERMS = "the rendered faces are CC0 1.0"
UNKNOWN_TERMS = "not stated. Ask whoever gave you the data before you publish weights"


def model_card(
    network: Network,
    labels: Mapping[str, Any],
    result: Mapping[str, Any] | None,
    differences: Mapping[str, float],
) -> str:
    """The text of `MODEL_CARD.md`.

    Args:
        network: The network.
        labels: The content of `labels.json`.
        result: The run's result, or None if it is not there.
        differences: By exported model, the largest difference to the network.
    """
    config, result = network.config, result or {}
    data: Mapping[str, Any] = next(iter(result.get("trained_on", {}).values()), {})
    sections = list(source_sections(config.data).values())
    kinds = {
        "folder" if s.get("root") else config.data.get("source") or s.get("source")
        for s in sections
    }
    source = kinds.pop() if len(kinds) == 1 else "mixed"
    rendered = data.get("root_kind", source) == "demo"
    # From a stranger's file, perhaps: one line, whatever it holds.
    stated = (str(section.get("terms") or UNKNOWN_TERMS) for section in sections)
    terms = " ".join("; ".join(dict.fromkeys(text.strip(" .") for text in stated)).split())
    rows = [
        (name.removeprefix("test/"), value, result.get("trivial", {}).get(name))
        for name, value in result.get("metrics", {}).items()
        if name.startswith("test/") and "@" not in name and value is not None
    ]
    groups = [
        (name.removeprefix("test/"), value)
        for name, value in result.get("metrics", {}).items()
        if name.startswith("test/") and "@" in name and value is not None and _primary(name, result)
    ]
    # The text is Markdown, in which HTML would be run by whoever shows it: names and terms may come
    # from a stranger.
    environment = Environment(
        autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        finalize=lambda value: value.replace("<", "&lt;") if isinstance(value, str) else value,
    )  # fmt: skip
    environment.filters["figure"] = lambda value: "–" if value is None else f"{value:.4g}"
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        arm=result.get("arm", config.name),
        backbone=config.backbone.get("name") or config.backbone._target_.rsplit(".", 1)[-1],
        parameters=sum(p.numel() for p in network.module.parameters()),
        frame=network.frame,
        outputs=labels["outputs"],
        data_name=config.data.name,
        data=data,
        counts=data.get("counts", {}),
        n=data.get("counts", {}).get("test"),
        seed=config.seed,
        pretrained=bool(config.get("pretrained")),
        rendered=rendered,
        terms=RENDERED_TERMS if rendered else terms,
        rows=rows,
        groups=groups,
        epoch=result.get("selection", {}).get("epoch"),
        monitor=result.get("selection", {}).get("monitor", config.monitor.name),
        git=result.get("git"),
        versions=result.get("environment", {}),
        differences=differences,
    )


def _primary(metric: str, result: Mapping[str, Any]) -> bool:
    task, _, name = metric.removeprefix("test/").partition("@")[0].partition("/")
    return bool(result.get("tasks", {}).get(task, {}).get("primary") == name)
