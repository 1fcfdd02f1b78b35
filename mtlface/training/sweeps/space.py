"""What a search may change: a range or some values for each key, and which keys an arm has."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mtlface.errors import MtlfaceError, did_you_mean
from mtlface.training.arm import only_task
from mtlface.training.config_schema import RULES, check_value, pattern, rule_of
from mtlface.training.identity import EXCLUDED, flattened, identity
from mtlface.values import shown

# They say what is measured, on what, and for how long: to choose them is to ease the question.
NOT_SEARCHED = (
    "seed", "monitor", "scores", "match", "patience", "trainer.max_epochs", "trainer.max_steps",
    "data.split", "data.limit", "data.draw", "data.label_fraction",
)  # fmt: skip
EXAMPLE = "Write for example {low: 1e-4, high: 1e-2, log: true}, or {choices: [1e-3, 1e-2]}."
WORDS = ("low", "high", "log", "choices")

Value = bool | int | float | str


@dataclass(frozen=True)
class Range:
    """The values of one key.

    Attributes:
        low: The smallest; None where there are `choices`.
        high: The largest.
        log: Whether it is searched by factors instead of by differences.
        choices: The only values.
        whole: Whether only whole numbers are values.
    """

    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Value, ...] = ()
    whole: bool = False

    @property
    def ends(self) -> tuple[Value, ...]:
        """Values to be checked: if these are possible, so is what lies between them."""
        if self.low is None or self.high is None:
            return self.choices
        return self.low, self.high


Ranges = dict[str, Range]


def read_space(space: Mapping[str, Any]) -> Ranges:
    """The ranges of `tune.space`, in its order; keys that are null are left out.

    Raises:
        MtlfaceError: A range is none, or a key is not one to be searched.
    """
    ranges = {str(key): _range(str(key), of) for key, of in space.items() if of is not None}
    if not ranges:
        raise MtlfaceError(f"tune.space is empty: there is nothing to search. {EXAMPLE}")
    for key in ranges:
        refused = [k for k in (*NOT_SEARCHED, *EXCLUDED) if key == k or key.startswith(f"{k}.")]
        if refused:
            raise MtlfaceError(
                f"tune.space.{key}: {refused[0]} is not searched; it decides what is measured, on "
                "what, for how long, or where. Leave it out."
            )
    return ranges


def _range(key: str, of: Any) -> Range:
    place = f"tune.space.{key}"
    if not isinstance(of, Mapping):
        raise MtlfaceError(f"{place}={shown(of)}: expected a range, or choices. {EXAMPLE}")
    if unknown := [str(word) for word in of if word not in WORDS]:
        raise MtlfaceError(
            f"{place}.{unknown[0]}: a range has {', '.join(WORDS)}."
            f"{did_you_mean(unknown[0], [*WORDS])} {EXAMPLE}"
        )
    # On the command line choices are merged with the range that they stand for.
    if (choices := of.get("choices")) is not None:
        fine = isinstance(choices, Sequence) and not isinstance(choices, str) and choices
        if not fine or any(not isinstance(value, bool | int | float | str) for value in choices):
            raise MtlfaceError(
                f"{place}.choices={shown(choices)}: expected a list of single values. {EXAMPLE}"
            )
        return Range(choices=tuple(choices))
    low: Any = of.get("low")
    high: Any = of.get("high")
    log = of.get("log", False)
    if not (_is_number(low) and _is_number(high) and isinstance(log, bool)) or not (
        low < high and (low > 0 or not log)
    ):
        raise MtlfaceError(
            f"{place}={shown(dict(of))}: expected two numbers, low below high, and above 0 with "
            f"log: true. {EXAMPLE}"
        )
    return Range(low, high, log)


def check_keys(ranges: Ranges, arms: Iterable[DictConfig]) -> None:
    """Checks that each key of the space is one of a config's.

    Args:
        ranges: The space.
        arms: The composed configs of all arms.

    Raises:
        MtlfaceError: A key is none that an arm has or could have.
    """
    known = {key for cfg in arms for key in _values(cfg)}
    tasks = {key.split(".")[1] for key in known if key.startswith("tasks.")}
    for key in ranges:
        # Another option of a group may have it: the default space has every method's parameter.
        elsewhere = rule_of(key) is not None and (
            not key.startswith("tasks.") or key.split(".")[1] in tasks | {"*"}
        )
        if not elsewhere and not any(pattern(key).fullmatch(other) for other in known):
            raise MtlfaceError(
                f"tune.space.{key}: there is no such key.{did_you_mean(key, sorted(known))} "
                "Mend it, or take it out with null."
            )


def ranges_of(ranges: Ranges, cfg: DictConfig) -> Ranges:
    """What an arm searches: the keys of the space that it has a value for, in the space's order.

    A key that is named in full wins over a pattern. The weight of an only task is left out, for it
    is nothing but a second learning rate. A setting that the config leaves to an object, such as
    Adam's `optimizer.weight_decay`, is searched too.

    Args:
        ranges: The space.
        cfg: The arm's composed config.

    Raises:
        MtlfaceError: An end of a range is no value of its key.
    """
    values, found = _values(cfg), Ranges()
    alone = len(only_task(cfg).tasks or ()) == 1
    for key, of in ranges.items():
        matched = [k for k in values if pattern(key).fullmatch(k)]
        if not matched and key in RULES and "*" not in key:
            section = OmegaConf.select(cfg, key.rpartition(".")[0])
            of_object = isinstance(section, DictConfig) and "_target_" in section
            absent = of_object and key.rpartition(".")[2] not in section
            matched = [key] if absent else []
        for name in matched:
            weight = alone and re.fullmatch(r"tasks\.[^.]+\.weight", name)
            if not weight and (name == key or name not in ranges):
                whole = _are_whole(of.low, of.high, OmegaConf.select(cfg, name, default=0))
                found[name] = replace(of, whole=whole)
    for name, of in found.items():
        for end in of.ends:
            check_value(name, end)
    return found


def _is_number(value: Any) -> bool:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and math.isfinite(value)


def _are_whole(*numbers: Any) -> bool:
    return all(type(number) is int for number in numbers)


def _values(cfg: DictConfig) -> dict[str, Any]:
    """The single values that make the arm, by dotted key; null ones switch something off."""
    flat = flattened(identity(only_task(cfg)))
    return {
        key: value
        for key, value in flat.items()
        if not key.endswith(("._target_", "._partial_")) and value is not None
    }
