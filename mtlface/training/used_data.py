"""Which pictures a run used, and which it left out: two files in its folder."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import pandas as pd

from mtlface.atomic import write_text
from mtlface.data.csv_cells import to_csv
from mtlface.data.table import FaceTable


def write_used_data(table: FaceTable, folder: Path) -> None:
    """Writes `split.csv` (image, split) and `bad_images.csv` (file, row, reason).

    `row` is the line in a label file, empty where a whole picture is meant. A file without rows
    says that nothing was left out.

    Raises:
        OSError: The folder cannot be written.
    """
    write_text(folder / "split.csv", to_csv(table.frame[["image", "split"]]))
    omitted = [astuple(omission) for omission in table.omitted]
    frame = pd.DataFrame(omitted, columns=["file", "row", "reason"])
    write_text(folder / "bad_images.csv", to_csv(frame.astype({"row": "Int64"})))
