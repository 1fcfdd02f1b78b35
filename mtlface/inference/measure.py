"""Every test metric of a trained network on a split, beside a predictor that looks at nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from mtlface.data.batch import Split
from mtlface.data.datamodule import FaceDataModule
from mtlface.data.table import SPLITS, FaceTable
from mtlface.errors import MtlfaceError, did_you_mean
from mtlface.inference.attention import attention_maps, attention_sheets, check_maps, shown
from mtlface.inference.gaps import Gap, Groups, clusters_of, crossed_groups, gap_between
from mtlface.inference.members import check_samples, combined, member_outputs
from mtlface.inference.network import Network
from mtlface.inference.other_data import fitted
from mtlface.inference.uncertainty import Uncertainty, disagreement, doubts, spreads, uncertainty
from mtlface.plots.raster import Pixels
from mtlface.training.build import build_datamodule
from mtlface.training.evaluation import (
    Predictions,
    constant_predictions,
    groups,
    prediction_table,
    score,
)
from mtlface.training.module import MultiTaskModule


@dataclass(frozen=True)
class Together:
    """Several networks, or draws of dropout, beside what they say together.

    Attributes:
        members: How many.
        mean: The mean of each metric over them.
        disagreement: By task, in nats, see `mtlface.inference.uncertainty.disagreement`.
    """

    members: int
    mean: dict[str, float]
    disagreement: dict[str, float]


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        split: `train`, `val` or `test`.
        samples: Draws of dropout per network; 0 for none.
        coverage: What conformal regions aim at, in 0..1.
        min_group: Images that a group of people needs to be ranked.
        intersections: Pairs of group columns to look at together.
        attention_maps: Images to draw where each head looks on; 0 for none.
    """

    split: str = "test"
    samples: int = 0
    coverage: float = 0.9
    min_group: int = 20
    intersections: tuple[tuple[str, str], ...] = ()
    attention_maps: int = 0


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
        uncertainty: By task.
        together: Of several networks or draws: how many, and each metric's mean over them and their
            disagreement by task; None of a single network.
        predictions: A row a picture, with the truth.
        attention: By task, a sheet of where it looks, uint8 (H, W, 3); empty where not asked for.
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
    uncertainty: dict[str, Uncertainty]
    together: Together | None
    predictions: pd.DataFrame = field(repr=False)
    attention: dict[str, Pixels] = field(repr=False)
    fingerprint: str


