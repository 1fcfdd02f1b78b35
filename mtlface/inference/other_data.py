"""The data to measure a network on: its own, or any other that has its labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from mtlface.data.schema import Category, Label, Labels, Multilabel, Points
from mtlface.data.source import COMMON, OF_A_SOURCE, SHARED, source_sections
from mtlface.data.table import FaceTable
from mtlface.errors import MtlfaceError, did_you_mean
from mtlface.inference.network import Network
from mtlface.training.joined_data import with_joined_data
from mtlface.training.module import MultiTaskModule
from mtlface.training.own_runs import WHERE, data_places, is_own
from mtlface.training.places import NOT_KEPT, data_of_run
from mtlface.training.search_path import search_path
from mtlface.training.trusted import check_readers

# What belongs to the network or to the machine, and goes from its own data to any other.
FIXED = {"name", "reader", "image_size", "augment", "mix"}
KEPT = ("image_size", "batch_size", "cache")


def data_config(
    network: Network, name: str | None, overrides: Sequence[str], confs: Sequence[Path]
) -> DictConfig:
    """A run's config with the data to measure on.

    Args:
        network: The run's network, with its resolved config.
        name: An option of the config group `data`, one of the sources that the network learnt from,
            or a list of data sets; None or the run's own keep its data.
        overrides: `data.<key>=<value>` words.
        confs: The folder of the configs, and those of the user's own.

    Raises:
        MtlfaceError: There is no such data, it has no such key, or the run's own data is read by a
            module that is neither the user's own nor trusted.
    """
    config = _with_its_data(network)
    sections = source_sections(config.data)
    joined = "reader" not in config.data
    if name is not None and name != config.data.name and not (joined and name in sections):
        return _composed(config, name, overrides, confs)
    data: Any = OmegaConf.to_container(config.data, resolve=True)
    check_readers(data, network.trusted)
    changed = config.copy()
    if joined and name in sections:
        changed.data.update({"name": name, "mix": "proportional"})
        for key in sections.keys() - {name}:
            del changed.data[key]
    sections = source_sections(changed.data) if joined else {}
    known = sorted({*COMMON, *SHARED, *OF_A_SOURCE} & {*changed.data} - FIXED)
    for word in overrides:
        key = word.partition("=")[0]
        part = key.removeprefix("data.")
        section, _, inner = part.partition(".")
        own = section in sections and inner.split(".")[0] in {*OF_A_SOURCE} - FIXED
        if section not in known and not own:
            raise MtlfaceError(
                f"{key}= cannot be changed for a trained network's own data; expected one of "
                f"{', '.join(known)}.{did_you_mean(part, known)}"
            )
        try:
            OmegaConf.update(changed, key, OmegaConf.select(OmegaConf.from_dotlist([word]), key))
            OmegaConf.resolve(changed.data)
        except (OmegaConfBaseException, ValueError, YAMLError) as error:
            raise MtlfaceError(f"{word} cannot be read: {str(error).splitlines()[0]}") from error
    _check_places(changed.data, {word.partition("=")[0] for word in overrides})
    return changed


def _with_its_data(network: Network) -> DictConfig:
    """The run's config; with the paths of its data where its folder is at hand."""
    plain: Any = OmegaConf.to_container(network.config, resolve=True)
    data = data_of_run(network.run_folder, plain)
    if data is None:
        return network.config
    changed = network.config.copy()
    changed.data = {**data, "cache": plain["data"]["cache"]}
    return changed


def _check_places(data: DictConfig, given: set[str]) -> None:
    """Whether this user named where the data comes from, now or when training on it.

    Raises:
        MtlfaceError: Only the checkpoint names it: a stranger's must not make us read or fetch.
    """
    plain: Any = OmegaConf.to_container(data, resolve=True)
    for place, where in data_places(plain):
        section = place.removesuffix(" from")
        named = {f"{section}.{key}" for key in WHERE} | {f"data.{key}" for key in WHERE}
        demo = where["root"] is None and where["split"] is None and where["source"] == "demo"
        if demo or named & given or is_own(place, where):
            continue
        found = where["root"] or f"Kaggle's {where['kaggle']}"
        reason = (
            f"says that its data comes from {found}, and no run of yours on this machine took it "
            "from there"
        )
        if NOT_KEPT in (where["root"], where["split"]):
            reason = "keeps no path of its data, and the run's config.yaml is not in its folder"
        raise MtlfaceError(
            f"The checkpoint {reason}. Say where it is: {section}.root=<folder>, or "
            f"{section}.source=kaggle to fetch it, or measure on data=<name> of your own choice."
        )


