"""Predicts with a trained network: all heads in one pass, a row a picture.

    python -m mtlface.predict checkpoint=outputs/…/seed=0 images=photos

Keys:
  checkpoint=…     a run folder (its best epoch), a .ckpt file, or an exported bundle
  images=…         a picture, a folder, 'photos/*.jpg', a list (.txt, .csv), or several: a.jpg,b.jpg
  output=…         file or folder (default: predictions.csv here)
  format=…         csv | parquet | submission_agegender | submission_facecom
  annotate=true    also draw the predictions, into annotated/ beside the output
  crop=…           none: pictures are cut like the training data (default)
                   center: take the middle, in the sides' ratio of the training data
                   detect: find and align faces, one row per face, numbered from 1
  detector=…       yunet | centerface | a model file; default: the one that is in the cache, else
                   YuNet is downloaded (0.2 MB)
  min_score=…      the score from which on something is a face (YuNet 0.8, CenterFace 0.5)
  mc_samples=0     draws of the network's dropout, such as 30, that answer together; a column
                   age_std, … for each number
  coverage=…       0.8 | 0.9 | 0.95 | 0.99: also the region that holds the truth that often, as
                   validation says: age_low, age_high, gender_set, landmarks_radius
  batch_size=64    pictures at a time
  device=auto      auto | cpu | cuda | cuda:<n>
  trusted=…        packages of others whose objects the checkpoint may name: a,b
  debug=true       show the stack trace of an error

A picture that cannot be read, or has no face, is a row with the reason in its column `error`; the
exit code is 1 where all of them are such.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mtlface.arguments import names, one_of, parse, wants_help
from mtlface.door import guarded
from mtlface.errors import MtlfaceError

if TYPE_CHECKING:
    from mtlface.inference.images import Listed
    from mtlface.inference.predictor import Predictor
    from mtlface.inference.writers import Format


NOTHING_PREDICTED = 1


@dataclass
class Options:
    """What the command line may say."""

    checkpoint: str | None = None
    images: str | None = None
    output: str | None = None
    format: str = "csv"
    annotate: bool = False
    crop: str = "none"
    detector: str | None = None
    min_score: float | None = None
    mc_samples: int = 0
    coverage: float | None = None
    batch_size: int = 64
    device: str = "auto"
    trusted: str = ""
    debug: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the door; returns the exit code.

    Raises:
        MtlfaceError: The command line, the checkpoint or the pictures are not what they should be.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if wants_help(given):
        print(__doc__)
        return 0
    required = {"checkpoint": "outputs/…/seed=0", "images": "photos"}
    options = parse("predict", Options, given, required)
    # Before torch is imported: a wrong path is said at once.
    from mtlface.inference.images import list_images

    images = list_images(str(options.images))
    from mtlface.inference.network import open_network
    from mtlface.inference.predictor import Predictor
    from mtlface.inference.writers import FORMATS

    kind = FORMATS[one_of("format", options.format, [*FORMATS])]
    if kind.convert is not None and options.crop == "detect":
        raise MtlfaceError(
            f"format={options.format} has a row a picture, crop=detect a row a face. Take "
            "crop=none or crop=center."
        )
    output = _output(options, kind)
    network = open_network(str(options.checkpoint), options.device, names(options.trusted))
    predictor = Predictor(
        network,
        options.crop,
        options.detector,
        options.batch_size,
        options.min_score,
        options.mc_samples,
        options.coverage,
    )
    rows, failed = write_predictions(predictor, images, output, kind, options.annotate)
    print(f"{rows:,} rows: {output}")
    if failed:
        print(f"{failed:,} of them without a prediction; the column `error` says why.")
    return NOTHING_PREDICTED if failed == rows else 0


def write_predictions(
    predictor: Predictor, images: Listed, output: Path, kind: Format, annotate: bool
) -> tuple[int, int]:
    """Predicts and writes part by part; returns the rows, and how many have an error.

    Raises:
        MtlfaceError: The output cannot be written, or the network lacks what the format needs.
    """
    from tqdm import tqdm

    from mtlface.inference.annotate import annotate_part, new_pictures
    from mtlface.inference.writers import table_writer

    tasks = list(predictor.network.module.tasks.values())
    empty = predictor.template
    template = empty if kind.convert is None else kind.convert(empty, [])
    rows = failed = done = 0
    with (
        table_writer(output, kind, template) as write,
        tqdm(total=len(images), unit=" pictures", disable=None) as bar,
    ):
        for part in predictor.stream(zip(images.names, images.paths, strict=True)):
            count = int(new_pictures(part).sum())
            here = slice(done, done + count)
            write(part if kind.convert is None else kind.convert(part, images.ids[here]))
            if annotate:
                annotate_part(part, images.paths[here], tasks, output.parent / "annotated", done)
            rows, done = rows + len(part), done + count
            failed += int(part["error"].notna().sum())
            bar.update(count)
    return rows, failed


def _output(options: Options, kind: Format) -> Path:
    """The file to write, which is never one that somebody would miss."""
    name = "predictions" if kind.convert is None else "submission"
    path = Path(options.output or ".").expanduser()
    if path.is_dir() or not path.suffix:
        path /= f"{name}{kind.suffix}"
    if path.suffix.lower() != kind.suffix:
        raise MtlfaceError(
            f"output={path} ends in {path.suffix}, but format={options.format} writes "
            f"{kind.suffix}. Give output=….{kind.suffix.lstrip('.')}, or a folder that is there."
        )
    if path.resolve() == Path(str(options.images)).expanduser().resolve():
        raise MtlfaceError(f"output={path} is the list of the pictures. Give another file.")
    return path


if __name__ == "__main__":
    guarded(main)
