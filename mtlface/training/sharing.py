"""The key `sharing`: what tasks share, as a word and where that is needed a number."""

from __future__ import annotations

import re
from typing import Any

from mtlface.values import Rule

SHARED_WHOLE = "hard"
EXPERTS = 4  # of a plain `mmoe`
MOST_EXPERTS = 64
_WAYS = re.compile(r"hard|split@(?P<stages>0|[1-9]\d?)|cross_stitch|mmoe(@(?P<experts>[1-9]\d?))?")


def parse_sharing(text: str) -> tuple[str, dict[str, int]]:
    """The way of sharing, and its settings by name.

    Example:
        >>> parse_sharing("split@2")
        ('split', {'stages': 2})

    Raises:
        MtlfaceError: It is none.
    """
    SHARING.check("sharing", text)
    found = _WAYS.fullmatch(text)
    assert found is not None
    way = text.partition("@")[0]
    settings = {key: int(number) for key, number in found.groupdict().items() if number}
    return way, settings or ({"experts": EXPERTS} if way == "mmoe" else {})


def canonical_sharing(text: Any) -> Any:
    """One spelling of each way of sharing: `mmoe` is `mmoe@4`. What is none stays as it is."""
    if not _fits(text):
        return text
    way, settings = parse_sharing(text)
    return "@".join([way, *map(str, settings.values())])


def _fits(value: Any) -> bool:
    found = _WAYS.fullmatch(value) if isinstance(value, str) else None
    return found is not None and 2 <= int(found["experts"] or EXPERTS) <= MOST_EXPERTS


SHARING = Rule(
    "hard, split@<how many stages of the trunk are shared>, cross_stitch, mmoe or mmoe@<experts, "
    f"2 to {MOST_EXPERTS}>",
    _fits,
    "split@2",
    words=("hard", "cross_stitch", "mmoe"),
)
"""What the key may be."""
