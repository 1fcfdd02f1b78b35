"""What a value may be, said in words: the rules that settings and names are checked by."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from unicodedata import category

from mtlface.errors import MtlfaceError, did_you_mean

LONGEST_NAME = 200  # bytes: file systems take 255, and temporary files need some of them
_DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
LONGEST_ERROR = 1600  # characters
FORMULA = ("=", "+", "-", "@")  # what a spreadsheet takes for the beginning of a formula
TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")


@dataclass(frozen=True)
class Rule:
    """What one value may be.

    Attributes:
        expected: In words, after "expected".
        fits: Whether a value is one.
        example: A value that fits, for the error.
        fix: What else the error says.
        words: The values, where there are only these.
    """

    expected: str
    fits: Callable[[Any], bool]
    example: str
    fix: str = ""
    words: tuple[str, ...] = ()

    def check(self, key: str, value: Any) -> None:
        """Raises an error that names the key, the value, what was expected and a fix.

        Raises:
            MtlfaceError: The value does not fit.
        """
        try:
            fits = self.fits(value)
        except (TypeError, ValueError, OverflowError):
            fits = False
        if not fits:
            near = did_you_mean(value, [*self.words]) if isinstance(value, str) else ""
            fix = self.fix or f"Write for example {key}={self.example}."
            raise MtlfaceError(f"{key}={shown(value)}: expected {self.expected}.{near} {fix}")


def shown(value: Any, longest: int = 80) -> str:
    """A value as an error shows it: as in YAML, on one line, without control characters."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    text = value if isinstance(value, str) and value else repr(value)
    return printable(text if len(text) <= longest else f"{text[: longest - 1]}…")


def printable(text: str) -> str:
    r"""A text that no terminal takes for a command: ESC becomes `\\x1b`; so do lone surrogates.

    Control characters, line separators and changes of the writing direction are escaped; every
    other character, also one that is rarely seen, stays as it is.
    """
    return "".join(ascii(c)[1:-1] if _is_command(c) else c for c in text)


def as_line(message: str) -> str:
    """An error as the terminal may have it: of a sane length, without control characters.

    What users type stands in it, and what files of others hold.
    """
    lines = "\n".join(printable(line) for line in message.split("\n"))
    return lines if len(lines) <= LONGEST_ERROR else f"{lines[: LONGEST_ERROR - 1]}…"


