"""Every test metric of a trained network on a split, beside a predictor that looks at nothing."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig, OmegaConf

from mtlface.data.batch import Split
from mtlface.data.datamodule import FaceDataModule
from mtlface.data.table import SPLITS, FaceTable
from mtlface.errors import MtlfaceError, did_you_mean
from mtlface.inference.network import Network
from mtlface.inference.other_data import fitted
from mtlface.training.build import build_datamodule
from mtlface.training.evaluation import (
    constant_predictions,
    groups,
    predict_split,
    prediction_table,
    score,
    score_groups,
)


@dataclass(frozen=True)
class Gap:
    """How far the groups of a column are apart in a task's primary metric.

    Attributes:
        values: The metric of each group that has labels.
        worst: The group that fares worst.
        gap: Between the best and the worst group.
    """

    values: dict[str, float]
    worst: str
    gap: float


@dataclass(frozen=True)
class Measured:
    """What was found.

    Attributes:
        data: Which data, see `FaceDataModule.description`.
        split: Which split.
        n: Its pictures.
        metrics: By `<task>/<metric>`, with `@<column>=<group>` for groups of pictures.
        trivial: The same of predictors that look at no picture.
        higher: Whether a metric's higher end is the better one, where it has one.
        primary: The metric that stands for each task.
        skipped: Tasks that the data cannot test, with the reason.
        group_sizes: Pictures by column and group.
        gaps: By `<task>@<column>`.
        predictions: A row a picture, with the truth.
        fingerprint: 16 hexadecimal digits of the names, splits, labels and pixels of the data.
    """

    data: dict[str, Any]
    split: str
    n: int
    metrics: dict[str, float]
    trivial: dict[str, float]
    higher: dict[str, bool]
    primary: dict[str, str]
    skipped: dict[str, str]
    group_sizes: dict[str, dict[str, int]]
    gaps: dict[str, Gap]
    predictions: pd.DataFrame = field(repr=False)
    fingerprint: str


def measure(network: Network, config: DictConfig, split: str = "test") -> Measured:
    """Measures a network; its tasks that the data cannot test are removed from it.

    Args:
        network: The network.
        config: Its config with the data to measure on, see `data_config`.
        split: `train`, `val` or `test`.

    Raises:
        MtlfaceError: The data cannot be had, or has no label that the network learnt.
    """
    if split not in SPLITS:
        raise MtlfaceError(
            f"split={split} is not known; expected one of {', '.join(SPLITS)}."
            f"{did_you_mean(split, [*SPLITS])}"
        )
    module, datamodule = network.module, build_datamodule(_only_what_is_used(config, split))
    table, skipped = fitted(datamodule.table, module)
    tasks = dict(module.tasks)
    names = tuple(dict.fromkeys(n for task in tasks.values() for n in task.batch_labels))
    absent = [name for name in names if name not in table.labels]
    if absent:
        raise MtlfaceError(f"The data lacks the label {', '.join(absent)}, which a metric needs.")
    stored = datamodule.load().stored
    chosen, train = (
        Split(table, datamodule.store, stored, name, names) for name in (split, "train")
    )
    found = predict_split(module, chosen, datamodule.evaluation_batch_size, network.device)
    metrics = score(module, found)
    sizes = _group_sizes(table, chosen)
    by_group = score_groups(module, found, table)
    primary = {name: f"{name}/{task.primary}" for name, task in tasks.items()}
    higher = module.directions
    return Measured(
        data=_described(datamodule),
        split=split,
        n=len(chosen),
        metrics=metrics | by_group,
        trivial=score(module, constant_predictions(module, train, chosen)),
        higher=higher,
        primary=primary,
        skipped=skipped,
        group_sizes=sizes,
        gaps=_gaps(by_group, primary, higher, sizes),
        predictions=prediction_table(module, found, table),
        fingerprint=datamodule.fingerprint(),
    )


def _described(datamodule: FaceDataModule) -> dict[str, Any]:
    """What is said of the data: its sources' descriptions, or the description of the only one."""
    of_sources = datamodule.description()
    if datamodule.mix is None:
        return {"name": datamodule.source_name} | next(iter(of_sources.values()))
    whole = {"root_kind": datamodule.root_kind, "counts": datamodule.table.counts}
    return {"name": datamodule.source_name, "sources": of_sources} | whole


def _only_what_is_used(config: DictConfig, split: str) -> DictConfig:
    """With a limit on the measured split, packs no more of the others than the measure needs.

    The constant predictor comes from the training split: 1,000 images of it, or as many as are
    measured, where the limit does not say.
    """
    limit = OmegaConf.to_container(config.data.limit or OmegaConf.create(), resolve=True)
    if not isinstance(limit, dict) or type(count := limit.get(split)) is not int:
        return config
    used = {"val": 1, "test": 1, "train": max(1000, count)} | {split: count}
    changed = config.copy()
    changed.data.limit = used | {key: n for key, n in limit.items() if n is not None}
    return changed


def _group_sizes(table: FaceTable, split: Split) -> dict[str, dict[str, int]]:
    sizes: dict[str, dict[str, int]] = defaultdict(dict)
    for suffix, rows in groups(table, split.rows):
        column, _, group = suffix.partition("=")
        sizes[column][group] = len(rows)
    return dict(sizes)


def _gaps(
    metrics: dict[str, float],
    primary: dict[str, str],
    higher: dict[str, bool],
    sizes: dict[str, dict[str, int]],
) -> dict[str, Gap]:
    gaps = {}
    for task, metric in primary.items():
        for column, groups_of in sizes.items():
            values = {group: metrics[f"{metric}@{column}={group}"] for group in groups_of}
            values = {group: value for group, value in values.items() if np.isfinite(value)}
            if len(values) > 1:
                worst = (min if higher[metric] else max)(values, key=lambda g: values[g])
                spread = max(values.values()) - min(values.values())
                gaps[f"{task}@{column}"] = Gap(values, worst, spread)
    return gaps