def measure(
    networks: Network | Sequence[Network], config: DictConfig, settings: Settings | None = None
) -> Measured:
    """Measures a network, or several as one; tasks that the data cannot test are removed from them.

    Args:
        networks: The network, or the members of an ensemble.
        config: Its config with the data to measure on, see `data_config`.
        settings: How.

    Raises:
        MtlfaceError: The data cannot be had, has no label that the network learnt, or a setting is
            not possible.
    """
    members_of = [networks] if isinstance(networks, Network) else list(networks)
    settings = settings or Settings()
    split = settings.split
    _check(settings)
    module = members_of[0].module
    datamodule = build_datamodule(_only_what_is_used(config, split))
    table, skipped = fitted(datamodule.table, module)
    for other in members_of[1:]:
        fitted(datamodule.table, other.module)
    tasks = dict(module.tasks)
    names = tuple(dict.fromkeys(n for task in tasks.values() for n in task.batch_labels))
    absent = [name for name in names if name not in table.labels]
    if absent:
        raise MtlfaceError(f"The data lacks the label {', '.join(absent)}, which a metric needs.")
    stored = datamodule.load().stored
    chosen, train, val = (
        Split(table, datamodule.store, stored, name, names) for name in (split, "train", "val")
    )
    # Before all else, because a trunk may have no maps.
    drawn = shown(chosen, settings.attention_maps)
    images = chosen.images(drawn)
    maps = attention_maps(members_of, images) if len(drawn) else {}
    batch_size = datamodule.evaluation_batch_size
    members = member_outputs(members_of, chosen, batch_size, settings.samples)
    found = combined(module, members)
    # What is calibrated on the images it is measured on says nothing.
    held_out = None
    if split != "val":
        held_out = combined(module, member_outputs(members_of, val, batch_size, settings.samples))
    metrics = score(module, found)
    predictions = prediction_table(module, found, table)
    of_columns = _groups(table, chosen, settings)
    by_group = _by_group(module, found, of_columns)
    primary = {name: f"{name}/{task.primary}" for name, task in tasks.items()}
    higher = module.directions
    known: dict[str, Uncertainty] = {}
    for name, doubt in doubts(tasks, found, members):
        task, targets = tasks[name], found.targets
        own = None if held_out is None else (held_out.outputs[name], held_out.targets)
        known[name], columns = uncertainty(
            task, found.outputs[name], targets, doubt, own, settings.coverage, of_columns
        )
        if len(members) > 1:
            outputs = [member.outputs[name] for member in members]
            columns |= spreads(task, outputs, targets["size"], columns_of(predictions))
        predictions = predictions.assign(**columns)
    clusters = clusters_of(predictions)
    gaps = {
        f"{name}@{column}": gap
        for name in tasks
        for column, groups_of in of_columns.items()
        if (
            gap := gap_between(
                module, found, name, higher[primary[name]], groups_of, clusters, settings.min_group
            )
        )
    }
    return Measured(
        data=_described(datamodule),
        split=split,
        n=len(chosen),
        metrics=metrics | by_group,
        trivial=score(module, constant_predictions(module, train, chosen)),
        higher=higher,
        primary=primary,
        skipped=skipped,
        group_sizes={
            column: {group: len(rows) for group, rows in groups_of.items()}
            for column, groups_of in of_columns.items()
        },
        gaps=gaps,
        uncertainty=known,
        together=_together(module, members),
        predictions=predictions,
        attention=attention_sheets(
            tasks,
            maps,
            columns_of(predictions.iloc[drawn]),
            images,
            chosen.labels_at(drawn)["size"].numpy(),
        ),
        fingerprint=datamodule.fingerprint(),
    )


def columns_of(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """The columns of a table as arrays."""
    return {str(name): table[name].to_numpy() for name in table}


def _check(settings: Settings) -> None:
    if settings.split not in SPLITS:
        raise MtlfaceError(
            f"split={settings.split} is not known; expected one of {', '.join(SPLITS)}."
            f"{did_you_mean(settings.split, [*SPLITS])}"
        )
    check_samples(settings.samples)
    check_maps(settings.attention_maps)
    if not 0 < settings.coverage < 1:
        raise MtlfaceError(
            f"coverage={settings.coverage:g}: expected a share between 0 and 1, such as 0.9."
        )
    if settings.min_group < 1:
        raise MtlfaceError(f"min_group={settings.min_group}: expected 1 image or more.")


def _groups(table: FaceTable, split: Split, settings: Settings) -> dict[str, Groups]:
    """By column and group the positions of its images in a split."""
    found: dict[str, dict[str, NDArray[np.int64]]] = defaultdict(dict)
    for suffix, rows in groups(table, split.rows):
        column, _, group = suffix.partition("=")
        found[column][group] = rows
    of_columns: dict[str, Groups] = dict(found)
    for pair in settings.intersections:
        for column in pair:
            if column not in found:
                raise MtlfaceError(
                    f"intersections={'*'.join(pair)}: the data has no groups by {column}; it has "
                    f"{', '.join(found) or 'none'}.{did_you_mean(column, list(found))}"
                )
        of_columns["*".join(pair)] = crossed_groups(found, pair)
    return of_columns


def _by_group(
    module: MultiTaskModule, found: Predictions, of_columns: Mapping[str, Groups]
) -> dict[str, float]:
    return {
        f"{metric}@{column}={group}": value
        for column, groups_of in of_columns.items()
        for group, rows in groups_of.items()
        for metric, value in score(module, found, rows).items()
    }


def _together(module: MultiTaskModule, members: list[Predictions]) -> Together | None:
    if len(members) < 2:
        return None
    each = [score(module, member) for member in members]
    apart = {
        name: disagreement(task, [member.outputs[name] for member in members])
        for name, task in module.tasks.items()
    }
    return Together(
        members=len(members),
        mean={name: float(np.mean([scored[name] for scored in each])) for name in each[0]},
        disagreement={name: value for name, value in apart.items() if value is not None},
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
