"""What each label of a face data set means: its kind, its names, its units and its columns.

One convention holds from the table to the batch: a missing label is −1 where the label is a class
and NaN where it is a number. Gender is 1 = male, 0 = female, whatever the source says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
import pandas as pd
from typing_extensions import override

from mtlface.errors import MtlfaceError, did_you_mean
from mtlface.values import shown


@dataclass(frozen=True)
class Label:
    """A named label; the kinds below say what its values are.

    Attributes:
        name: What tasks and batches call it.
    """

    kind: ClassVar[str]
    missing: ClassVar[float]
    whole: ClassVar[bool] = True  # whether values are class codes, which have no fractions
    agree: ClassVar[tuple[str, ...]] = ()  # fields in which two sources of one label are the same
    name: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a `FaceTable` that hold this label."""
        return (self.name,)

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest number that a cell can hold, without those for missing."""
        return 0.0, 1.0

    @property
    def expected(self) -> str:
        """What a cell can hold, in words for an error message."""
        return "0 (no), 1 (yes), or −1 or nothing where it is missing"

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of images that results are also reported for, by class; mostly none."""
        return ()

    def degenerate(self, frame: pd.DataFrame) -> np.ndarray:
        """Which rows have possible cells that together cannot be the label, bool (N,)."""
        return np.zeros(len(frame), dtype=bool)

    def strata(self, frame: pd.DataFrame) -> np.ndarray | None:
        """Codes to balance a draw over, int64 (N,); None where the label is not for that."""
        return None

    def people(self, frame: pd.DataFrame) -> np.ndarray | None:
        """Who is in each image, int64 (N,), −1 where unknown; None where it does not tell."""
        return None

    def values(self, frame: pd.DataFrame) -> np.ndarray:
        """The label of each row, in the shape and type that a batch has it: int64 of shape (N,)."""
        return frame[self.name].to_numpy(dtype=np.int64)

    def of_source(self, source: str) -> Self:
        """The label as it is beside that of other sources: people carry their source's name."""
        return self

    def united(self, other: Label) -> Self:
        """The one label that stands for this one and another source's of the same name.

        Raises:
            ValueError: They contradict each other; the message says in what.
        """
        if not isinstance(other, type(self)):
            raise ValueError(f"{self.kind} against {other.kind}")
        for key in self.agree:
            own, theirs = getattr(self, key), getattr(other, key)
            if own != theirs:
                raise ValueError(f"{key} {_words(own)} against {_words(theirs)}")
        return self

    def recoded(self, frame: pd.DataFrame, united: Label) -> dict[str, np.ndarray]:
        """The columns of this label in a frame, in the codes of the label that it is united in."""
        return {column: frame[column].to_numpy() for column in self.columns}

    def to_dict(self) -> dict[str, Any]:
        """Plain data that `label_from_dict` reads back, for checkpoints and exports."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True)
class Binary(Label):
    """Two classes; values 0, 1 or −1 where missing.

    Attributes:
        classes: The names of class 0 and class 1, the positive one.
    """

    kind: ClassVar[str] = "binary"
    missing: ClassVar[float] = -1
    agree: ClassVar[tuple[str, ...]] = ("classes",)
    classes: tuple[str, str] = ("no", "yes")

    @property
    def expected(self) -> str:
        """The two codes with their names."""
        return _codes(self.classes)

    def strata(self, frame: pd.DataFrame) -> np.ndarray:
        """The class."""
        return self.values(frame)


@dataclass(frozen=True)
class Category(Label):
    """One of many classes; values 0 … n−1, or −1 where missing.

    Attributes:
        classes: The names of the classes; empty before the data is read.
        group: Whether results are also reported for each class (a condition, an ancestry).
        persons: Whether the classes are people: a draw keeps the images of one together, and those
            of two data sets are never the same.
    """

    kind: ClassVar[str] = "category"
    missing: ClassVar[float] = -1
    classes: tuple[str, ...] = ()
    group: bool = False
    persons: bool = False

    @property
    def bounds(self) -> tuple[float, float]:
        """The first and the last class."""
        return 0.0, len(self.classes) - 1.0

    @property
    def expected(self) -> str:
        """The codes with their names."""
        return _codes(self.classes)

    @property
    def groups(self) -> tuple[str, ...]:
        """The classes, where they are groups."""
        return self.classes if self.group else ()

    def names(self, frame: pd.DataFrame) -> np.ndarray:
        """The name of each row's class, str (N,); empty where missing."""
        table = np.array([*self.classes, ""], dtype=object)
        named: np.ndarray = table[self.values(frame)]
        return named

    def strata(self, frame: pd.DataFrame) -> np.ndarray | None:
        """The class; None where classes are people."""
        return None if self.persons else self.values(frame)

    def people(self, frame: pd.DataFrame) -> np.ndarray | None:
        """The class where classes are people."""
        return self.values(frame) if self.persons else None

    @property
    @override
    def agree(self) -> tuple[str, ...]:  # type: ignore[override]
        """Whether classes are people, and if not, the classes."""
        return ("persons",) if self.persons else ("persons", "classes")

    @override
    def of_source(self, source: str) -> Self:
        """People are called `<source>/<name>`."""
        if not self.persons:
            return self
        return replace(self, classes=tuple(f"{source}/{name}" for name in self.classes))

    @override
    def united(self, other: Label) -> Self:
        """The people of one after those of the other."""
        same = super().united(other)
        assert isinstance(other, Category)
        more = other.classes if self.persons else ()
        return replace(same, classes=self.classes + more, group=self.group or other.group)

    @override
    def recoded(self, frame: pd.DataFrame, united: Label) -> dict[str, np.ndarray]:
        """Class numbers, moved to where the classes are in the united label."""
        assert isinstance(united, Category)
        codes = self.values(frame)
        first = united.classes.index(self.classes[0]) if self.classes else 0
        return {self.name: np.where(codes < 0, codes, codes + first)}


