"""What a run is: its config without where it ran and how fast.

The fingerprint of a run, the name of its arm and the difference between two arms all come from
here. Where data lies is no part of it: data enters by content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mtlface.data.reading import contents_of
from mtlface.data.source import source_sections
from mtlface.errors import MtlfaceError
from mtlface.training.result import read_result
from mtlface.training.sharing import SHARED_WHOLE, canonical_sharing
from mtlface.training.trained_files import find_checkpoint, start_of

Identity = dict[str, Any]

# Keys that change neither what is learnt nor what is measured, with the reason.
NOT_IDENTITY = {
    "where results go and what they are called": (
        "outputs", "group", "name", "label", "arm", "debug", "figures", "references",
    ),
    "what comparisons take for a difference that matters": ("effects",),
    "how a run begins that goes on from a shorter one": ("extend",),
    "how a sweep is planned": ("grids", "transfer", "twins", "only", "tune", "tuned", "trial"),
    "only reaches a run through other keys": ("demo_epochs", "demo_lr", "two_phase", "pretrained"),
    "looks and logs": (
        "watch", "logger", "trainer.log_every_n_steps", "trainer.enable_progress_bar",
        "trainer.enable_model_summary", "trainer.num_sanity_val_steps",
    ),
    "where it runs and how fast": (
        "compile", "trainer.accelerator", "trainer.devices", "trainer.strategy",
        "trainer.num_nodes", "trainer.benchmark",
    ),
    "where the data comes from; its content counts": (
        "data.name", "data.root", "data.source", "data.kaggle", "data.demo", "data.cache",
        "data.workers", "data.loader", "data.terms", "data.on_bad_image", "data.max_bad_fraction",
    ),
}  # fmt: skip
FILES = ("pretrained", "init", "split", "file")  # whose values may be paths; they count by content
STARTS = ("pretrained", "init")  # which take the folder of a run or of a bundle, too
EXCLUDED = frozenset(key for keys in NOT_IDENTITY.values() for key in keys)


@dataclass(frozen=True)
class RunId:
    """One run: what it is, and where its data is to be read.

    Attributes:
        identity: What the run is.
        data: The resolved section `data` of its config.
        extend: Whether it may be a shorter run that went on.
    """

    identity: Identity
    data: Mapping[str, Any]
    extend: bool = False

    @classmethod
    def of(cls, cfg: DictConfig) -> RunId:
        """The run of a composed config that is cut to its tasks."""
        data: Any = OmegaConf.to_container(cfg.data, resolve=True)
        return cls(identity(cfg), data, bool(cfg.get("extend")))

    def extended(self, at: Iterable[int]) -> RunId:
        """The run whose schedule became that of more epochs at the start of these epochs.

        It is another one than a run of so many epochs from the start, and no other without them.
        """
        found = {key: value for key, value in self.identity.items() if key != "extended_at"}
        return replace(self, identity=found | ({"extended_at": [*at]} if [*at] else {}))

    def goes_by(self, known: str | None, extended_at: Iterable[int] | None) -> bool:
        """Whether a fingerprint is this run's, or with `extend` that of a shorter one that went on.

        Args:
            known: The fingerprint that a result or a checkpoint has.
            extended_at: Where it says that the run was extended.
        """
        if known == self.fingerprint:
            return True
        return self.extend and known == self.extended(extended_at or ()).fingerprint

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the identity."""
        return fingerprint(self.identity)

    @property
    def contents(self) -> dict[str, str | None]:
        """The fingerprint of each source as it is now; None where that cannot be known."""
        return contents_of(self.data, self.identity["seed"])

    def result_in(self, folder: Path) -> dict[str, Any] | None:
        """The result in a run folder, if it is of this run on this data: the run is done.

        A run whose data cannot be read any more stays done.
        """
        result = read_result(folder / "result.json")
        if result is None:
            return None
        config = result.get("config") or {}
        if not self.goes_by(result.get("identity"), config.get("extended_at")):
            return None
        return result if self.same_data(result) else None

    def same_data(self, result: Mapping[str, Any]) -> bool:
        """Whether a result is of the data as it is now, as far as that can be known."""
        used = {n: source.get("fingerprint") for n, source in result.get("trained_on", {}).items()}
        return not used or all(
            found in (None, used.get(name)) for name, found in self.contents.items()
        )


