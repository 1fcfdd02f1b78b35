"""Which configs may be built: those inside checkpoints come from strangers.

A config names Python objects by `_target_`, and building one calls it. Here every target is looked
up in modules that are named below, by a plain name, before anything of the config is imported or
called; whatever is not found is refused, unless it is one of the user's own runs (see
`mtlface.training.own_runs`) or of a package that the user names.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mtlface.errors import MtlfaceError, how_to_install
from mtlface.training.own_runs import Section, is_own
from mtlface.values import is_name

# Modules whose public names (`__all__`) may all be targets.
EXPORTING = ("mtlface.balancing", "mtlface.models", "mtlface.tasks", "mtlface.training")
# Modules in which whatever they define themselves may be a target.
DEFINING = ("mtlface.tasks.scores", "mtlface.data.augment")
# Modules of which only the subclasses of these are.
SUBCLASSES = {
    "torch.nn": ("torch.nn.modules.loss._Loss",),
    "torch.optim": ("torch.optim.Optimizer",),
    "torch.optim.lr_scheduler": ("torch.optim.lr_scheduler.LRScheduler",),
    "torchjd.aggregation": ("torchjd.aggregation.Aggregator", "torchjd.aggregation.Weighting"),
    "torchjd.scalarization": ("torchjd.scalarization.Scalarizer",),
    "pytorch_metric_learning.losses": ("torch.nn.Module",),
}
# Targets that belong in one place of the config.
PLACES = {
    "trainer": "lightning.Trainer",
    "data": "mtlface.data.datamodule.FaceDataModule",
}
READER = re.compile(r"mtlface\.data\.[a-z_]+")
# The reader of the data set or of one that is joined, and all that is in it.
READER_PLACE = re.compile(r"data\.([^.]+\.)?reader(?![^.\[])")

DIRECTIVES = {"_target_": str, "_partial_": bool}
SCHEMA: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "seed": int,
    "data": dict,
    "backbone": dict,
    "tasks": dict,
    "monitor": dict,
    "scores": dict,
}
"""What every config has; it may have more."""

CAUTION = "Use checkpoints of mtlface from people whom you trust."
MAX_DEPTH = 16
MAX_VALUES = 100_000
MAX_SIDE = 8192  # px


def check_config(config: Any, trusted: Sequence[str] = ()) -> None:
    """Checks a resolved config of plain data, without importing or calling anything that it names.

    The readers in it are checked by `check_readers`: a network is built without them.

    Args:
        config: What a checkpoint holds.
        trusted: Packages of your own whose objects it may name, too.

    Raises:
        MtlfaceError: It is no config of mtlface, or names something that is not allowed.
    """
    check_plain(config)
    for key, kind in SCHEMA.items():
        value = config.get(key) if isinstance(config, Mapping) else None
        if not isinstance(value, kind) or isinstance(value, bool):
            raise _refused(f"'{key}' is {_shown(value)}, expected {_name(kind)}")
    for place, value in _names(config):
        if not is_name(value):
            raise _refused(f"'{place}' is {_shown(value)}, which no file or folder can be called")
    size = config["data"].get("image_size")
    if not (isinstance(size, list) and len(size) == 2 and all(map(_is_side, size))):
        raise _refused(f"data.image_size is {_shown(size)}, expected two sides in pixels")
    for part in ("backbone", *(f"tasks.{name}" for name in config["tasks"])):
        section = config["backbone"] if part == "backbone" else config["tasks"][part[6:]]
        if not isinstance(section, dict) or "_target_" not in section:
            raise _refused(f"'{part}' names no _target_")
    if not config["tasks"]:
        raise _refused("it has no tasks")
    for place, section in _sections(config, ""):
        if not READER_PLACE.match(place):
            _check_section(place, section, trusted)


def _names(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What folders and columns are called after: none may lead out of the folder it is in."""
    yield "name", config["name"]
    yield "data.name", config["data"].get("name")
    for key, part in config["data"].items():
        if isinstance(part, dict) and "reader" in part:
            yield f"data.{key}", key
            yield f"data.{key}.name", part.get("name", key)
    for task in config["tasks"]:
        yield "a task's name", task


def check_readers(data: Mapping[str, Any], trusted: Sequence[str] = ()) -> None:
    """Checks the readers in a config's plain `data`, before any of them is imported or built.

    Raises:
        MtlfaceError: One is not mtlface's, nor the user's own, nor of a trusted package.
    """
    for place, section in _sections({"data": data}, ""):
        if READER_PLACE.match(place):
            _check_section(place, section, trusted)


def may_name(place: str, section: Mapping[str, Any], trusted: Sequence[str] = ()) -> bool:
    """Whether what a section names may be imported: mtlface's, the user's own or trusted."""
    return is_allowed(section["_target_"], place, trusted) or is_own(place, section)