@dataclass(frozen=True)
class Multilabel(Label):
    """Several yes/no attributes; values (N, K) of 0, 1 or −1 where missing.

    Attributes:
        names: The K attributes, each a column of its own.
    """

    kind: ClassVar[str] = "multilabel"
    missing: ClassVar[float] = -1
    agree: ClassVar[tuple[str, ...]] = ("names",)
    names: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """One column an attribute."""
        return self.names

    def values(self, frame: pd.DataFrame) -> np.ndarray:
        """int64 of shape (N, K)."""
        return frame[list(self.names)].to_numpy(dtype=np.int64)


@dataclass(frozen=True)
class Number(Label):
    """A number with a range and a unit; NaN where missing.

    Attributes:
        low: The smallest value that can occur.
        high: The largest.
        unit: What it is measured in.
    """

    kind: ClassVar[str] = "number"
    missing: ClassVar[float] = float("nan")
    whole: ClassVar[bool] = False
    agree: ClassVar[tuple[str, ...]] = ("unit",)
    low: float = 0.0
    high: float = 1.0
    unit: str = ""

    @property
    def bounds(self) -> tuple[float, float]:
        """The range."""
        return self.low, self.high

    @property
    def expected(self) -> str:
        """The range with its unit."""
        numbers = f"a number from {self.low:g} to {self.high:g} {self.unit}".rstrip()
        return f"{numbers}, or nothing where it is missing"

    def values(self, frame: pd.DataFrame) -> np.ndarray:
        """float32 of shape (N,)."""
        return frame[self.name].to_numpy(dtype=np.float32)

    def strata(self, frame: pd.DataFrame) -> np.ndarray:
        """The tenth of the numbers, −1 where missing; equal numbers are in the same one."""
        ranks = frame[self.name].rank(method="average", pct=True).to_numpy(dtype=np.float64)
        tenth: np.ndarray = np.where(np.isnan(ranks), -1, np.ceil(ranks * 10) - 1).astype(np.int64)
        return tenth

    @override
    def united(self, other: Label) -> Self:
        """Ranges are united, too: neither source contradicts the wider one."""
        same = super().united(other)
        assert isinstance(other, Number)
        return replace(same, low=min(self.low, other.low), high=max(self.high, other.high))


@dataclass(frozen=True)
class Points(Label):
    """Named points of a face; values (N, K, 2) of x, y in pixels, NaN where missing.

    Coordinates count from the centre of the top left pixel, "left" is the picture's left. In a
    table they are pixels of the picture as it lies on disk, in a batch pixels of the working frame.

    Attributes:
        names: The K points; point `p` has the columns `p_x` and `p_y`.
        mirror: Pairs of names that a horizontal flip exchanges.
    """

    kind: ClassVar[str] = "points"
    missing: ClassVar[float] = float("nan")
    whole: ClassVar[bool] = False
    agree: ClassVar[tuple[str, ...]] = ("names", "mirror")
    names: tuple[str, ...] = ()
    mirror: tuple[tuple[str, str], ...] = ()

    @property
    def bounds(self) -> tuple[float, float]:
        """Any finite number: a table does not know the sizes of its images."""
        return float(np.finfo(np.float32).min), float(np.finfo(np.float32).max)

    @property
    def expected(self) -> str:
        """Pixels."""
        return "a coordinate in pixels, or nothing where it is missing"

    @property
    def columns(self) -> tuple[str, ...]:
        """The x and y of each point, in the points' order."""
        return tuple(f"{point}_{axis}" for point in self.names for axis in "xy")

    @property
    def mirrored(self) -> tuple[int, ...]:
        """For each point, the index of the point that takes its place in a flipped picture."""
        partner = {a: b for pair in self.mirror for a, b in (pair, pair[::-1])}
        return tuple(self.names.index(partner.get(name, name)) for name in self.names)

    def values(self, frame: pd.DataFrame) -> np.ndarray:
        """float32 of shape (N, K, 2)."""
        flat = frame[list(self.columns)].to_numpy(dtype=np.float32)
        return flat.reshape(len(frame), len(self.names), 2)

    def degenerate(self, frame: pd.DataFrame) -> np.ndarray:
        """Rows whose points are all in one place (0, 0 is a common filler), or both eyes are."""
        points = self.values(frame)
        found = np.zeros(len(frame), dtype=bool)
        if len(self.names) > 1:
            found |= (points == points[:, :1]).all(axis=(1, 2))
        if {"left_eye", "right_eye"} <= {*self.names}:
            eyes = points[:, [self.names.index("left_eye"), self.names.index("right_eye")]]
            found |= (eyes[:, 0] == eyes[:, 1]).all(axis=1)
        return found


