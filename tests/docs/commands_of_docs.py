"""Reads the commands and the blocks of code out of the docs, each with its file and line."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
DOORS = sorted(path for path in (ROOT / "mtlface").glob("*.py") if path.name != "__init__.py")
PROGRAMS = ("python", "pip", "make", "tensorboard")
SHELL = {"", "bash", "sh", "console"}  # languages of a fence that holds command lines
FENCE = re.compile(r"^```(?P<language>[\w-]*)\s*$")
INLINE = re.compile(rf"`((?:{'|'.join(PROGRAMS)}) [^`]+)`")
INDENTED = re.compile(r"^ +(python -m mtlface\.\w+ \S.*)$")  # in the help of a door
SAVED = re.compile(r"[Ss]aved as `([^`]+)`")
# What a shell does between, before and after commands; `srun` starts its command on a cluster.
OPERATORS = {"|", "||", "&", "&&", ";"}
STARTERS = {"srun"}


@dataclass(frozen=True)
class Place:
    """Where something stands."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A command as its words, without comments."""

    place: Place
    words: tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """A block of code, and the file that the text around says it is saved as."""

    place: Place
    language: str
    code: str
    saved_as: str | None

    @property
    def is_script(self) -> bool:
        """Whether it defines functions for a shell, and is more than command lines."""
        return self.language in SHELL and "() {" in self.code


def commands() -> list[Command]:
    """Every command of the docs and of the doors' help."""
    found = [c for page in PAGES for c in of_page(page.name, page.read_text(encoding="utf-8"))]
    for door in DOORS:
        lines = door.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, 1):
            if match := INDENTED.match(line):
                found += of_line(Place(door.name, number), re.split(r" {2,}", match[1])[0])
    return found


def of_page(name: str, text: str) -> list[Command]:
    """The commands of a page: lines of fenced blocks, and code between the words of a text."""
    found = []
    for block in blocks_of_page(name, text):
        if block.language in SHELL and not block.is_script:
            # A line that ends in a backslash goes on in the next.
            lines = re.finditer(r"(?:[^\n\\]|\\.|\\\n)+", block.code)
            for line in lines:
                before = block.code.count("\n", 0, line.start())
                number = block.place.line + 1 + before
                found += of_line(Place(name, number), line[0].replace("\\\n", " "))
    outside = _without_blocks(text).splitlines()
    for number, line in enumerate(outside, 1):
        for span in INLINE.findall(line):
            found += of_line(Place(name, number), span)
    return sorted(found, key=lambda command: command.place.line)


def of_line(place: Place, line: str) -> list[Command]:
    """The commands of a line for a shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;")
    lexer.whitespace_split, lexer.commenters = True, "#"
    parts: list[list[str]] = [[]]
    for word in lexer:
        if word in OPERATORS:
            parts.append([])
        elif parts[-1] or word not in STARTERS:
            parts[-1].append(word)
    return [Command(place, tuple(words)) for words in parts if words]


def blocks() -> list[Block]:
    """Every fenced block of the docs."""
    return [b for page in PAGES for b in blocks_of_page(page.name, page.read_text("utf-8"))]


def blocks_of_page(name: str, text: str) -> list[Block]:
    """The fenced blocks of a page."""
    lines, found, start = text.splitlines(), [], None
    for number, line in enumerate(lines, 1):
        fence = FENCE.match(line)
        if fence and start is None:
            start, language = number, fence["language"]
        elif fence:
            code = "\n".join(lines[start : number - 1]) + "\n"
            saved = _saved_as(lines, start - 1, number)
            found.append(Block(Place(name, start), language, code, saved))
            start = None
    assert start is None, f"{name}:{start}: the fence has no end"
    return found


def _saved_as(lines: list[str], before: int, after: int) -> str | None:
    """The file's name in the paragraph before a block, or in the one after it."""
    for step, first in ((-1, before - 1), (1, after)):
        paragraph, at = [], first
        while 0 <= at < len(lines) and not lines[at] and not paragraph:
            at += step
        while 0 <= at < len(lines) and lines[at] and not lines[at].startswith("```"):
            paragraph.append(lines[at])
            at += step
        names = SAVED.findall(" ".join(paragraph[::step]))
        if names:
            return names[-1] if step < 0 else names[0]
    return None


def _without_blocks(text: str) -> str:
    """The text with empty lines in the place of its blocks."""
    return re.sub(
        r"^```.*?^```$", lambda block: "\n" * block[0].count("\n"), text, flags=re.M | re.S
    )
