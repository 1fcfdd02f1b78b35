"""The text of a label file and its lines, looked at all at once: such files have 200,000."""

from __future__ import annotations

import codecs
import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mtlface.errors import MtlfaceError


def read_text(path: Path) -> str:
    """Reads a text file with line feeds only, whatever editor saved it.

    Raises:
        MtlfaceError: It is missing, not readable, or not UTF-8 (or UTF-16 with a byte order mark).
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise MtlfaceError(f"{path} is missing. Unpack or download the data set again.") from None
    except OSError as error:
        raise MtlfaceError(f"{path} cannot be read: {error.strerror}.") from error
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise MtlfaceError(
            f"{path}, line {line}: expected UTF-8 text, found other bytes. The file is damaged or "
            "in another encoding; download it again, or save it as UTF-8."
        ) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise MtlfaceError(
            f"{path}, line {line}: expected text, found zero bytes. The file is damaged; "
            "download it again."
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


@dataclass(frozen=True)
class Lines:
    """The lines of a text.

    Attributes:
        data: The text's bytes, uint8, ending in a line feed.
        starts: Where each line starts.
        filled: The numbers of the lines that are not blank, counted from 0.
    """

    data: np.ndarray
    starts: np.ndarray
    filled: np.ndarray

    @classmethod
    def of(cls, text: str) -> Lines:
        """The lines of a text with line feeds only; blank ones at the end do not count."""
        data = np.frombuffer((text.rstrip("\n") + "\n").encode(), dtype=np.uint8)
        starts = np.append(0, np.flatnonzero(data == ord("\n"))[:-1] + 1)
        lines = cls(data, starts, np.arange(len(starts)))
        unclear = np.flatnonzero(data[starts] <= ord(" "))
        blank = [line for line in unclear if not lines[line].strip()]
        return cls(data, starts, np.delete(lines.filled, blank))

    def __getitem__(self, line: int | np.integer) -> str:
        start = self.starts[line]
        end = self.starts[line + 1] if line + 1 < len(self.starts) else len(self.data)
        return self.data[start:end].tobytes().decode().rstrip("\n")

    def take(self, lines: np.ndarray) -> bytes:
        """The text of some lines."""
        if len(lines) and len(lines) == len(self.starts) - lines[0]:
            return self.data[self.starts[lines[0]] :].tobytes()
        return "".join(f"{self[line]}\n" for line in lines).encode()

    def field_counts(self, separator: str | None) -> np.ndarray:
        """The number of fields in each line; 0 where a quote is not closed."""
        if separator is None:
            visible = np.ones(256, dtype=bool)
            visible[[ord(" "), ord("\t"), ord("\n")]] = False
            inside = visible[self.data]
            begins = inside & ~np.append(False, inside[:-1])
            return np.add.reduceat(begins, self.starts, dtype=np.int64)
        counts = np.add.reduceat(self.data == ord(separator), self.starts, dtype=np.int64) + 1
        quotes = np.flatnonzero(self.data == ord('"'))
        for line in np.unique(np.searchsorted(self.starts, quotes, side="right") - 1):
            counts[line] = len(_quoted_fields(self[line], separator))
        return counts


def _quoted_fields(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator, strict=True))
    except csv.Error:
        return []
