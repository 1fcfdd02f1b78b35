"""From p-values and intervals to answers: one family of tests, and three possible answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mtlface.analysis.crossed import Estimate
from mtlface.errors import MtlfaceError

Answer = Literal[
    "better", "worse", "shown equal", "undecided", "depends on the budget", "no verdict"
]

ALPHA = 0.05
# The smallest effect of interest where nobody declares one: a point of what is better higher (an
# accuracy, an area), 2 % of the reference of what is better lower (an error has its own unit).
POINT, SHARE = 0.01, 0.02


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Corrects p-values for the number of tests (Holm 1979); those that are None stay None."""
    # statsmodels' multipletests does the same, but runs the garbage collector at every call.
    return _corrected(
        p_values,
        lambda p: np.maximum.accumulate(p * np.arange(len(p), 0, -1)),
    )


def benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """The q of each test: the share of false alarms among all with a q as small (1995)."""

    def step_up(p: NDArray[np.float64]) -> NDArray[np.float64]:
        q = p * len(p) / np.arange(1, len(p) + 1)
        return np.minimum.accumulate(q[::-1])[::-1]

    return _corrected(p_values, step_up)


def default_effect(higher_is_better: bool, reference: float) -> float:
    """The smallest effect of interest in the metric's own unit, where none was declared."""
    return POINT if higher_is_better else SHARE * abs(reference)


def effect_size(effect: float | str, reference: float) -> float:
    """A declared effect in the metric's own unit: a number, or `2%` of the reference."""
    text = str(effect).strip()
    return float(text[:-1]) / 100 * abs(reference) if text.endswith("%") else float(text)


def check_effect(key: str, effect: float | str) -> None:
    """Raises an error unless an effect is a positive size.

    Raises:
        MtlfaceError: It is none.
    """
    try:
        size = effect_size(effect, 1.0)
    except ValueError:
        size = float("nan")
    if not 0 < size < float("inf"):
        raise MtlfaceError(
            f"{key}={effect}: expected the smallest difference that matters, a positive number in "
            "the metric's unit (0.01 is one point of accuracy) or in percent of the reference (2%)."
        )


def shown_equal(estimate: Estimate, effect: float) -> bool:
    """Whether two one-sided tests place the difference within ±effect (Schuirmann 1987)."""
    return -effect < estimate.inner[0] and estimate.inner[1] < effect


def answer(benefit: float, p: float | None, *, equal: bool = False, alpha: float = ALPHA) -> Answer:
    """Puts a corrected p into words.

    Args:
        benefit: The difference, positive where it is good.
        p: Corrected for the family; None where there is no test.
        equal: Whether the difference was shown to lie within the smallest effect of interest.
        alpha: The level of the family.
    """
    if p is None:
        return "no verdict"
    if p < alpha and benefit != 0.0:
        return "better" if benefit > 0 else "worse"
    return "shown equal" if equal else "undecided"


def _corrected(
    p_values: Sequence[float | None], stepped: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> list[float | None]:
    known = np.array([p for p in p_values if p is not None], dtype=np.float64)
    order = np.argsort(known, kind="stable")
    corrected = np.empty(len(known))
    corrected[order] = np.minimum(stepped(known[order]), 1.0)
    following = iter(corrected)
    return [None if p is None else float(next(following)) for p in p_values]
