"""Where predictions go: a table, a columnar file, or what a competition wants to be sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pandas as pd
from pandas.api.types import is_numeric_dtype

from mtlface.atomic import atomic_write
from mtlface.data.csv_cells import to_csv
from mtlface.errors import MtlfaceError
from mtlface.inference.submissions import submit_agegender, submit_facecom

Write = Callable[[pd.DataFrame], None]


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        suffix: Its name's ending.
        convert: Makes its rows of a part of the predictions and their ids.
        binary: Whether it is parquet rather than CSV.
    """

    suffix: str
    convert: Callable[[pd.DataFrame, Sequence[str]], pd.DataFrame] | None = None
    binary: bool = False


FORMATS = {
    "csv": Format(".csv"),
    "parquet": Format(".parquet", binary=True),
    "submission_agegender": Format(".csv", submit_agegender),
    "submission_facecom": Format(".csv", submit_facecom),
}


@contextmanager
def table_writer(path: Path, kind: Format, template: pd.DataFrame) -> Iterator[Write]:
    """Writes parts of a table one after the other; the file is there when all of them are.

    Args:
        path: The file.
        kind: Its format.
        template: The table without rows, as `Predictor.template` gives it, already converted.

    Raises:
        MtlfaceError: The file cannot be written, or pyarrow is missing.
    """
    opened = _parquet if kind.binary else _csv
    try:
        with atomic_write(path) as file, opened(file, template) as write:
            yield write
    except OSError as error:
        raise MtlfaceError(
            f"{path} cannot be written ({error.strerror or error}). Give another output=…."
        ) from error


@contextmanager
def _csv(file: BinaryIO, template: pd.DataFrame) -> Iterator[Write]:
    file.write(to_csv(template[:0]).encode())
    yield lambda part: _write(file, to_csv(part, header=False))


def _write(file: BinaryIO, text: str) -> None:
    file.write(text.encode())


@contextmanager
def _parquet(file: BinaryIO, template: pd.DataFrame) -> Iterator[Write]:
    try:
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter
    except ImportError as error:
        raise MtlfaceError(
            "format=parquet needs pyarrow: pip install 'mtlface[parquet]'."
        ) from error
    # From the types and not from the first part: there, a column may have no value at all.
    schema = pa.schema(
        [
            (
                name,
                pa.from_numpy_dtype(str(kind).lower()) if is_numeric_dtype(kind) else pa.string(),
            )
            for name, kind in template.dtypes.items()
        ]
    )
    with ParquetWriter(file, schema) as writer:
        yield lambda part: writer.write_table(
            pa.Table.from_pandas(part, schema=schema, preserve_index=False)
        )
