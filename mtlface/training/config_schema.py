"""What every value of the config may be, checked at composition, before any library sees it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from hydra.utils import instantiate
from omegaconf import MISSING, DictConfig, OmegaConf

from mtlface.data.augment import Augment
from mtlface.data.draws import check_choice
from mtlface.data.mix import source_weights
from mtlface.data.settings import LARGEST_SEED, check_settings
from mtlface.data.settings import RULES as DATA
from mtlface.data.source import (
    COMMON,
    OF_A_SOURCE,
    SHARED,
    source_sections,
    source_settings,
)
from mtlface.data.split_file import check_split
from mtlface.errors import MtlfaceError, did_you_mean
from mtlface.training.sharing import SHARING
from mtlface.training.trained_files import check_start
from mtlface.training.unwrapped import unwrapped
from mtlface.values import (
    Rule,
    choice,
    either,
    fixed,
    flag,
    mapping,
    name,
    names_below,
    number,
    optional,
    path,
    several,
    shown,
    target,
    text,
    whole,
)

MATCHES = ("steps", "images", "flops")

# Weights in half precision would take the heads, the losses and BatchNorm along.
PRECISIONS = ("auto", "native", "32-true", "bf16-mixed", "16-mixed")
ALIASES = ("32", "bf16", "16")  # Lightning's

VALIDATES = (
    "mtlface validates once after every epoch, for the best epoch, early stopping and the "
    "learning curves are made of that. Leave it out; a quick trial is profile=smoke, and "
    "data.limit makes validation cheaper."
)
HALF = (
    "The trunk may compute in half precision; its weights, the heads and the losses are float32. "
    "For a fast trunk take trainer.precision=bf16-mixed."
)
EPOCHS = "A trial of the configuration is profile=smoke, with one epoch."
FRAME = "mtlface itself shares batches out, and counts each image once. Leave it out."

positive, share = number(0.0, above=True, example=0.001), number(0.0, 1.0)
OF_A_RUN = "the path of a run folder, a .ckpt file or a bundle"
weights = optional(either(flag(), path(f"the path of a state dict, or {OF_A_RUN}")))
some = optional(either(whole(1), number(0.0, 1.0, above=True)))  # batches, or a share of them


def _of_search(*keys: str) -> Rule:
    return Rule(
        "null, or what a search writes here",
        lambda value: value is None or (isinstance(value, Mapping) and value.keys() == {*keys}),
        "null",
        "Leave it out; a search is tune=default.",
    )


RULES: dict[str, Rule] = {
    "name": name("my_arm"),
    "label": optional(text(example="Ours")),
    "arm": name("my_arm"),
    "only": optional(text()),
    "twins": flag(),
    "match": optional(choice(*MATCHES)),
    "group": names_below("my_study"),
    "seed": whole(0, LARGEST_SEED),
    "outputs": path("a folder's path", "outputs"),
    "pretrained": weights,
    "init": optional(path(OF_A_RUN, "outputs/<run>/seed=0")),
    "extend": flag(),
    "compile": flag(),
    "sharing": SHARING,
    "patience": optional(whole(0, example=10)),
    "references": mapping(optional(text()), "{gender: celeba_gender}"),
    "figures": flag(),
    "watch.every_n_steps": whole(0, example=50),
    "effects": mapping(either(number(0.0), text(example="2%")), "{gender: 0.01}"),
    "grids": Rule(
        "a list of a sweep's choices",
        lambda value: isinstance(value, list) and all(isinstance(v, Mapping) for v in value),
        "[{balancing: 'fixed,upgrad'}]",
    ),
    "tune.trials": whole(1, example=20),
    "tune.seed": whole(0, LARGEST_SEED, example=1000),
    "tune.prune": optional(
        Rule(
            "after_trials and after_epochs, whole numbers",
            lambda value: (
                isinstance(value, Mapping)
                and value.keys() == {"after_trials", "after_epochs"}
                and all(type(number) is int and number >= 0 for number in value.values())
            ),
            "null",
        )
    ),
    "tune.space": Rule(
        "keys, each with a range or choices",
        lambda value: isinstance(value, Mapping),
        "{optimizer.lr: {low: 1e-4, high: 1e-2, log: true}}",
    ),
    "tuned": _of_search("trials", "search", "keys"),
    "trial": _of_search("journal", "study", "number", "prune"),
    "transfer.tasks": several(text(example="gender")),
    "transfer.largest": whole(1, example=2),
    "debug": flag(),
    "demo_epochs": optional(whole(1, example=8)),
    "demo_lr": optional(positive),
    **{f"{place}.{key}": rule for place in ("data", "data.*") for key, rule in DATA.items()},
    "tasks.*.label": text(),
    "tasks.*.weight": number(0.0, example=1.0),
    "tasks.*.primary": optional(text(example="accuracy")),
    "tasks.*.start_at_mean": flag(),
    "tasks.*.per_attribute": flag(),
    "tasks.*.class_weights": optional(choice("balanced")),
    "tasks.*.top_k": whole(2, example=3),
    "tasks.*.logits": whole(1, 2),
    "tasks.*.embedding": optional(whole(1, example=512)),
    "tasks.*.loss_size": optional(several(number(0.0, above=True, example=178), 2, 2)),
    "tasks.*.image_side": optional(number(0.0, above=True, example=224)),
    "tasks.*.eyes": optional(several(either(text(example="left_eye"), whole(0)), 2, 2)),
    "tasks.*.head.hidden": whole(1, 2**20, example=256),
    "tasks.*.head.dropout": share,
    "tasks.*.loss.reduction": fixed(
        "none", "mtlface takes the mean over the labels that are known."
    ),
    "tasks.*.loss.width": positive,
    "tasks.*.loss.curvature": positive,
    "tasks.*.loss.sigma": number(0.0, above=True, example=2.0),
    "tasks.*.loss.mean_weight": number(0.0, example=0.2),
    "tasks.*.loss.variance_weight": number(0.0, example=0.05),
    "tasks.*.margin.margin": number(0.0, example=28.6),
    "tasks.*.margin.scale": number(0.0, above=True, example=64),
    "backbone.name": text("a model's name", "resnet18"),
    "backbone.pretrained": weights,
    "backbone.weights": optional(text("the name of torchvision's weights", "IMAGENET1K_V1")),
    "backbone.attention": optional(text("an attn_layer of timm", "cbam")),
    "finetune.frozen_epochs": optional(whole(0, example=5)),
    "finetune.unfrozen_lr": optional(positive),
    "finetune.batchnorm_eval": flag(),
    "two_phase.frozen_epochs": optional(whole(0, example=5)),
    "two_phase.unfrozen_lr": optional(positive),
    "balancing.level": choice("features", "parameters"),
    "balancing.**.lr": positive,
    "balancing.**.alpha": number(0.0, example=1.5),
    "balancing.**.beta": share,
    "balancing.**.c": number(0.0),
    "balancing.**.max_norm": number(0.0, example=1.0),
    "balancing.**.mu": positive,
    "balancing.**.n_warmup_steps": whole(0),
    "balancing.**.robust_step_size": positive,
    "balancing.**.scale_mode": choice("min", "median", "rmse"),
    "balancing.**.tau": share,
    "balancing.**.temperature": positive,
    "balancing.**.weight_decay": number(0.0, example=0.001),
    "optimizer.lr": positive,
    "optimizer.weight_decay": number(0.0, example=0.0001),
    "optimizer.momentum": share,
    "optimizer.nesterov": flag(),
    "optimizer.fused": optional(flag()),
    "optimizer.amsgrad": flag(),
    "optimizer.eps": positive,
    "optimizer.betas": several(share, 2, 2),
    "schedule.interval": choice("epoch", "step"),
    "schedule.horizon": optional(text(example="T_max")),
    "schedule.direction": optional(text(example="mode")),
    "schedule.scheduler.factor": number(0.0, 1.0, above=True),
    "schedule.scheduler.patience": whole(0, example=5),
    "schedule.scheduler.max_lr": positive,
    "monitor.name": text(example="val/skill"),
    "monitor.mode": optional(choice("min", "max")),
    "scores.*.higher_is_better": flag(),
    "scores.*.metrics": mapping(text(example="age/rmse"), "{age_rmse: age/rmse}"),
    "logger.*.project": names_below("my_study"),
    "logger.*.experiment_name": names_below("my_study"),
    "logger.*.mode": choice("offline", "online", "disabled"),
    "logger.*.tracking_uri": optional(text("a server's address", "http://localhost:5000")),
    "logger.*.space_id": optional(text("a Space", "user/name")),
    "trainer._target_": fixed("lightning.Trainer", "Leave it out."),
    "trainer.accelerator": choice("auto", "cpu", "gpu", "cuda", "mps", "tpu", "hpu", "xpu"),
    "trainer.devices": either(
        whole(1), whole(-1, -1), several(whole(0), 1), choice("auto"), text("their numbers", "0,1")
    ),
    "trainer.num_nodes": whole(1),
    "trainer.strategy": text("a strategy of Lightning's", "ddp"),
    "trainer.precision": Rule(
        f"one of {', '.join(PRECISIONS)}",
        lambda value: isinstance(value, str | int) and str(value) in (*PRECISIONS, *ALIASES),
        "auto",
        HALF,
    ),
    "trainer.max_epochs": whole(1, example=50, fix=EPOCHS),
    "trainer.max_steps": whole(-1),
    "trainer.accumulate_grad_batches": whole(1),
    "trainer.benchmark": optional(flag()),
    "trainer.deterministic": optional(either(flag(), choice("warn"))),
    "trainer.gradient_clip_val": optional(number(0.0, example=1.0)),
    "trainer.log_every_n_steps": whole(1, example=50),
    "trainer.num_sanity_val_steps": whole(-1, example=0),
    "trainer.use_distributed_sampler": fixed(False, FRAME),
    "trainer.enable_model_summary": flag(),
    "trainer.enable_progress_bar": flag(),
    "trainer.limit_train_batches": some,
    "trainer.limit_val_batches": Rule(some.expected, some.fits, "1.0", VALIDATES),
    "trainer.limit_test_batches": some,
    "trainer.check_val_every_n_epoch": fixed(1, VALIDATES),
    "trainer.val_check_interval": Rule(
        "1.0",
        lambda value: value is None or (value == 1 and type(value) is float),
        "1.0",
        VALIDATES,
    ),
    "trainer.fast_dev_run": fixed(False, VALIDATES),
    "**._target_": target(),
    "**._partial_": fixed(True, "What it names is built later, with more arguments."),
}
"""By key; `*` stands for any one name, `**` for any number of them. The first that matches holds.

