"""What the competitions behind two of the data sets want to be sent."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mtlface.errors import MtlfaceError


def submit_agegender(part: pd.DataFrame, ids: Sequence[str]) -> pd.DataFrame:
    """`id,age,gender` of the age and gender competition: years, and 1 for male.

    Args:
        part: Predictions.
        ids: The id of each row's picture: the column `id` of a list such as `test.csv`, or the
            file's name without its ending.

    Raises:
        MtlfaceError: The network does not predict both.
    """
    _require(part, ("age", "gender"), "submission_agegender")
    gender = part["gender"].map({"male": 1, "female": 0}).astype("Int64")
    return pd.DataFrame({"id": list(ids), "age": part["age"], "gender": gender})


def submit_facecom(part: pd.DataFrame, ids: Sequence[str]) -> pd.DataFrame:
    """`predicted_gender,predicted_identity` of FaceCom, a row a picture in the input's order.

    Raises:
        MtlfaceError: The network does not predict both.
    """
    _require(part, ("gender", "identity"), "submission_facecom")
    return pd.DataFrame(
        {"predicted_gender": part["gender"], "predicted_identity": part["identity"]}
    )


def _require(part: pd.DataFrame, columns: tuple[str, ...], name: str) -> None:
    absent = [column for column in columns if column not in part]
    if absent:
        raise MtlfaceError(
            f"format={name} needs {' and '.join(columns)}; this network does not predict "
            f"{' and '.join(absent)}. Take another checkpoint, or format=csv."
        )
