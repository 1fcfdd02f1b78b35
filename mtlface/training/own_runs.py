"""What this user has trained on this machine: modules of their own, and where the data came from.

A checkpoint that names a module outside mtlface is refused, as it may be a stranger's. One's own is
known by a list in the user's config folder: the hash of each section of a config that named such a
module when it was trained here. The list is never read from a checkpoint or its folder, so a
stranger's file cannot borrow the trust: it passes only where it names, in the same place and with
the same arguments, what this user has already run. In the same way `evaluate` reads a run's data
from where it came only if a run of this user had it there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

WHERE = ("root", "source", "kaggle", "split")

Section = tuple[str, Mapping[str, Any]]
"""A dotted place of a config, and what is there."""


def data_places(data: Mapping[str, Any]) -> list[Section]:
    """Where each data set of a config's `data` comes from, to be remembered or asked for."""
    sections = (
        {"data": data}
        if "reader" in data
        else {
            f"data.{key}": part
            for key, part in data.items()
            if isinstance(part, Mapping) and "reader" in part
        }
    )
    whole = {key: data.get(key) for key in WHERE}
    return [
        (f"{place} from", {key: part.get(key) or whole[key] for key in WHERE})
        for place, part in sections.items()
    ]


def own_runs_file() -> Path:
    """The list: `~/.config/mtlface/own_runs`, or below `XDG_CONFIG_HOME`; one hash per line."""
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(config) / "mtlface" / "own_runs"


def remember(sections: Iterable[Section]) -> None:
    """Adds sections to the list; a folder that cannot be written is a warning."""
    new = {section_hash(*section) for section in sections} - _known()
    if not new:
        return
    path = own_runs_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="ascii") as file:  # a short append is never torn by another
            file.write("".join(f"{one}\n" for one in sorted(new)))
    except OSError as error:
        log.warning(
            "%s cannot be written (%s), so mtlface will not know this run as your own: name your "
            "package with trusted=… when you use its checkpoint.",
            path,
            error.strerror,
        )


def is_own(place: str, section: Mapping[str, Any]) -> bool:
    """Whether the list has this section at this place."""
    return section_hash(place, section) in _known()


def section_hash(place: str, section: Mapping[str, Any]) -> str:
    """SHA-256 of a section and its place.

    `pretrained` is left out: a trained network is built without it.
    """
    text = json.dumps([place, _without_weights(section)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _known() -> set[str]:
    try:
        return set(own_runs_file().read_text(encoding="ascii").split())
    except (OSError, UnicodeDecodeError):
        return set()


def _without_weights(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _without_weights(item) for k, item in value.items() if k != "pretrained"}
    if isinstance(value, list | tuple):
        return [_without_weights(item) for item in value]
    return value
