"""Renders the three data sets and writes them in their native layouts as zip files."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterable
from functools import partial
from multiprocessing import Pool
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from .labels import CELEBA_ATTRIBUTES
from .photos import (
    CELEBA_ORDER,
    CELEBA_PHOTOS_PER_PERSON,
    FACECOM_PHOTOS_PER_PERSON,
    Record,
    Sample,
    render_agegender_person,
    render_celeba_person,
    render_facecom_person,
)

SPLIT_SHARES = (0.70, 0.85)
FIXED_DATE = (2024, 1, 1, 0, 0, 0)
LANDMARK_COLUMNS = (
    "lefteye_x",
    "lefteye_y",
    "righteye_x",
    "righteye_y",
    "nose_x",
    "nose_y",
    "leftmouth_x",
    "leftmouth_y",
    "rightmouth_x",
    "rightmouth_y",
)


class RenderPerson(Protocol):
    """Renders the photos of one person of a layout."""

    def __call__(self, identity: int, seed: int) -> list[Sample]:
        """Renders the person with the number `identity` of the pack with this seed."""


def _render_all(
    render_person: RenderPerson, people: int, seed: int, workers: int, title: str
) -> list[Sample]:
    """Renders all people of a layout, in order, with a progress bar."""
    samples: list[Sample] = []
    with Pool(workers) as pool:
        per_person = pool.imap(partial(render_person, seed=seed), range(people))
        for group in tqdm(per_person, total=people, desc=title, unit="person", mininterval=5):
            samples.extend(group)
    return samples


def _write_zip(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Writes files into a stored zip with fixed dates, so that equal content is equal bytes."""
    unfinished = path.with_suffix(".part")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files:
            entry = zipfile.ZipInfo(name, FIXED_DATE)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    unfinished.replace(path)


def _csv_bytes(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> bytes:
    """Encodes a table as CSV."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue().encode()


def _require_multiple(count: int, divisor: int, layout: str) -> int:
    """Checks a photo count and turns it into a count of people."""
    if count % divisor:
        raise ValueError(f"{layout}: {count} photos is not a multiple of {divisor}")
    return count // divisor


def write_celeba(folder: Path, photos: int, seed: int, workers: int) -> list[Record]:
    """Writes celeba.zip; identities are disjoint over the splits.

    Args:
        folder: Where the zip file goes.
        photos: Number of photos, a multiple of four.
        seed: Seed of the pack.
        workers: Number of processes.

    Returns:
        The records, with "image" and "partition" added.

    Raises:
        ValueError: If `photos` is not a multiple of four.
    """
    people = _require_multiple(photos, CELEBA_PHOTOS_PER_PERSON, "celeba")
    samples = _render_all(render_celeba_person, people, seed, workers, "celeba")
    ends = [round(share * people) for share in SPLIT_SHARES]
    partitions = np.digitize([sample.record["identity"] for sample in samples], ends)
    shuffled = np.random.default_rng([seed, CELEBA_ORDER]).permutation(len(samples))
    order = shuffled[np.argsort(partitions[shuffled], kind="stable")]
    records, files = [], []
    for number, index in enumerate(order, start=1):
        name = f"{number:06d}.jpg"
        partition = int(partitions[index])
        records.append({**samples[index].record, "image": name, "partition": partition})
        files.append((f"img_align_celeba/img_align_celeba/{name}", samples[index].jpeg))
    tables = {
        "list_attr_celeba.csv": _csv_bytes(
            ["image_id", *CELEBA_ATTRIBUTES],
            ([row["image"], *row["attributes"].values()] for row in records),
        ),
        "list_landmarks_align_celeba.csv": _csv_bytes(
            ["image_id", *LANDMARK_COLUMNS], ([row["image"], *row["landmarks"]] for row in records)
        ),
        "list_eval_partition.csv": _csv_bytes(
            ["image_id", "partition"], ([row["image"], row["partition"]] for row in records)
        ),
        "list_bbox_celeba.csv": _csv_bytes(
            ["image_id", "x_1", "y_1", "width", "height"],
            ([row["image"], *row["box"]] for row in records),
        ),
    }
    _write_zip(folder / "celeba.zip", [*tables.items(), *files])
    return records


def write_agegender(folder: Path, photos: int, seed: int, workers: int) -> list[Record]:
    """Writes agegender.zip in UTKFace's layout and returns the records.

    Args:
        folder: Where the zip file goes.
        photos: Number of photos, each of another person.
        seed: Seed of the pack.
        workers: Number of processes.
    """
    samples = _render_all(render_agegender_person, photos, seed, workers, "agegender")
    files = []
    for sample in samples:
        record = sample.record
        name = f"{record['age']}_{record['gender']}_{record['race']}_{record['stamp']}.jpg"
        files.append((f"UTKFace/{name}", sample.jpeg))
    _write_zip(folder / "agegender.zip", sorted(files))
    return [sample.record for sample in samples]


def write_facecom(folder: Path, photos: int, seed: int, workers: int) -> list[Record]:
    """Writes facecom.zip: the same people in all splits, photos in hard conditions.

    Args:
        folder: Where the zip file goes.
        photos: Number of photos, a multiple of twenty.
        seed: Seed of the pack.
        workers: Number of processes.

    Returns:
        The records, as in annotations.json.

    Raises:
        ValueError: If `photos` is not a multiple of twenty.
    """
    people = _require_multiple(photos, FACECOM_PHOTOS_PER_PERSON, "facecom")
    samples = _render_all(render_facecom_person, people, seed, workers, "facecom")
    records = [sample.record for sample in samples]
    annotations = json.dumps(records, indent=1).encode()
    files = [(f"images/{sample.record['image']}", sample.jpeg) for sample in samples]
    _write_zip(folder / "facecom.zip", [("annotations.json", annotations), *files])
    return records