def quoted(text: str) -> str:
    """A text as a value of Hydra's override grammar, whatever signs it has."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _is_command(character: str) -> bool:
    return category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _DIRECTIONS


def cell(value: Any) -> Any:
    """A text as a cell of a CSV file that no spreadsheet takes for a formula; others as they are.

    A formula begins with =, +, - or @; an apostrophe before it makes it text (OWASP, "CSV
    injection"). Control characters are escaped, which keeps one row on one line.
    """
    if not isinstance(value, str):
        return value
    return printable(f"'{value}" if value[:1] in FORMULA else value)


def optional(rule: Rule) -> Rule:
    """The same, or null."""
    expected = f"{rule.expected}, or null"
    fits = lambda value: value is None or rule.fits(value)  # noqa: E731
    return Rule(expected, fits, rule.example, rule.fix, (*rule.words, "null"))


def flag() -> Rule:
    """True or false."""
    return Rule("true or false", lambda value: isinstance(value, bool), "true")


def fixed(value: Any, fix: str) -> Rule:
    """One value and no other."""
    fits = lambda found: type(found) is type(value) and found == value  # noqa: E731
    return Rule(shown(value), fits, shown(value), fix)


def choice(*words: str) -> Rule:
    """One of these words."""
    return Rule(f"one of {', '.join(words)}", lambda value: value in words, words[0], words=words)


def whole(low: int, high: int = 2**31 - 1, example: int | None = None, fix: str = "") -> Rule:
    """A whole number of this range."""
    top = "" if high == 2**31 - 1 else f" to {high}"
    expected = f"a whole number, {low}{top or ' or more'}"
    fits = lambda value: type(value) is int and low <= value <= high  # noqa: E731
    return Rule(expected, fits, str(low if example is None else example), fix)


def number(low: float, high: float = math.inf, above: bool = False, example: float = 0.5) -> Rule:
    """A finite number of this range; `above`: more than its lower end."""
    lowest = f"above {low:g}" if above else f"{low:g} or more"
    expected = (
        f"a number, {lowest}" if high == math.inf else f"a number, {lowest}, at most {high:g}"
    )

    def fits(value: Any) -> bool:
        fine = isinstance(value, int | float) and not isinstance(value, bool)
        return (
            fine and math.isfinite(value) and low <= value <= high and not (above and value == low)
        )

    return Rule(expected, fits, f"{example:g}")


def text(what: str = "text", example: str = "gender") -> Rule:
    """A text that is not empty and has no control characters."""
    fits = lambda value: isinstance(value, str) and _is_clear(value)  # noqa: E731
    return Rule(what, fits, example)


def free() -> Rule:
    """Any text, of several lines too."""
    return Rule("text", lambda value: isinstance(value, str), "text")


def _is_clear(value: str) -> bool:
    return bool(value.strip()) and printable(value) == value


def path(what: str = "a path", example: str = "folder") -> Rule:
    """A path; it may lead anywhere, because who writes it owns the machine."""
    fits = lambda value: isinstance(value, str) and bool(value.strip()) and "\0" not in value  # noqa: E731
    return Rule(what, fits, example)


def target() -> Rule:
    """The dotted name of a Python object."""
    fits = lambda value: isinstance(value, str) and bool(TARGET.fullmatch(value))  # noqa: E731
    return Rule("the dotted name of a Python object", fits, "package.module.Name")


def name(example: str = "mine") -> Rule:
    """What a file or a folder can be called: it never leads out of the folder that it is in."""
    return Rule(
        f"a name that a folder can have: text without / or control characters, at most "
        f"{LONGEST_NAME} bytes",
        is_name,
        example,
    )


def names_below(example: str = "mine") -> Rule:
    """One name, or several with / between: a place inside a folder."""
    return Rule(
        "a folder's name, or several with / between, which stay inside the folder of outputs",
        lambda value: isinstance(value, str) and all(map(is_name, value.split("/"))),
        example,
    )


def is_name(value: Any) -> bool:
    """Whether a value can be a file's or a folder's name on any system of ours."""
    if not isinstance(value, str) or value.strip() in ("", ".", "..") or printable(value) != value:
        return False
    alone = PurePosixPath(value).parts == (value,) and "\\" not in value
    return alone and not value.startswith("~") and len(value.encode()) <= LONGEST_NAME


def several(rule: Rule, low: int = 0, high: int = 100_000) -> Rule:
    """A list of values of one rule."""
    length = f"{low} values" if low == high else "values"
    return Rule(
        f"a list of {length}, each {rule.expected}",
        lambda value: _is_list(value) and low <= len(value) <= high and all(map(rule.fits, value)),
        f"[{','.join([rule.example] * max(low, 1))}]",
    )


def mapping(rule: Rule, example: str) -> Rule:
    """Names with a value of one rule each."""
    return Rule(
        f"names, each with {rule.expected}",
        lambda value: isinstance(value, Mapping) and all(map(rule.fits, value.values())),
        example,
    )


def shares() -> Rule:
    """Three shares that sum to 1: train, val, test."""
    share = number(0.0, 1.0)
    return Rule(
        "three shares that sum to 1 (train, val, test)",
        lambda value: (
            _is_list(value)
            and len(value) == 3
            and all(map(share.fits, value))
            and abs(sum(value) - 1) < 1e-6
        ),
        "[0.7,0.15,0.15]",
    )


def either(*rules: Rule) -> Rule:
    """What one of several rules allows."""
    return Rule(
        ", or ".join(rule.expected for rule in rules),
        lambda value: any(_safely(rule, value) for rule in rules),
        rules[0].example,
        words=tuple(word for rule in rules for word in rule.words),
    )


def _safely(rule: Rule, value: Any) -> bool:
    try:
        return rule.fits(value)
    except (TypeError, ValueError, OverflowError):
        return False


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
