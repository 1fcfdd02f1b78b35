"""Arms: which tasks an arm has, and what it is called."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf, open_dict

from mtlface.errors import MtlfaceError, did_you_mean
from mtlface.training.identity import EXCLUDED, canonical, identity
from mtlface.training.trained_files import is_trained
from mtlface.values import LONGEST_NAME

Compose = Callable[[list[str]], DictConfig]

# They say which experiment, seed and data it is, and where it runs; folders name them elsewhere.
NOT_IN_NAMES = (
    "experiment", "name", "sweep", "seed", "data", "profile", "trainer", "hydra",
)  # fmt: skip
# Excluded from what a run is because they act through other keys; a user who sets one means it.
NAMED_ALL_THE_SAME = {"demo_epochs", "demo_lr", "two_phase", "pretrained", "only"}


def only_task(cfg: DictConfig) -> DictConfig:
    """Cuts a config to the task that `only` names; without `only` it is the whole arm.

    Nothing else changes, so that the arm is the single-task twin of the whole one. With `match` the
    twin trains for the whole arm's budget, which early stopping must not end. Steps and images of
    the same data are the same epochs; for FLOPs the run works the epochs out.

    Raises:
        MtlfaceError: The arm has no such task.
    """
    only, match, tasks = cfg.get("only"), cfg.get("match"), list(cfg.get("tasks") or ())
    cut = cfg.copy()
    with open_dict(cut):
        cut.match = "flops" if only is not None and match == "flops" else None
    if only is None:
        return cut
    if only not in tasks:
        raise MtlfaceError(
            f"only={only}: {cfg.name} has no such task.{did_you_mean(str(only), tasks)} "
            f"It has: {', '.join(tasks) or 'none'}."
        )
    with open_dict(cut):
        if match is not None:
            cut.patience = None
        for name in tasks:
            if name != only:
                del cut.tasks[name]
        # Labels of the other tasks are no part of what the twin is.
        shares = cut.data.get("label_fraction") or {}
        own = {name: share for name, share in shares.items() if name == cut.tasks[only].label}
        if "label_fraction" in cut.data:
            cut.data.label_fraction = own or None
    return cut


def arm_name(
    cfg: DictConfig, overrides: Sequence[str], groups: Collection[str], compose: Compose
) -> str:
    """An arm's name: its experiment, and what the command line changes in it, by value.

    Two spellings of a value give one name, and a change to what the experiment has anyway is none.
    A balancing method is followed by its level, as in `…,balancing=upgrad@features`.

    Args:
        cfg: The composed config.
        overrides: The command line's changes, as Hydra lists them.
        groups: The names of the config groups.
        compose: Composes the config of some overrides; called at most twice, and once more for
            each group that takes a list.

    Returns:
        A name that can be a folder's.
    """
    named = [o for o in OverridesParser.create().parse_overrides(list(overrides)) if _is_named(o)]
    lines = {id(o): str(o.input_line) for o in named}
    plain = [o for o in overrides if o not in lines.values()]
    choices = [o for o in named if o.key_or_group in groups]
    changes = [o for o in named if o not in choices]
    words, said = [], set()
    if choices:
        base = compose(plain)
        for o in choices:
            if not _same_choice(o, cfg, base, partial(compose, [*plain, lines[id(o)]])):
                level = OmegaConf.select(cfg, f"{o.key_or_group}.level")
                at = "" if level is None else f"@{level}"
                words.append(f"{o.key_or_group}={_text(o.value())}{at}")
                said.add(f"{o.key_or_group}.level")
    if changes:
        base = compose([*plain, *(lines[id(o)] for o in choices)])
        found = {o.key_or_group: _change(o, cfg, base) for o in changes}
        words += [word for key, word in found.items() if word and key not in said]
    return as_name(str(cfg.name), words)


def as_name(experiment: str, words: Sequence[str]) -> str:
    """The experiment and its changes as the name of a folder; long ones end in a digest."""
    parts = [word.replace("/", "-") for word in sorted(dict.fromkeys(words))]
    name = ",".join([experiment, *parts])
    if len(name.encode()) <= LONGEST_NAME:
        return name
    digest = hashlib.blake2b(name.encode(), digest_size=6).hexdigest()
    return f"{name.encode()[: LONGEST_NAME - 13].decode(errors='ignore')}~{digest}"


def _is_named(override: Override) -> bool:
    key = override.key_or_group
    root = key.replace("/", ".").partition(".")[0]
    if key in NAMED_ALL_THE_SAME or root in NAMED_ALL_THE_SAME:
        return True
    hidden = key in NOT_IN_NAMES or root == "hydra"
    return not hidden and not any(key == k or key.startswith(f"{k}.") for k in EXCLUDED)


def _same_choice(
    override: Override, cfg: DictConfig, base: DictConfig, alone: Callable[[], DictConfig]
) -> bool:
    """Whether a group's option is the one that the experiment has anyway."""
    chosen = cfg.hydra.runtime.choices
    if override.key_or_group in chosen:
        return bool(
            chosen[override.key_or_group] == base.hydra.runtime.choices.get(override.key_or_group)
        )
    return identity(alone()) == identity(base)  # a list of options is no single choice


def _change(override: Override, cfg: DictConfig, base: DictConfig) -> str | None:
    key = override.key_or_group
    if override.type == OverrideType.DEL:
        return f"~{key}"
    if key == "only":
        # An arm of one task is its own twin.
        return f"only={cfg.only}" if cfg.only is not None and len(cfg.tasks) > 1 else None
    if key == "match" and (cfg.only is None or len(cfg.tasks) < 2):
        return None  # it is about twins
    value = _value(cfg, key)
    return None if value == _value(base, key) else f"{key}={_text(value)}"


def _value(cfg: DictConfig, key: str) -> Any:
    value = OmegaConf.select(cfg, key)
    if key == "init" or (key == "pretrained" and is_trained(value)):
        # By content, as in the identity: wherever the earlier run lies, this is the same arm.
        return str(canonical({key: value}).get(key)).removeprefix("sha256:")[:8]
    plain = OmegaConf.is_config(value)
    return canonical(OmegaConf.to_container(value, resolve=True) if plain else value)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_text(item) for item in value) + "]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