def _composed(
    config: DictConfig, name: str, overrides: Sequence[str], confs: Sequence[Path]
) -> DictConfig:
    files = {path.stem: path for conf in confs for path in (conf / "data").glob("[!_]*.yaml")}
    known = sorted(files)
    for chosen in filter(None, re.split(r"[\[\], ]+", name)):
        if chosen not in known:
            raise MtlfaceError(
                f"data={chosen} is not known; expected one of {', '.join(known)}."
                f"{did_you_mean(chosen, known)} A config of your own is found in its folder: "
                "--config-dir=…."
            )
    # A network of several sources knows people with their source's name: it is measured on a join.
    joined = "reader" not in config.data and not name.startswith("[")
    choice = f"data=[{name}]" if joined and _has_reader(files[name]) else f"data={name}"
    words = [*with_joined_data([choice]), *overrides, *search_path(confs[1:])]
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(confs[0].absolute()), version_base="1.3"):
            other = compose("train", words)
            OmegaConf.resolve(other.data)
    except (HydraException, OmegaConfBaseException) as error:
        raise MtlfaceError(f"data={name}: {str(error).splitlines()[0]}") from error
    given = {word.partition("=")[0] for word in overrides}
    own = [section.get("source") for section in source_sections(config.data).values()]
    kept = {key: config.data[key] for key in KEPT} | {"source": config.data.source or own[0]}
    for key, value in kept.items():
        if f"data.{key}" not in given:
            other.data[key] = value
    changed = config.copy()
    changed.data, changed.augment = other.data, other.augment
    return changed


def _has_reader(path: Path) -> bool:
    """Whether an option of `data` is one data set and not a join."""
    found = OmegaConf.load(path)
    return isinstance(found, DictConfig) and "reader" in found


def fitted(table: FaceTable, module: MultiTaskModule) -> tuple[FaceTable, dict[str, str]]:
    """Tells the labels of any data as a network knows them, and drops tasks that it cannot test.

    Classes are matched by name: someone whom the network did not learn is missing, a condition
    that it did not meet is a further one.

    Args:
        table: The data.
        module: The network; tasks whose labels the data lacks are removed from it.

    Returns:
        The table, and for each removed task the reason.

    Raises:
        MtlfaceError: No task is left.
    """
    skipped: dict[str, str] = {}
    frame, labels = table.frame.copy(), dict(table.labels)
    for name, task in list(module.tasks.items()):
        if reason := _unfit(task.label, labels):
            skipped[name] = reason
            del module.tasks[name]  # type: ignore[attr-defined]
            continue
        wanted: list[tuple[Label | None, bool]] = [(task.label, True)]
        wanted += [(getattr(task, "conditions", None), False)]
        for label, closed in wanted:
            if isinstance(label, Category) and isinstance(labels.get(label.name), Category):
                there = labels[label.name]
                assert isinstance(there, Category)
                classes = label.classes + (
                    () if closed else tuple(c for c in there.classes if c not in label.classes)
                )
                frame[label.name] = _recoded(frame[label.name].to_numpy(), there.classes, classes)
                labels[label.name] = replace(there, classes=classes)
            elif isinstance(label, Multilabel):
                labels[label.name] = label  # its own attributes, whichever the data has besides
    if not module.tasks:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped.items())
        raise MtlfaceError(f"This data can test none of the network's tasks ({reasons}).")
    return replace(table, frame=frame, labels=Labels(labels.values())), skipped


def _unfit(label: Label, labels: dict[str, Label]) -> str | None:
    there = labels.get(label.name)
    if there is None or there.kind != label.kind:
        return f"the data has no {label.kind} label '{label.name}'"
    if isinstance(label, Points) and isinstance(there, Points) and label.names != there.names:
        return f"the data has the points {', '.join(there.names)}"
    if isinstance(label, Multilabel) and isinstance(there, Multilabel):
        absent = [name for name in label.names if name not in there.names]
        return f"the data lacks {', '.join(absent)}" if absent else None
    return None


def _recoded(codes: np.ndarray, old: tuple[str, ...], new: tuple[str, ...]) -> np.ndarray:
    position = {name: k for k, name in enumerate(new)}
    # The last entry is for −1, the missing label.
    table = np.array([*(position.get(name, -1) for name in old), -1], dtype=np.int64)
    recoded: np.ndarray = table[codes.astype(np.int64)]
    return recoded
