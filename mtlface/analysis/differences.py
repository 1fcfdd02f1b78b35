"""One arm against another in one metric: the difference, its interval, and the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mtlface.analysis import crossed as cr
from mtlface.analysis import decisions as de
from mtlface.analysis.bootstrap import paired_images
from mtlface.analysis.crossed import Array, Estimate
from mtlface.analysis.images import ImageScores, Predictions
from mtlface.analysis.protocol import Arm
from mtlface.analysis.references import Kind, Statement
from mtlface.analysis.settings import Differing
from mtlface.analysis.statistics import relative_benefit

Basis = Literal["seeds and images", "seeds", "images", "nothing"]
FEWEST_SEEDS = 3  # at n = 2 the crossed interval covers 88 %: no verdict


@dataclass(frozen=True)
class Metric:
    """A test metric of a task (or across tasks: its task is then none of the arms' tasks)."""

    task: str
    name: str
    higher_is_better: bool | None
    primary: bool

    @property
    def key(self) -> str:
        """Its key in `result.json`."""
        return f"test/{self.task}/{self.name}"

    @property
    def sign(self) -> float:
        """+1 where a positive difference is good."""
        return 1.0 if self.higher_is_better else -1.0


@dataclass(frozen=True)
class Cells:
    """The two-way table behind a crossed interval.

    Attributes:
        images: Names of the images, (N,).
        clusters: Who is on them, (N,).
        table: arm − reference in what each image adds, (n, N); row means are the differences.
    """

    images: NDArray[np.str_]
    clusters: NDArray[np.int64]
    table: Array

    @property
    def units(self) -> Array:
        """The table with people instead of images as columns, where images repeat them."""
        return cr.by_cluster(self.table, self.clusters)


@dataclass(frozen=True)
class Difference:
    """An arm against its reference in one metric.

    Attributes:
        kind: What the difference comes from.
        differing: The settings behind a recipe.
        matched: Whether the reference is a twin that had the arm's whole budget.
        seeds: The seeds that both have.
        values: arm − reference for each of them, in the metric's unit.
        overlap: n_test/n_train where each seed has a split of its own, else 0.
        pairs: Over seeds alone: "these test images". None below two seeds, or without spread.
        estimate: What the answer stands on; None where there is none.
        basis: What that counts as a sample.
        cells: Seeds × images, for primary metrics whose runs kept their predictions.
        base: The reference's mean.
        effect: The smallest difference of interest, in the metric's unit.
        benefit: `values` in percent of the reference, higher is better.
        collapsed: Seeds in which arm or reference is no better than the constant predictor.
        p: Of the estimate; the larger one of with and without the collapsed seeds.
        equal: Whether the two are shown equal within ±effect.
        p_holm: Corrected over all verdicts of the report; only for primary metrics.
        q: Benjamini and Hochberg's, over the same.
        answer: What a reader may conclude.
    """

    kind: Kind
    differing: Differing
    matched: bool
    arm: str
    reference: str
    metric: Metric
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    overlap: float
    pairs: Estimate | None
    estimate: Estimate | None
    basis: Basis
    cells: Cells | None
    base: float
    effect: float
    benefit: tuple[float, ...] | None
    collapsed: Mapping[str, tuple[int, ...]]
    p: float | None
    equal: bool
    p_holm: float | None = None
    q: float | None = None
    answer: de.Answer = "no verdict"

    @property
    def n(self) -> int:
        """How many seeds."""
        return len(self.seeds)

    @property
    def mean(self) -> float:
        """The mean difference in the metric's unit."""
        return float(np.mean(self.values))

    @property
    def percent(self) -> float | None:
        """The mean benefit in percent of the reference; higher is better."""
        return float(np.mean(self.benefit)) if self.benefit is not None else None


def difference(
    statement: Statement,
    metric: Metric,
    predictions: Predictions,
    effect: float | str | None = None,
) -> Difference | None:
    """Compares two arms seed by seed; None where they share none.

    Args:
        statement: The arm, its reference, and what their difference says.
        metric: In what.
        predictions: The runs' test predictions.
        effect: The smallest difference of interest: a number in the metric's unit, `2%` of the
            reference, or None for the default.
    """
    arm, reference = statement.arm, statement.reference
    ours, theirs = arm.values(metric.key), reference.values(metric.key)
    seeds = tuple(sorted(set(ours) & set(theirs)))
    if not seeds:
        return None
    found = _described(statement, metric, ours, theirs, seeds, predictions, effect)
    if not metric.primary:
        return found
    scores = [
        (
            predictions.scores(arm.runs[s], metric.task, metric.name),
            predictions.scores(reference.runs[s], metric.task, metric.name),
        )
        for s in seeds
    ]
    return _judged(found, scores)


def difference_of_scores(
    statement: Statement,
    metric: Metric,
    scores: Mapping[int, tuple[ImageScores, ImageScores]],
    predictions: Predictions,
    effect: float,
) -> Difference:
    """Compares two arms in what only their test predictions say, such as a gap between groups.

    Args:
        statement: The arm, its reference, and what their difference says.
        metric: What the scores are called.
        scores: Seed → of the arm and of its reference.
        predictions: The runs' test predictions.
        effect: The smallest difference of interest, in the metric's unit.
    """
    seeds = tuple(sorted(scores))
    ours, theirs = ({s: scores[s][side].metric.value for s in seeds} for side in (0, 1))
    found = _described(statement, metric, ours, theirs, seeds, predictions, effect)
    return _judged(found, [scores[seed] for seed in seeds])


def _described(
    statement: Statement,
    metric: Metric,
    ours: Mapping[int, float],
    theirs: Mapping[int, float],
    seeds: tuple[int, ...],
    predictions: Predictions,
    effect: float | str | None,
) -> Difference:
    """What the seeds' values say by themselves; without an answer yet."""
    arm, reference = statement.arm, statement.reference
    values = np.array([ours[s] - theirs[s] for s in seeds])
    bases = [theirs[s] for s in seeds]
    overlap = _overlap(arm, seeds, predictions)
    benefit = relative_benefit(values, bases, bool(metric.higher_is_better))
    return Difference(
        kind=statement.kind,
        differing=statement.differing,
        matched=statement.matched,
        arm=arm.label,
        reference=reference.label,
        metric=metric,
        seeds=seeds,
        values=tuple(values.tolist()),
        overlap=overlap,
        pairs=cr.over_seeds(values, overlap),
        estimate=None,
        basis="nothing",
        cells=None,
        base=float(np.mean(bases)),
        effect=_effect(effect, metric, float(np.mean(bases))),
        benefit=None if benefit is None else tuple(benefit.tolist()),
        collapsed={a.label: c for a in (arm, reference) if (c := collapsed(a, metric, seeds))},
        p=None,
        equal=False,
    )


def in_one_family(differences: Sequence[Difference]) -> list[Difference]:
    """Corrects the primary metrics' p-values for all verdicts of the report, and answers."""
    of_verdicts = [d.p if d.metric.primary else None for d in differences]
    corrected = zip(
        differences, de.holm(of_verdicts), de.benjamini_hochberg(of_verdicts), strict=True
    )
    return [
        replace(
            d,
            p_holm=p,
            q=q,
            answer=de.answer(d.metric.sign * d.mean, p, equal=d.equal),
        )
        for d, p, q in corrected
    ]


def at_any_budget(differences: Sequence[Difference]) -> list[Difference]:
    """An answer about sharing must hold for the same epochs and for the same whole budget.

    Where an arm has a twin of each, and only one of both gives an answer, it depends on the budget.
    """
    other = {(d.arm, d.metric, d.matched): d.answer for d in differences if d.kind == "sharing"}

    def checked(d: Difference) -> Difference:
        beside = other.get((d.arm, d.metric, not d.matched))
        decided = d.kind == "sharing" and d.answer in ("better", "worse")
        if decided and beside is not None and beside != d.answer:
            return replace(d, answer="depends on the budget")
        return d

    return [checked(d) for d in differences]


def collapsed(arm: Arm, metric: Metric, seeds: Sequence[int]) -> tuple[int, ...]:
    """The seeds in which an arm is no better than a predictor that looks at no image."""
    found = []
    for seed in seeds:
        run = arm.runs[seed]
        constant = run.trivial.get(metric.key)
        if constant is not None and metric.sign * (run.metrics[metric.key] - constant) <= 0:
            found.append(seed)
    return tuple(found)


def _judged(found: Difference, pairs: Sequence[tuple[ImageScores | None, ...]]) -> Difference:
    cells = _cells(found, pairs)
    estimate, basis = _estimate(found, pairs, cells)
    tests = [estimate] if estimate else []
    failed = {seed for seeds in found.collapsed.values() for seed in seeds}
    kept = [i for i, seed in enumerate(found.seeds) if seed not in failed]
    if estimate and failed and len(kept) >= FEWEST_SEEDS:
        # A t interval of a mixture covers little: the answer must hold for what did learn, too.
        rest = cells.units[kept] if cells else np.array(found.values)[kept]
        without = cr.crossed(rest) if cells else cr.over_seeds(rest, found.overlap)
        if without is None or without.mean * estimate.mean < 0:
            without = replace(estimate, p=1.0, inner=(-np.inf, np.inf))
        tests.append(without)
    return replace(
        found,
        estimate=estimate,
        basis=basis,
        cells=cells,
        p=max((t.p for t in tests), default=None),
        equal=bool(tests) and all(de.shown_equal(t, found.effect) for t in tests),
    )


def _estimate(
    found: Difference,
    pairs: Sequence[tuple[ImageScores | None, ...]],
    cells: Cells | None,
) -> tuple[Estimate | None, Basis]:
    if found.n == 1:
        arm, reference = pairs[0]
        if arm is None or reference is None:
            return None, "nothing"
        ordered = reference.in_order_of(arm.images)
        if ordered is None:
            return None, "nothing"
        estimate = paired_images(arm.metric, ordered.metric, arm.clusters)
        return estimate or _no_difference(found), "images"
    if found.n < FEWEST_SEEDS:
        return None, "nothing"
    if cells is not None:
        return cr.crossed(cells.units) or _no_difference(found), "seeds and images"
    return found.pairs or _no_difference(found), "seeds"


def _no_difference(found: Difference) -> Estimate | None:
    """Arms that never differ are equal beyond doubt; a constant difference has no spread."""
    if any(found.values):
        return None
    return Estimate(0.0, 0.0, (0.0, 0.0), (0.0, 0.0), 1.0, None, found.n)


def _cells(found: Difference, pairs: Sequence[tuple[ImageScores | None, ...]]) -> Cells | None:
    first = pairs[0][0]
    if first is None or found.n < 2:
        return None
    rows = []
    for value, pair in zip(found.values, pairs, strict=True):
        ordered = [s.in_order_of(first.images) if s else None for s in pair]
        parts = [s.contributions if s else None for s in ordered]
        if parts[0] is None or parts[1] is None:
            return None
        row = parts[0] - parts[1]
        rows.append(row + (value - row.mean()))  # the file's rounding is not the metric's
    table = np.stack(rows)
    return Cells(first.images, first.clusters, table) if table.shape[1] > 1 else None


def _overlap(arm: Arm, seeds: Sequence[int], predictions: Predictions) -> float:
    """n_test/n_train where the seeds have test images of their own, else 0."""
    if len({predictions.test_set(arm.runs[seed]) for seed in seeds}) < 2:
        return 0.0
    counts = arm.runs[seeds[0]].data.get("counts") or {}
    test, train = counts.get("test"), counts.get("train")
    return test / train if test and train else 0.0


def _effect(effect: float | str | None, metric: Metric, reference: float) -> float:
    if effect is None:
        return de.default_effect(bool(metric.higher_is_better), reference)
    return de.effect_size(effect, reference)


def of_images(arm: Arm, metric: Metric, predictions: Predictions) -> cr.Interval | None:
    """The 95 % interval of a single seed's metric over test images; None where nothing gives it."""
    (seed,) = arm.seeds
    scores = predictions.scores(arm.runs[seed], metric.task, metric.name)
    added = scores.contributions if scores else None
    if scores is None or added is None:
        return None
    people = cr.by_cluster(added[None], scores.clusters)[0]
    found = cr.over_seeds(people)
    return found.interval if found else None


def learnt(arm: Arm, metric: Metric, predictions: Predictions) -> bool | None:
    """Whether an arm is shown to beat the constant predictor (95 %); None where nothing says so.

    "Better" than an arm that has not learnt its task is no result.
    """
    values = arm.values(metric.key)
    constants = [arm.runs[s].trivial.get(metric.key) for s in values]
    known = [c for c in constants if c is not None]
    if not values or len(known) < len(values):
        return None
    ahead = metric.sign * (np.array(list(values.values())) - known)
    rows = [
        s.contributions
        for seed in values
        if (s := predictions.scores(arm.runs[seed], metric.task, metric.name))
    ]
    full = [row for row in rows if row is not None]
    estimate = cr.over_seeds(ahead)
    if len(full) == len(ahead) and len({len(row) for row in full}) == 1 and len(full[0]) > 1:
        table = ahead[:, None] + metric.sign * np.stack([row - row.mean() for row in full])
        mean = table.mean(axis=0)
        of_images = float(mean.var(ddof=1)) / len(mean)
        estimate = (
            cr.crossed(table)
            if len(full) >= FEWEST_SEEDS
            else cr.estimate(float(mean.mean()), of_images, len(mean) - 1, len(full), len(mean))
        )
    return estimate.interval[0] > 0 if estimate else bool(ahead.mean() > 0)