`augment` and `data.split`, `limit`, `draw` and `mix` are checked as a whole by the code that takes
them; other keys without a rule are settings of objects that have their own checks.
"""

SECTIONS = ("data", "backbone", "finetune", "augment", "balancing", "optimizer", "monitor",
            "trainer", "watch")  # fmt: skip
TOP = (
    *SECTIONS, "name", "label", "arm", "only", "twins", "match", "group", "seed", "outputs",
    "pretrained", "init", "extend", "sharing", "compile", "patience", "effects", "scores",
    "references", "figures", "grids", "transfer", "tune", "tuned", "trial", "debug", "logger",
    "tasks", "schedule", "two_phase", "demo_epochs", "demo_lr",
)  # fmt: skip
"""Everything that a config may have at its top, besides Hydra's own section."""

REQUIRED = (
    "name", "label", "effects", "arm", "only", "group", "seed", "outputs", "sharing", "compile",
    "patience", "scores", "references", "figures", "debug", "schedule", "watch.every_n_steps",
    "monitor.name", "finetune.frozen_epochs", "optimizer._target_", "optimizer._partial_",
    "backbone._target_", "balancing._target_", "augment._target_", "trainer._target_",
    "trainer.accelerator", "trainer.devices", "trainer.precision", "trainer.max_epochs",
    "trainer.log_every_n_steps", "data.name", *(f"data.{key}" for key in COMMON),
)  # fmt: skip
"""Keys that the code reads; `~key` on the command line takes one away."""


