"""What a run's `test_predictions.csv` says image by image, read by the run's own label schema."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtlface.analysis import image_metrics as im
from mtlface.analysis.image_metrics import OfSums
from mtlface.analysis.results import Run
from mtlface.data.csv_cells import from_cells
from mtlface.data.people import REPEATED, who_repeats
from mtlface.data.schema import Label

FILE = "test_predictions.csv"
ERROR, PROBABILITY, TRUE = "/error", "_probability", "_true"
PEOPLE = "people"  # which images are not independent of each other, as this module reads it
# A run computes in float32 and on logits, the file holds rounded probabilities: ties may differ.
TOLERANCE = 2e-3

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """A label's columns as numbers: classes as codes, NaN where missing; all of shape (N, K).

    Attributes:
        score: The predicted probability, NaN where the label has none.
    """

    prediction: Array
    truth: Array
    score: Array


@dataclass(frozen=True)
class ImageScores:
    """A metric of one run, image by image, of the images that are labelled.

    Attributes:
        images: Their names, (N,).
        people: What they share with others, a person or an original; empty where unknown, (N,).
        metric: Adds up to what the run wrote down.
    """

    images: NDArray[np.str_]
    people: NDArray[np.str_]
    metric: im.ImageMetric

    def in_order_of(self, images: NDArray[np.str_]) -> ImageScores | None:
        """The same scores in the order of these images; None unless they are the same images."""
        if np.array_equal(self.images, images):
            return self
        mine, theirs = np.argsort(self.images), np.argsort(images)
        if not np.array_equal(self.images[mine], images[theirs]):
            return None
        rows = np.empty(len(images), dtype=np.int64)
        rows[theirs] = mine
        return ImageScores(self.images[rows], self.people[rows], self.metric.take(rows))

    @cached_property
    def clusters(self) -> NDArray[np.int64]:
        """Which images are not independent, as 0 … C−1, (N,); one that stands alone is its own."""
        alone = np.char.add("image ", self.images)
        names = np.where(self.people == "", alone, self.people)
        return np.unique(names, return_inverse=True)[1].reshape(-1)

    @cached_property
    def contributions(self) -> Array | None:
        """What each image adds, (N,), with the metric as mean; None where that is undefined."""
        return self.metric.contributions()


@dataclass
class Predictions:
    """The test predictions of runs, each file read once.

    Attributes:
        notes: What a reader must know about files that could not be used.
    """

    notes: dict[str, None] = field(default_factory=dict)
    _tables: dict[tuple[Path, str | None], pd.DataFrame | None] = field(default_factory=dict)
    _scores: dict[tuple[Path, str | None, str, str], ImageScores | None] = field(
        default_factory=dict
    )

    def table(self, run: Run) -> pd.DataFrame | None:
        """The columns that a report can use; None without a readable file."""
        key = (run.folder, run.source)
        if key not in self._tables:
            self._tables[key] = _read(run)
        return self._tables[key]

    def test_set(self, run: Run) -> str | None:
        """What tells the test images of two runs apart; None where nothing says it."""
        table = self.table(run)
        if run.test_set is not None or table is None:
            return run.test_set
        hashed = np.sort(pd.util.hash_pandas_object(table["image"], index=False).to_numpy())
        return hashlib.blake2b(hashed.tobytes(), digest_size=8).hexdigest()

    def errors(self, run: Run, task: str) -> Array:
        """A task's errors (lower is better) of the labelled images."""
        table = self.table(run)
        if table is None or task + ERROR not in table:
            return np.empty(0)
        return table[task + ERROR].dropna().to_numpy(np.float64)

    def answers(self, run: Run, task: str) -> Answers | None:
        """A task's predictions beside the truth; None where the file or the schema lacks them."""
        table, label = self.table(run), run.labels.get(run.tasks[task]["label"])
        if table is None or label is None:
            return None
        # A part of a list of attributes is a task of its own, called like its column.
        columns = [task] if task in label.columns else list(label.columns)
        if not all(c in table and c + TRUE in table for c in columns):
            return None

        def numbers(suffix: str) -> Array:
            absent = pd.Series(np.nan, table.index)
            found = [_codes(table.get(c + suffix, absent), label, suffix) for c in columns]
            return np.stack(found, axis=1)

        return Answers(numbers(""), numbers(TRUE), numbers(PROBABILITY))

    def groups(self, run: Run, column: str) -> dict[str, str]:
        """Image → its group, which is empty where unknown; without any where no file says it."""
        table = self.table(run)
        # Of a group that is also learnt, the plain column is the prediction.
        told = column + TRUE if table is not None and column + TRUE in table else column
        if table is None or told not in table:
            return {}
        return dict(zip(table["image"], table[told], strict=True))

    def scores(self, run: Run, task: str, metric: str) -> ImageScores | None:
        """A test metric image by image; None where the file does not give it, which is noted."""
        key = (run.folder, run.source, task, metric)
        if key not in self._scores:
            self._scores[key] = self._checked(run, task, metric)
        return self._scores[key]

    def _checked(self, run: Run, task: str, metric: str) -> ImageScores | None:
        recorded = run.metrics.get(f"test/{task}/{metric}")
        found = self._build(run, task, metric)
        if recorded is None or found is None:
            return None
        value = found.metric.value
        if abs(value - recorded) <= TOLERANCE * abs(recorded) + 1e-6:
            return found
        self.notes[
            f"{run.folder / FILE} gives {task} {metric} {value:.6g}, and result.json says "
            f"{recorded:.6g}: the images of this run take no part in its interval."
        ] = None
        return None

    def _build(self, run: Run, task: str, metric: str) -> ImageScores | None:
        table = self.table(run)
        if table is None or task not in run.tasks:
            return None
        if f"{task}/{metric}" in table:
            values = table[f"{task}/{metric}"].to_numpy(np.float64)
        elif metric in OF_ERROR and task + ERROR in table:
            values = OF_ERROR[metric](table[task + ERROR].to_numpy(np.float64))
        else:
            return self._of_answers(table, run, task, metric)
        known = np.flatnonzero(np.isfinite(values))
        return _scores_of(table.iloc[known], im.mean_of(values[known])) if len(known) else None

    def _of_answers(
        self, table: pd.DataFrame, run: Run, task: str, metric: str
    ) -> ImageScores | None:
        answers, build = self.answers(run, task), OF_ANSWERS.get(metric)
        if answers is None or build is None:
            return None
        known = np.flatnonzero(np.isfinite(answers.truth).any(axis=1))
        parts = (answers.prediction, answers.truth, answers.score)
        if not len(known) or not np.isfinite(answers.prediction[known]).all():
            return None
        return _scores_of(table.iloc[known], build(Answers(*(part[known] for part in parts))))


