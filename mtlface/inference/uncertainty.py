"""How well a network knows what it does not know: calibration, coverage, risk by confidence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor

from mtlface.data.batch import Batch
from mtlface.tasks import Task
from mtlface.tasks.calibration import TINY, Calibration, calibration
from mtlface.training.conformal import conformal_quantile
from mtlface.training.evaluation import Predictions

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Coverage:
    """How often a conformal region holds the truth.

    Attributes:
        n: Labelled images.
        covered: The share of them whose region holds the truth.
        size: The mean size: classes of a set, width of an interval, radius of points in pixels.
    """

    n: int
    covered: float
    size: float


@dataclass(frozen=True)
class Uncertainty:
    """What is found of one task.

    Attributes:
        calibration: On the measured images; None for tasks without probabilities.
        temperature: What validation chose to divide logits by.
        tempered: The calibration at that temperature.
        aurc: The area under the risk–coverage curve, of which an ideal order's is `aurc_best`.
        aurc_best: The least that any order of the same errors has.
        curve: Risk at each share of images kept, most confident first.
        level: The coverage that regions aim at.
        calibrated_on: Validation images that the regions were calibrated on.
        coverage: Overall; None where nothing could be calibrated.
        groups: The same by column and group.
    """

    calibration: Calibration | None = None
    temperature: float | None = None
    tempered: Calibration | None = None
    aurc: float | None = None
    aurc_best: float | None = None
    curve: Array | None = field(default=None, repr=False)
    level: float | None = None
    calibrated_on: int = 0
    coverage: Coverage | None = None
    groups: Mapping[str, Mapping[str, Coverage]] = field(default_factory=dict)


def best_temperature(task: Task[Any], output: Tensor, batch: Batch) -> float | None:
    """The temperature with the least NLL on these images (Guo et al., ICML 2017); None without any.

    Args:
        task: Gives probabilities.
        output: Raw outputs (N, …) of images that the network did not learn from.
        batch: Their labels.
    """
    positions = task.positions(batch)

    def nll(log_temperature: float) -> float:
        probability = task.probabilities(output / math.exp(log_temperature))
        assert probability is not None
        found = calibration(probability, positions)
        return math.inf if found is None else found.nll

    if not bool((positions >= 0).any()):
        return None
    found = minimize_scalar(nll, bounds=(-3, 3), method="bounded")
    return math.exp(float(found.x))


def risk_coverage(doubt: Tensor, error: Tensor) -> tuple[Array, float, float] | None:
    """The mean error of the k most confident images for each k, its mean, and an ideal order's.

    El-Yaniv and Wiener, JMLR 2010; the mean is AURC (Geifman et al., ICLR 2019).

    Args:
        doubt: What to sort by, (N,).
        error: (N,), NaN where unlabelled.
    """
    known = ~error.isnan()
    if not known.any():
        return None
    errors = error[known].double().numpy()
    order = np.argsort(doubt[known].double().numpy(), kind="stable")
    kept = np.arange(1, len(errors) + 1)
    curve: Array = np.cumsum(errors[order]) / kept
    return curve, float(curve.mean()), float((np.cumsum(np.sort(errors)) / kept).mean())


def uncertainty(
    task: Task[Any],
    output: Tensor,
    batch: Batch,
    doubt: Tensor | None,
    held_out: tuple[Tensor, Batch] | None,
    level: float,
    groups: Mapping[str, Mapping[str, NDArray[np.int64]]],
) -> tuple[Uncertainty, dict[str, np.ndarray]]:
    """Everything of one task, and the columns that say its regions.

    Args:
        task: The task.
        output: Raw outputs of the measured images, (N, …).
        batch: Their labels.
        doubt: What to sort them by, (N,), or None.
        held_out: Outputs and labels of validation images, None where there are none to spare.
        level: The coverage of regions.
        groups: By column and group the positions of its images.
    """
    found: dict[str, Any] = {}
    columns: dict[str, np.ndarray] = {}
    probability = task.probabilities(output)
    if probability is not None:
        found["calibration"] = calibration(probability, task.positions(batch))
        temperature = None if held_out is None else best_temperature(task, *held_out)
        if temperature is not None:
            softer = task.probabilities(output / temperature)
            assert softer is not None
            found["temperature"] = temperature
            found["tempered"] = calibration(softer, task.positions(batch))
    if doubt is not None and (curve := risk_coverage(doubt, task.error(output, batch))):
        found["curve"], found["aurc"], found["aurc_best"] = curve
    scores = task.nonconformity(output, batch)
    own = None if held_out is None else task.nonconformity(*held_out)
    if scores is not None and own is not None:
        quantile, found["calibrated_on"] = conformal_quantile(own, level)
        if math.isfinite(quantile):
            columns, sizes = task.region(output, batch["size"], quantile)
            found["level"] = level
            found["coverage"] = _coverage(scores.numpy(), sizes, quantile, np.arange(len(scores)))
            found["groups"] = {
                column: {
                    group: held
                    for group, rows in of_column.items()
                    if (held := _coverage(scores.numpy(), sizes, quantile, rows)) is not None
                }
                for column, of_column in groups.items()
            }
    return Uncertainty(**found), columns


def _coverage(
    scores: np.ndarray, sizes: np.ndarray, quantile: float, rows: NDArray[np.int64]
) -> Coverage | None:
    known = rows[~np.isnan(scores[rows])]
    if not len(known):
        return None
    held = scores[known] <= quantile
    return Coverage(len(known), float(held.mean()), float(sizes[known].mean()))


def doubts(
    tasks: Mapping[str, Task[Any]], together: Predictions, members: list[Predictions]
) -> Iterator[tuple[str, Tensor | None]]:
    """By task what to sort images by: what it says itself, else how far the members are apart."""
    for name, task in tasks.items():
        own = task.doubt(together.outputs[name])
        if own is None and len(members) > 1:
            apart = torch.stack([member.outputs[name] for member in members]).float().std(dim=0)
            own = apart.square().mean(dim=1).sqrt()
        yield name, own


def spreads(
    task: Task[Any], outputs: list[Tensor], size: Tensor, known: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The members' standard deviation of each number that a task says, as `<column>_std`, (N,).

    Args:
        task: The task.
        outputs: Raw outputs (N, …) of each member.
        size: As for `Task.columns`.
        known: The columns that are there already; a distribution's own spread stands.
    """
    answers = [task.columns(output, size) for output in outputs]
    return {
        f"{column}_std": np.std([answer[column] for answer in answers], axis=0, ddof=1)
        for column, values in answers[0].items()
        if values.dtype.kind == "f" and not column.endswith("_std") and f"{column}_std" not in known
    }


def disagreement(task: Task[Any], outputs: list[Tensor]) -> float | None:
    """How much members differ, in nats: the mean mutual information of answer and member.

    The entropy of the mean distribution less the mean entropy (Houlsby et al. 2011; Smith and Gal
    2018). None for a task without probabilities.
    """
    found = [task.probabilities(output) for output in outputs]
    each = [probability.double() for probability in found if probability is not None]
    if not each:
        return None
    mean = _entropy(torch.stack(each).mean(dim=0))
    return float((mean - torch.stack([_entropy(p) for p in each]).mean(dim=0)).mean())


def _entropy(probability: Tensor) -> Tensor:
    return -(probability * probability.clamp(min=TINY).log()).sum(dim=1)