KINDS: dict[str, type[Label]] = {
    kind.kind: kind for kind in (Binary, Category, Multilabel, Number, Points)
}


LabelKind = TypeVar("LabelKind", bound=Label)


class Labels(Mapping[str, Label]):
    """The labels of a data set by name: its label schema."""

    def __init__(self, labels: Iterable[Label]) -> None:
        labels = list(labels)
        self._labels = {label.name: label for label in labels}
        if len(self._labels) < len(labels):
            names = [label.name for label in labels]
            twice = ", ".join(sorted({name for name in names if names.count(name) > 1}))
            raise MtlfaceError(f"Two labels have the name {twice}. Give each label its own name.")

    def __getitem__(self, name: str) -> Label:
        return self._labels[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._labels)

    def __len__(self) -> int:
        return len(self._labels)

    def require(self, name: str, asked_by: str) -> Label:
        """Returns the label, or raises an error that names what the data has instead.

        Raises:
            MtlfaceError: The data has no label of that name.
        """
        if name in self._labels:
            return self._labels[name]
        raise MtlfaceError(
            f"{asked_by} needs the label '{name}', which this data does not have."
            f"{did_you_mean(name, list(self))} It has: {', '.join(self)}."
        )

    def find(self, name: str, kind: type[LabelKind]) -> LabelKind | None:
        """The label of a name where it is of this kind, else None."""
        label = self._labels.get(name)
        return label if isinstance(label, kind) else None

    def to_dict(self) -> list[dict[str, Any]]:
        """Plain data for checkpoints and exports."""
        return [label.to_dict() for label in self.values()]

    @classmethod
    def from_dict(cls, labels: Iterable[Mapping[str, Any]]) -> Labels:
        """Reads what `to_dict` gave.

        Raises:
            MtlfaceError: A label is of no known kind, or has fields that its kind does not have.
        """
        return cls(label_from_dict(label) for label in labels)


def label_from_dict(data: Mapping[str, Any]) -> Label:
    """Reads what `Label.to_dict` gave, lists as tuples.

    Raises:
        MtlfaceError: The kind is unknown, or a field is missing or one too many.
    """
    try:
        fields = {key: _as_tuple(value) for key, value in data.items() if key != "kind"}
        kind = KINDS[data["kind"]]
        hints = get_type_hints(kind)
        for key, value in fields.items():
            if not _fits(value, hints[key]):
                raise TypeError(key)
        return kind(**fields)
    except (KeyError, TypeError, AttributeError) as error:
        raise MtlfaceError(
            f"A label description is not readable: {shown(data, 200)}. "
            f"Expected `kind` to be one of {', '.join(KINDS)} with that kind's fields."
        ) from error


def _codes(classes: tuple[str, ...]) -> str:
    if not classes:
        return "−1 or nothing, because the label names no classes"
    shown = [f"{code} ({name})" for code, name in enumerate(classes[:6])]
    more = [f"… {len(classes) - 1} ({classes[-1]})"] if len(classes) > 6 else []
    return f"{', '.join(shown + more)}, or −1 or nothing where it is missing"


def _words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else repr(value)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of the type that a label's field is written with."""
    parts = get_args(hint)
    if get_origin(hint) is not tuple:
        return isinstance(value, float | int if hint is float else hint)
    if not isinstance(value, tuple):
        return False
    if parts[-1] is ...:
        return all(_fits(item, parts[0]) for item in value)
    return len(value) == len(parts) and all(map(_fits, value, parts))


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(item) for item in value) if isinstance(value, list | tuple) else value