def check_values(cfg: DictConfig) -> None:
    """Checks every value of a composed config.

    Raises:
        MtlfaceError: A value is not possible; the key, the value, and what was expected are named.
    """
    own = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    _check_read(OmegaConf.to_container(own, resolve=False))
    plain: Any = OmegaConf.to_container(own, resolve=True)
    _check_sections(plain)
    for key, value in leaves(plain):
        if value == MISSING:
            raise MtlfaceError(f"{key} is ???, which says that it has to be set: {key}=….")
        if (rule := rule_of(key)) is not None:
            rule.check(key, value)
    check_start(plain)
    _check_outputs(Path(plain["outputs"]))
    with unwrapped("augment"):
        augment = instantiate(plain["augment"])
    _check_data(plain["data"], augment if isinstance(augment, Augment) else Augment())


def _check_read(raw: Any) -> None:
    """Whether something reads each key at the top: mtlface, or another value as ${key}."""
    text = yaml.safe_dump(raw)
    for key in raw:
        if key not in TOP and not re.search(r"\$\{(oc\.select:)?" + re.escape(key) + r"\b", text):
            raise MtlfaceError(
                f"{key} is a key that nothing reads.{did_you_mean(str(key), [*TOP])} Leave it out; "
                "a value of your own that others take as ${" + str(key) + "} may stay."
            )


