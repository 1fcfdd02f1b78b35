"""Long names of runs, broken where a reader would break them."""

import re


def wrap_name(name: str, width: int) -> str:
    """Breaks a name after `_/,=-.` or a space, into lines of at most `width` characters.

    A part that has none of them and is longer stays whole.
    """
    lines: list[str] = []
    current = ""
    for part in re.findall(r".*?[_/,=\-. ]|.+$", name):
        if current and len(current) + len(part.rstrip()) > width:
            lines.append(current.rstrip())
            current = ""
        current += part
    return "\n".join([*lines, current])
