"""Scores across tasks, as competitions define them: in all of them higher is better."""

import math
from collections.abc import Callable, Mapping
from typing import SupportsFloat

WORST_AGE_RMSE = 30.0  # years, from where on the age score is 0


def age_score(rmse: float) -> float:
    """Returns 1 - min(RMSE, 30) / 30 for an RMSE in years: 1 is perfect, 0 is 30 years or more.

    NaN stays NaN: nothing was measured.
    """
    return rmse if math.isnan(rmse) else 1 - min(rmse, WORST_AGE_RMSE) / WORST_AGE_RMSE


def competition_score(age_rmse: float, gender_macro_f1: float) -> float:
    """Returns the harmonic mean of the age score and the macro F1 of gender, in 0..1.

    The score of the age and gender competition: 0 if either task is at its worst.

    Args:
        age_rmse: In years.
        gender_macro_f1: Mean of the F1 of both classes, in 0..1.
    """
    age, gender = age_score(age_rmse), gender_macro_f1
    return 0.0 if age + gender == 0 else 2 * age * gender / (age + gender)


def facecom_score(gender_accuracy: float, identity_top1: float) -> float:
    """Returns .3 · gender accuracy + .7 · identity top-1, the score of FaceCom, in 0..1."""
    return 0.3 * gender_accuracy + 0.7 * identity_top1


class Score:
    """A score registered like a metric: a function of metrics of several tasks.

    Args:
        function: Takes the metrics' values as floats and returns the score.
        metrics: The function's arguments by name, each a metric `<task>/<metric>`.
        higher_is_better: Which end is the better one.
    """

    def __init__(
        self,
        function: Callable[..., float],
        metrics: Mapping[str, str],
        higher_is_better: bool = True,
    ) -> None:
        self.function = function
        self.metrics = dict(metrics)
        self.higher_is_better = higher_is_better

    def __call__(self, found: Mapping[str, SupportsFloat]) -> float | None:
        """Returns the score, or None where a metric is missing, as in a single-task arm."""
        if any(metric not in found for metric in self.metrics.values()):
            return None
        values = {argument: float(found[metric]) for argument, metric in self.metrics.items()}
        return float(self.function(**values))