def foreign_sections(config: Mapping[str, Any]) -> Iterator[Section]:
    """The sections of a config that name something outside of mtlface's list, with their places."""
    for place, section in _sections(config, ""):
        if not is_allowed(section["_target_"], place):
            yield place, section


def _check_section(place: str, section: Mapping[str, Any], trusted: Sequence[str]) -> None:
    if not may_name(place, section, trusted):
        target = section["_target_"]
        raise _refused(
            f"{place}._target_ is {_shown(target)}, which is not one of the objects that a "
            "checkpoint may name",
            _how_to_trust(target),
        )


def _how_to_trust(target: str) -> str:
    """How to name a package of one's own; Python's own modules are never suggested."""
    package = target.partition(".")[0]
    if not package.isidentifier() or package in {*sys.stdlib_module_names, "mtlface", "torch"}:
        return CAUTION
    return (
        f"If {package} is code of yours, or of people whom you trust, say trusted={package} and "
        "start the command where Python finds it."
    )


def check_plain(value: Any, place: str = "") -> None:
    """Checks that a value holds nothing but text, numbers, lists and dictionaries of them.

    Raises:
        MtlfaceError: It holds something else, an interpolation, a directive of Hydra other than
            `_target_` and `_partial_`, or is too large or too deep.
    """
    seen = 0
    waiting: list[tuple[str, Any, int]] = [(place, value, 0)]
    while waiting:
        where, item, depth = waiting.pop()
        seen += 1
        if seen > MAX_VALUES or depth > MAX_DEPTH:
            raise _refused("it is larger or deeper than any config is")
        if isinstance(item, dict):
            for key, inner in item.items():
                _check_key(key, inner, where)
                waiting.append((f"{where}.{key}".lstrip("."), inner, depth + 1))
        elif isinstance(item, list | tuple):
            waiting += [(f"{where}[{i}]", inner, depth + 1) for i, inner in enumerate(item)]
        elif isinstance(item, str):
            if "${" in item:
                raise _refused(f"{where or 'a value'} has an interpolation, {_shown(item)}")
        elif not (item is None or isinstance(item, bool | int | float)):
            raise _refused(f"{where or 'a value'} is a {type(item).__name__}")


def _check_key(key: Any, value: Any, where: str) -> None:
    if not isinstance(key, str) or "${" in key:
        raise _refused(f"{where or 'the config'} has the key {_shown(key)}")
    directive = len(key) > 2 and key.startswith("_") and key.endswith("_")
    if directive and not isinstance(value, DIRECTIVES.get(key, ())):
        raise _refused(f"{where or 'the config'} has {key}: {_shown(value)}")


def is_allowed(target: str, place: str, trusted: Sequence[str] = ()) -> bool:
    """Whether a config may name this target at this place (`tasks.gender.loss`)."""
    if place in PLACES:
        return target == PLACES[place]
    module, _, name = target.rpartition(".")
    if not name.isidentifier() or name.startswith("_"):
        return False
    if any(target.startswith(f"{package}.") for package in trusted if package):
        return True
    if module in EXPORTING:
        return name in importlib.import_module(module).__all__
    if module in DEFINING:
        return _defined(module, name) is not None
    if READER_PLACE.fullmatch(place) and READER.fullmatch(module):
        found = _defined(module, name)
        return isinstance(found, type) and hasattr(found, "layout") and hasattr(found, "read")
    return module in SUBCLASSES and _is_subclass(module, name)


def _defined(module: str, name: str) -> Any:
    """What a module defines under this name, None for what it only imports."""
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError:
        return None
    return found if getattr(found, "__module__", None) == module else None


def _is_subclass(module: str, name: str) -> bool:
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        raise MtlfaceError(
            f"The checkpoint needs {module}.{name}, but {error.name} is not installed."
            f"{how_to_install(module)}"
        ) from error
    bases = tuple(_located(base) for base in SUBCLASSES[module])
    return isinstance(found, type) and issubclass(found, bases)


def _located(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _sections(value: Any, place: str) -> Iterator[Section]:
    """Every section with a `_target_`, at whatever depth."""
    if isinstance(value, dict):
        if "_target_" in value:
            yield place, value
        for key, item in value.items():
            yield from _sections(item, f"{place}.{key}".lstrip("."))
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _sections(item, f"{place}[{i}]")


def _is_side(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_SIDE


def _refused(reason: str, fix: str = CAUTION) -> MtlfaceError:
    return MtlfaceError(
        f"The config in the checkpoint is refused, and nothing of it was run: {reason}. {fix}"
    )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _name(kind: type | tuple[type, ...]) -> str:
    return {"str": "text", "int": "a whole number", "dict": "a section"}[
        (kind if isinstance(kind, type) else kind[0]).__name__
    ]
