"""Equalised odds between groups of people, by fairlearn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from mtlface.tasks import Task
from mtlface.tasks.prediction import TRUE


def equalised_odds(
    predictions: pd.DataFrame, tasks: Mapping[str, Task[Any]], columns: list[str]
) -> dict[str, float] | None:
    """The equalised-odds difference of each yes/no task by `<task>@<column>`.

    The larger of the greatest differences between groups in true and in false positive rate
    (Hardt et al. 2016); 0 is fair in this sense, 1 is as far apart as can be.

    Args:
        predictions: Predictions with the truth, as `prediction_table` gives them.
        tasks: The network's tasks.
        columns: The columns that say to which group a picture belongs.

    Returns:
        The differences, or None where fairlearn is not installed.
    """
    try:
        from fairlearn.metrics import equalized_odds_difference
    except ImportError:
        return None
    found = {}
    for name, task in tasks.items():
        if (positive := task.positive) is None:
            continue
        column = task.label.name
        for group in columns:
            # Of a group that is also learnt, the plain column is the prediction.
            member = group + TRUE if group + TRUE in predictions else group
            known = predictions[(predictions[column + TRUE] != "") & (predictions[member] != "")]
            truth = known[column + TRUE] == positive
            # Without both classes in every group, a rate would be 0 of 0.
            if known[member].nunique() < 2 or truth.groupby(known[member]).nunique().min() < 2:
                continue
            found[f"{name}@{group}"] = float(
                equalized_odds_difference(
                    truth, known[column] == positive, sensitive_features=known[member]
                )
            )
    return found
