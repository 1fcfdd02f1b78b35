"""Several data sets as one table: equal labels unite, people and images carry their source."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from mtlface.data.schema import Category, Label, Labels
from mtlface.data.table import FaceTable, Omission
from mtlface.errors import MtlfaceError

SOURCE, ROW = "source", "row"


def join_labels(schemas: Mapping[str, Labels], people: str | None = None) -> Labels:
    """One schema for the labels of several sources, and `source`, which results are grouped by.

    Args:
        schemas: The labels of each source by its name.
        people: `apart` if people of one name in two sources are different people; by default
            that is an error.

    Raises:
        MtlfaceError: Two sources contradict each other, have a person in common, or one has a
            label called `source` itself.
    """
    united: dict[str, Label] = {}
    first: dict[str, str] = {}
    named: dict[tuple[str, str], str] = {}  # the source that a person is of
    for source, labels in schemas.items():
        for name, label in labels.items():
            if name in (SOURCE, ROW):
                raise MtlfaceError(
                    f"{source} has a label called '{name}', which a join uses itself. Give it "
                    "another name in the reader."
                )
            if people != "apart":
                _check_people(label, source, named)
            own = label.of_source(source)
            try:
                united[name] = united[name].united(own) if name in united else own
            except ValueError as error:
                raise MtlfaceError(
                    f"The label '{name}' is not the same in {first[name]} and in {source}: "
                    f"{error}. Give one of them another name in its reader, or make them agree."
                ) from error
            first.setdefault(name, source)
    return Labels([*united.values(), Category(SOURCE, tuple(schemas), group=True)])


def join(tables: Mapping[str, FaceTable], people: str | None = None) -> FaceTable:
    """One table of several sources, in their order.

    Image names begin with the source's name, as do those of people. Labels that a source does not
    have are missing in its rows. `source` numbers the sources and `row` the rows in their own
    table.

    Args:
        tables: The sources by name.
        people: See `join_labels`.

    Raises:
        MtlfaceError: See `join_labels`; or two sources are the same folder.
    """
    _check_roots(tables)
    labels = join_labels({name: table.labels for name, table in tables.items()}, people)
    frames = [_frame(name, table, labels, k) for k, (name, table) in enumerate(tables.items())]
    return FaceTable(
        pd.concat(frames, ignore_index=True),
        labels,
        Path(os.path.commonpath([table.root for table in tables.values()])),
        tuple(
            Omission(f"{name}/{omission.file}", omission.row, omission.reason)
            for name, table in tables.items()
            for omission in table.omitted
        ),
        tuple(f"{name}: {remark}" for name, table in tables.items() for remark in table.remarks),
        {name: table.root for name, table in tables.items()},
    )


def _frame(source: str, table: FaceTable, labels: Labels, number: int) -> pd.DataFrame:
    """A source's rows with all columns of the joined table."""
    columns: dict[str, np.ndarray] = {
        "image": np.array([f"{source}/{image}" for image in table.frame["image"]], dtype=object),
        "split": table.frame["split"].to_numpy(dtype=object),
    }
    for name, label in labels.items():
        if name in table.labels:
            columns |= table.labels[name].of_source(source).recoded(table.frame, label)
    rows = len(table)
    for label in labels.values():
        kind = np.int8 if label.whole else np.float32
        for column in label.columns:
            columns.setdefault(column, np.full(rows, label.missing, dtype=kind))
    columns |= {SOURCE: np.full(rows, number), ROW: np.arange(rows)}
    return pd.DataFrame(columns)


def _check_people(label: Label, source: str, named: dict[tuple[str, str], str]) -> None:
    if not isinstance(label, Category) or not label.persons:
        return
    for person in label.classes:
        other = named.setdefault((label.name, person), source)
        if other != source:
            raise MtlfaceError(
                f"The {label.name} '{person}' is in {other} and in {source}. If that is one "
                "person, a network could meet in a test whom it was trained on: take the person "
                "out of one source. If they are two people, set data.people=apart."
            )


def _check_roots(tables: Mapping[str, FaceTable]) -> None:
    roots: dict[Path, str] = {}
    for name, table in tables.items():
        other = roots.setdefault(table.root.resolve(), name)
        if other != name:
            raise MtlfaceError(
                f"{other} and {name} are the same folder, {table.root}: its images would count "
                f"twice, in other splits perhaps. Correct data.{name}.root, or leave one out."
            )