def check_value(key: str, value: Any) -> None:
    """Checks the value of one key.

    Raises:
        MtlfaceError: It is not possible.
    """
    if (rule := rule_of(key)) is not None:
        rule.check(key, value)


def rule_of(key: str) -> Rule | None:
    """The rule of a dotted key, None where its object checks it."""
    return next((rule for known, rule in _PATTERNS if known.fullmatch(key)), None)


def leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a config by its dotted key; one that has a rule of its own is not entered."""
    for key, item in value.items():
        place = f"{prefix}{key}"
        if isinstance(item, Mapping) and rule_of(place) is None:
            yield from leaves(item, f"{place}.")
        else:
            yield place, item


def pattern(key: str) -> re.Pattern[str]:
    """A key with `*` for any one name and `**` for any number of them, as an expression."""
    any_depth = re.escape(key).replace(r"\*\*\.", r"(.+\.)?")
    return re.compile(any_depth.replace(r"\*", "[^.]+"))


_PATTERNS = [(pattern(key), rule) for key, rule in RULES.items()]


def _check_sections(plain: Mapping[str, Any]) -> None:
    for key in SECTIONS:
        _require_section(plain, key)
    for key in REQUIRED:
        section, _, last = key.rpartition(".")
        if last not in (plain[section] if section else plain):
            raise MtlfaceError(
                f"The config has no {key}, which every run needs. Leave out ~{key}, or write it "
                "again."
            )
    for key in ("tasks", "scores", "schedule", "logger"):
        found = plain.get(key)
        absent = key != "scores" and found is None
        if not absent and not isinstance(found, Mapping):
            raise MtlfaceError(
                f"{key}={shown(found)}: expected a section of settings. Leave it out, or change "
                f"its single settings, such as {key}.<setting>=<value>."
            )
    for logger, settings in (plain.get("logger") or {}).items():
        if not isinstance(settings, Mapping) or "_target_" not in settings:
            raise MtlfaceError(
                f"logger.{logger}={shown(settings)}: expected a logger's section. Choose loggers "
                "with logger=[…], such as logger=[tensorboard,csv]."
            )
    for task, settings in (plain.get("tasks") or {}).items():
        name().check("a task's name", task)
        if not isinstance(settings, Mapping):
            raise MtlfaceError(
                f"tasks.{task}={shown(settings)}: expected a section of settings. Choose tasks "
                "with task=[…], and drop one with '~tasks.<name>'."
            )
        if "_target_" not in settings:
            raise MtlfaceError(
                f"tasks.{task} has settings, but is not among the chosen tasks. Add it to "
                f"task=[…], or drop its settings with '~tasks.{task}'."
            )
        for part in ("head", *({"loss", "margin"} & settings.keys())):
            if part == "head" or settings[part] is not None:
                _require_named(f"tasks.{task}.{part}", settings.get(part))
        _require_partial(f"tasks.{task}.head", settings["head"])
        _require_partial(f"tasks.{task}.margin", settings.get("margin"))
    schedule = plain.get("schedule") or {}
    for place in [] if not schedule else ["schedule", "schedule.scheduler"]:
        _require_named(place, schedule if place == "schedule" else schedule.get("scheduler"))
    _require_partial("schedule.scheduler", schedule.get("scheduler"))


def _check_data(data: Mapping[str, Any], augment: Augment) -> None:
    """The settings of each data set, and how they are joined."""
    sections = source_sections(data)
    whole_ones = (
        {"data": data} if "reader" in data else {f"data.{k}": v for k, v in sections.items()}
    )
    needed: list[tuple[str, Mapping[str, Any], Sequence[str]]] = []
    needed += [("data", data, SHARED)] if "reader" not in data else []
    needed += [(place, section, OF_A_SOURCE) for place, section in whole_ones.items()]
    for place, section, keys in needed:
        if absent := [key for key in keys if key not in section]:
            raise MtlfaceError(
                f"The config has no {place}.{absent[0]}, which every run needs. Leave out "
                f"~{place}.{absent[0]}, or write it again."
            )
    for place, section in whole_ones.items():
        if not isinstance(section["reader"], Mapping) or "_target_" not in section["reader"]:
            raise MtlfaceError(
                f"{place}.reader={shown(section['reader'])}: expected a section that names the "
                "reader's _target_. Choose a data set with data=<option>."
            )
    if not whole_ones:
        raise MtlfaceError("data has no reader. Choose a data set with data=<option>.")
    if "reader" not in data:
        source_weights(data["mix"] or "proportional", [str(s["name"]) for s in sections.values()])
    for settings in source_settings(data):
        check_choice(settings["limit"], settings["draw"])
        if settings["split"] is not None:
            check_split(settings["split"])
    check_settings(data, augment)


def _require_section(plain: Mapping[str, Any], key: str) -> None:
    found = plain.get(key)
    if not isinstance(found, Mapping):
        what = f"{key}={shown(found)}" if key in plain else f"The config has no {key}"
        raise MtlfaceError(
            f"{what}: expected a section of settings. Leave out what takes it away, or choose one "
            f"with {key}=<option>; python -m mtlface.train --help lists them."
        )


def _require_named(place: str, found: Any) -> None:
    """That an object can be built at this place of the config."""
    if not isinstance(found, Mapping) or "_target_" not in found:
        raise MtlfaceError(
            f"{place} is {'missing' if found is None else shown(found)}: expected a section that "
            f"names its _target_. Leave out what changes it, or write {place}._target_=…."
        )


def _require_partial(place: str, found: Any) -> None:
    if isinstance(found, Mapping) and "_partial_" not in found:
        raise MtlfaceError(
            f"{place} has no _partial_: true. What it names is built later, with more arguments: "
            "write it again."
        )


def _check_outputs(outputs: Path) -> None:
    """That run folders can be made there: what is on the way is no file."""
    try:
        files = [place for place in (outputs, *outputs.parents) if place.is_file()]
    except OSError as error:
        raise MtlfaceError(
            f"outputs={shown(str(outputs), 300)}: no folder can be made there ({error.strerror}). "
            "Give another outputs=…."
        ) from error
    if files:
        raise MtlfaceError(
            f"outputs={shown(str(outputs), 300)}: expected a folder, found the file "
            f"{shown(str(files[0]), 300)}. Give another outputs=…."
        )