def identity(cfg: DictConfig) -> Identity:
    """What a run is, as plain data: equal for two spellings of one configuration.

    Args:
        cfg: The composed config, or one that was read from a run folder or a checkpoint.
    """
    own = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    plain: Any = OmegaConf.to_container(own, resolve=True)
    data = plain.get("data") or {}
    joined = source_sections(data).values() if "reader" not in data else ()
    start, backbone = start_of(plain), plain.get("backbone") or {}
    unread = start is not None and start.key == "pretrained" and "pretrained" not in backbone
    for key in EXCLUDED:
        if key == "pretrained" and unread:
            continue  # a trunk of the user's own takes no path, but the earlier run's weights
        parent, _, last = key.rpartition(".")
        section = plain.get(parent) if parent else plain
        for part in (section, *(joined if parent == "data" else ())):
            if isinstance(part, dict):
                part.pop(last, None)
    tasks = plain.get("tasks") or {}
    if len(tasks) == 1 and not any(task.get("per_attribute") for task in tasks.values()):
        plain.pop("balancing", None)  # a single loss has nothing to be balanced with
    sharing = canonical_sharing(plain.pop("sharing", None) or SHARED_WHOLE)
    if len(tasks) > 1 and sharing != SHARED_WHOLE:  # a single task shares with nobody
        plain["sharing"] = sharing
    plain["scores"] = {
        name: score
        for name, score in (plain.get("scores") or {}).items()
        if all(metric.partition("/")[0] in tasks for metric in score.get("metrics", {}).values())
    }
    found: Identity = canonical(plain)
    return found


def canonical(value: Any) -> Any:
    """One spelling of each value: 1 for 1.0, no keys that are null or empty, files by content."""
    if isinstance(value, Mapping):
        items = {str(key): canonical(by_content(key, item)) for key, item in value.items()}
        return {key: items[key] for key in sorted(items) if items[key] not in (None, {}, [])}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def fingerprint(found: Identity) -> str:
    """16 hexadecimal digits of an identity."""
    text = json.dumps(found, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def difference(
    one: Identity, other: Identity, ignored: Iterable[str] = ()
) -> dict[str, tuple[Any, Any]]:
    """The keys in which two identities differ, each with both values; None where one lacks it.

    Args:
        one: An identity.
        other: Another one.
        ignored: Keys that may differ; a key stands for all below it.
    """
    flat, others = flattened(one), flattened(other)
    dropped = tuple(ignored)
    return {
        key: (flat.get(key), others.get(key))
        for key in sorted(flat.keys() | others.keys())
        if flat.get(key) != others.get(key)
        and not any(key == drop or key.startswith(f"{drop}.") for drop in dropped)
    }


def flattened(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted keys; a list is one value."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            flat |= flattened(item, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = item
    return flat


def by_content(key: Any, value: Any) -> Any:
    """The digest of a file whose content counts, and not where it lies; any other value itself."""
    path = Path(value).expanduser() if key in FILES and isinstance(value, str) else None
    if path is not None and key in STARTS and path.is_dir():
        with suppress(MtlfaceError):  # it is said when the values are checked
            path = find_checkpoint(path)
    return value if path is None or not path.is_file() else content_hash(path)


def content_hash(path: Path) -> str:
    """The content of a file in 16 hexadecimal digits of its SHA-256, after `sha256:`."""
    stat = path.stat()
    return _digest(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _digest(path: Path, size: int, modified: int) -> str:
    """The file's content in 16 digits; size and time are there to notice that it has changed."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"
