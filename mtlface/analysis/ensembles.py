"""What an arm's seeds say together: the deep ensemble that every sweep has trained anyway.

From the saved test predictions alone (Lakshminarayanan et al., NeurIPS 2017): numbers and the
probabilities of yes are averaged. The file has no probability of each of several classes, and no
loss of points; for those, and for everything by group, there is `evaluate ensemble=`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mtlface.analysis.crossed import Array
from mtlface.analysis.curves import calibration
from mtlface.analysis.differences import Metric
from mtlface.analysis.images import OF_ANSWERS, Answers, Predictions
from mtlface.analysis.protocol import Arm
from mtlface.analysis.results import Run

TINY = 1e-12  # of a probability whose logarithm is taken


@dataclass(frozen=True)
class Sureness:
    """Whether the ensemble's probabilities of yes are right.

    Attributes:
        nll: Mean −ln p of the truth.
        nll_members: The mean of the members'; by Jensen's inequality no smaller.
        brier: Mean Σ (p_k − [y = k])² over yes and no.
        ece: The calibration error of the reliability figure.
        disagreement: Mutual information of answer and member, in nats.
    """

    nll: float
    nll_members: float
    brier: float
    ece: float
    disagreement: float


@dataclass(frozen=True)
class Ensemble:
    """The seeds of an arm as one, in a task's primary metric.

    Attributes:
        members: How many seeds.
        mean: The mean of their metrics.
        value: The metric of their mean answer.
        spread: The standard deviation between members, root mean square; None for probabilities.
        sureness: None for numbers.
    """

    arm: str
    metric: Metric
    members: int
    mean: float
    value: float
    spread: float | None
    sureness: Sureness | None


def ensembles(
    arms: Sequence[Arm], metrics: Sequence[Metric], predictions: Predictions
) -> list[Ensemble]:
    """Every arm of two seeds or more that were tested on the same images, task by task."""
    found = []
    for metric in metrics:
        for arm in arms:
            if len(arm.seeds) > 1 and metric.task in arm.tasks:
                answers = _answers(arm, metric.task, predictions)
                values = [arm.runs[seed].metrics.get(metric.key) for seed in arm.seeds]
                if answers and None not in values and (of := _together(answers, metric)):
                    mean = float(np.mean(np.array(values, dtype=np.float64)))
                    found.append(Ensemble(arm.label, metric, len(answers), mean, *of))
    return found


def _answers(arm: Arm, task: str, predictions: Predictions) -> list[Answers] | None:
    """Of every seed, in the order of the images' names; None unless they are the same images."""
    found: list[Answers] = []
    names = None
    for seed in arm.seeds:
        table = predictions.table(arm.runs[seed])
        answers = (
            None if _several(arm.runs[seed], task) else predictions.answers(arm.runs[seed], task)
        )
        if table is None or answers is None:
            return None
        images = table["image"].to_numpy().astype(np.str_)
        order = np.argsort(images, kind="stable")
        if names is not None and not np.array_equal(names, images[order]):
            return None
        names = images[order]
        found.append(
            Answers(*(part[order] for part in (answers.prediction, answers.truth, answers.score)))
        )
    return found


def _several(run: Run, task: str) -> bool:
    """Whether the file has the probability of one class of several alone."""
    label = run.labels.get(run.tasks[task]["label"])
    return len(getattr(label, "classes", ())) > 2


def _together(
    members: Sequence[Answers], metric: Metric
) -> tuple[float, float | None, Sureness | None] | None:
    """The metric of the mean answer, the spread of numbers, and how sure a yes or no is."""
    build, truth = OF_ANSWERS.get(metric.name), members[0].truth
    labelled = np.flatnonzero(np.isfinite(truth).any(axis=1))
    if build is None or not len(labelled):
        return None
    said, score = (
        np.stack([getattr(m, part)[labelled] for m in members]) for part in ("prediction", "score")
    )
    truth = truth[labelled]
    if not np.isfinite(said).all():
        return None
    if not np.isfinite(score).any():
        spread = float(np.sqrt(said.var(axis=0, ddof=1).mean()))
        mean = Answers(said.mean(axis=0), truth, score[0])
        return build(mean).value, spread, None
    if not np.isfinite(score).all():
        return None
    probability = score.mean(axis=0)
    mean = Answers((probability > 0.5).astype(np.float64), truth, probability)
    return build(mean).value, None, _sureness(score, truth)


def _sureness(score: Array, truth: Array) -> Sureness:
    """Of the members' probabilities (M, N, K) of yes, where the truth (N, K) is known."""
    known = np.isfinite(truth)
    each, yes = score[:, known].clip(TINY, 1 - TINY), truth[known]
    mean = each.mean(axis=0)

    def nll(p: Array) -> float:
        return float(-np.log(np.where(yes == 1, p, 1 - p)).mean())

    def entropy(p: Array) -> float:
        return float(-(p * np.log(p) + (1 - p) * np.log(1 - p)).mean())

    return Sureness(
        nll=nll(mean),
        nll_members=float(np.mean([nll(p) for p in each])),
        brier=float(2 * ((mean - yes) ** 2).mean()),
        ece=calibration(mean, yes)[3],
        disagreement=entropy(mean) - float(np.mean([entropy(p) for p in each])),
    )