def error_curve(errors: Array, thresholds: Array) -> Array:
    """The share of images whose error is at most each threshold."""
    ordered = np.sort(errors)
    return np.searchsorted(ordered, thresholds, side="right") / max(1, len(ordered))


def _scores_of(rows: pd.DataFrame, metric: im.ImageMetric) -> ImageScores:
    images, people = (rows[c].to_numpy().astype(np.str_) for c in ("image", PEOPLE))
    return ImageScores(images, people, metric)


def _read(run: Run) -> pd.DataFrame | None:
    path = run.folder / FILE
    try:
        header = list(pd.read_csv(path, nrows=0).columns)
    except (OSError, ValueError):
        return None
    if "image" not in header:
        return None
    texts, numbers = {"image", *REPEATED}, set()
    texts |= {of + end for of in run.groups for end in ("", TRUE)}
    for task, info in run.tasks.items():
        numbers |= {task + ERROR, f"{task}/{info['primary']}"}
        label = run.labels.get(info["label"])
        for column in label.columns if label else ():
            numbers.add(column + PROBABILITY)
            (texts if _classes(label) else numbers).update((column, column + TRUE))
    numbers = numbers.intersection(header)
    texts = texts.intersection(header) - numbers
    try:
        table = pd.read_csv(
            path,
            usecols=[c for c in header if c in texts | numbers],
            dtype=dict.fromkeys(texts, str) | dict.fromkeys(numbers, np.float64),
            # A class may be called "None" or "NA".
            keep_default_na=False,
            na_values={name: ["", "nan", "NaN"] for name in numbers},
        )
    except (OSError, ValueError):
        return None
    table = table.assign(**{name: from_cells(table[name]) for name in texts})
    if run.source is not None:  # names in the file of several sources begin with theirs
        prefix = f"{run.source}/"
        table = table[table["image"].str.startswith(prefix)].reset_index(drop=True)
        table["image"] = table["image"].str.removeprefix(prefix)
    return table.assign(**{PEOPLE: who_repeats(table)})


def _classes(label: Label | None) -> Sequence[str]:
    return getattr(label, "classes", ())


def _codes(column: pd.Series, label: Label, suffix: str) -> Array:
    if suffix != PROBABILITY and (classes := _classes(label)):
        column = column.map({name: code for code, name in enumerate(classes)})
    return column.to_numpy(np.float64)


def _same(error: Array) -> Array:
    return error


def _of_decisions(rate: Callable[[Array, Array, Array], Array]) -> Callable[[Answers], OfSums]:
    return lambda a: im.of_counts(a.prediction, a.truth, rate)


def _absolute(a: Answers) -> Array:
    return np.abs(a.prediction - a.truth)


def _mean_element(values: Array, function: im.Function = im.ratio) -> OfSums:
    known = np.isfinite(values)
    sums = np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1)
    return OfSums(np.stack(sums, axis=1).astype(np.float64), function)


# Metrics that are means over images of a function of the error by image.
OF_ERROR: dict[str, Callable[[Array], Array]] = {
    "nme": _same,
    "auc08": lambda e: np.where(np.isnan(e), e, np.maximum(0.0, 1 - e / 0.08)),
    "fr08": lambda e: np.where(np.isnan(e), e, e > 0.08),
}
# Metrics of the predictions beside the truth.
OF_ANSWERS: dict[str, Callable[[Answers], im.ImageMetric]] = {
    "accuracy": lambda a: im.share_right(a.prediction, a.truth),
    "top1": lambda a: im.share_right(a.prediction, a.truth),
    "precision": _of_decisions(im.precision),
    "recall": _of_decisions(im.recall),
    "f1": _of_decisions(im.f1),
    "f1_macro": lambda a: im.macro_f1(a.prediction[:, 0], a.truth[:, 0]),
    "auroc": lambda a: im.RankArea(a.score, a.truth),
    "mae": lambda a: _mean_element(_absolute(a)),
    "rmse": lambda a: _mean_element(_absolute(a) ** 2, im.root_of_ratio),
    "mse_px": lambda a: _mean_element(_absolute(a) ** 2),
    "cs5": lambda a: _mean_element((_absolute(a) <= 5.0).astype(np.float64)),
}
