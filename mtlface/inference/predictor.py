"""A trained network as one call: pictures in, a table in human units out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from PIL import Image

from mtlface.errors import MtlfaceError
from mtlface.inference.crops import cutter
from mtlface.inference.images import list_images
from mtlface.inference.members import check_samples, dropout_drawn
from mtlface.inference.network import Network
from mtlface.inference.piece import Piece
from mtlface.inference.prepare import Prepared, Source, prepare_all
from mtlface.inference.uncertainty import spreads

BATCH_SIZE = 64
BOX_COLUMNS = ("box_x", "box_y", "box_width", "box_height")
FACE_COLUMNS = ("face", *BOX_COLUMNS, "face_score")


class Settings(NamedTuple):
    """How a predictor cuts images and how many pieces it takes at a time; see `Predictor`."""

    crop: str
    detector: str | None
    batch_size: int
    min_score: float | None
    mc_samples: int = 0
    coverage: float | None = None


class Predictor:
    """All heads of a network in one pass.

    Args:
        network: The network.
        crop: `none` stretches the whole picture, as training does; `center` takes the largest part
            with the sides' ratio of the training pictures; `detect` finds and aligns faces.
        detector: For `detect`: `yunet`, `centerface`, or the path of a model file; None takes the
            first that is here, else downloads YuNet.
        min_score: For `detect`: the score from which on something is a face; None: the
            detector's own, 0.8 for YuNet and 0.5 for CenterFace.
        batch_size: Pieces at a time.
        mc_samples: Draws of the network's dropout that answer together, with a `…_std` for each
            number; 0 for none.
        coverage: Also say regions that hold the truth for this share of images like those of
            validation (`age_low`, `age_high`, `gender_set`, `landmarks_radius`); None: no regions.

    Raises:
        MtlfaceError: The crop is unknown, there is no detector, the batch size is not positive, the
            network has no dropout, or its run does not say the regions of this coverage.
    """

    def __init__(
        self,
        network: Network,
        crop: str = "none",
        detector: str | None = None,
        batch_size: int = BATCH_SIZE,
        min_score: float | None = None,
        mc_samples: int = 0,
        coverage: float | None = None,
    ) -> None:
        if batch_size < 1:
            raise MtlfaceError(f"batch_size={batch_size}; expected a positive number.")
        check_samples(mc_samples)
        self.network, self.batch_size = network, batch_size
        self._quantiles = {} if coverage is None else quantiles_of(network, coverage)
        self.by_face = crop == "detect"
        self._cut = cutter(crop, network.config, detector, min_score, network.trusted)
        self._settings = Settings(crop, detector, batch_size, min_score, mc_samples, coverage)
        self._others: dict[Settings, Predictor] = {}
        black = np.zeros((*network.frame, 3), dtype=np.uint8)
        self._empty = self._answers([Piece(black, network.frame[::-1])]).iloc[:0]

    def predict(
        self,
        images: str | Path | Image.Image | np.ndarray | Sequence[Source],
        crop: str | None = None,
        detector: str | None = None,
        batch_size: int | None = None,
        min_score: float | None = None,
    ) -> pd.DataFrame:
        """Predicts, in the order given.

        Args:
            images: A path, a folder, a pattern or a list file, as on the command line; a picture
                (PIL, or uint8 (H, W, 3) in RGB); or a sequence of paths and pictures.
            crop: As for `Predictor`; None: this predictor's own. A detector is loaded once and
                kept.
            detector: As for `Predictor`; None: this predictor's own, if it crops in this way.
            batch_size: Pieces at a time; None: this predictor's own.
            min_score: As for `Predictor`; None: this predictor's own, if it crops in this way.

        Returns:
            A row a picture, or with `detect` a row a face: `image` (the path, or the position of a
            picture in memory), the predictions in human units, and `error`, which is None unless
            a picture could not be used.

        Raises:
            MtlfaceError: There are no such pictures, or a setting is not possible.
        """
        predictor = self._with(crop, detector, batch_size, min_score)
        parts = list(predictor.stream(_named(images)))
        if not parts:
            return predictor.template
        return pd.concat(parts, ignore_index=True)

    def _with(
        self,
        crop: str | None,
        detector: str | None,
        batch_size: int | None,
        min_score: float | None,
    ) -> Predictor:
        own = self._settings
        if crop is None or crop == own.crop:
            detector = own.detector if detector is None else detector
            min_score = own.min_score if min_score is None else min_score
        size = own.batch_size if batch_size is None else batch_size
        chosen = Settings(
            own.crop if crop is None else crop,
            detector,
            size,
            min_score,
            own.mc_samples,
            own.coverage,
        )
        if chosen == self._settings:
            return self
        if chosen not in self._others:
            self._others[chosen] = Predictor(self.network, *chosen)
        return self._others[chosen]

    @property
    def template(self) -> pd.DataFrame:
        """The table without rows: which columns it has, and of what type."""
        return self._table([])

    def stream(self, pictures: Iterable[tuple[str, Source]]) -> Iterator[pd.DataFrame]:
        """Predicts in parts, so that memory does not grow with the number of pictures.

        Args:
            pictures: A name and a source each.
        """
        waiting: list[Prepared] = []
        pieces = 0
        for picture in prepare_all(pictures, self.network.frame, self._cut):
            waiting.append(picture)
            pieces += len(picture.pieces)
            if pieces >= self.batch_size or len(waiting) >= 4 * self.batch_size:
                yield self._table(waiting)
                waiting, pieces = [], 0
        if waiting:
            yield self._table(waiting)

    def _table(self, pictures: list[Prepared]) -> pd.DataFrame:
        rows = [(p, n, piece) for p in pictures for n, piece in enumerate(p.pieces or (None,), 1)]
        used = [position for position, (_, _, piece) in enumerate(rows) if piece is not None]
        pieces = [piece for _, _, piece in rows if piece is not None]
        answers = self._answers(pieces).set_axis(used) if pieces else self._empty
        # A missing row makes floats of integers, unless they are nullable beforehand.
        whole = answers.select_dtypes("integer").columns
        answers = answers.astype(dict.fromkeys(whole, "Int64")).reindex(range(len(rows)))
        answers.insert(0, "image", pd.Series([p.name for p, _, _ in rows], dtype=object))
        if self.by_face:
            faces = [_face(number, piece) for _, number, piece in rows]
            for k, name in enumerate(FACE_COLUMNS):
                kind = "Int64" if name == "face" else "float64"
                answers.insert(k + 1, name, pd.Series([face[k] for face in faces], dtype=kind))
        return answers.assign(error=pd.Series([p.error for p, _, _ in rows], dtype=object))

    @torch.inference_mode()
    def _answers(self, pieces: list[Piece]) -> pd.DataFrame:
        found: dict[str, np.ndarray] = {}
        for start in range(0, len(pieces), self.batch_size):
            part = self._columns(pieces[start : start + self.batch_size])
            found = {n: np.concatenate((found[n], v)) if found else v for n, v in part.items()}
        return pd.DataFrame(found)

    def _columns(self, pieces: list[Piece]) -> dict[str, np.ndarray]:
        # One copy; the channels lie last in memory and first in the shape, as in training.
        pixels = torch.from_numpy(np.stack([piece.pixels for piece in pieces])).permute(0, 3, 1, 2)
        size = torch.tensor([piece.size for piece in pieces], dtype=torch.float32)
        members = list(self._members(pixels.to(self.network.device)))
        columns: dict[str, np.ndarray] = {}
        for name, task in self.network.module.tasks.items():
            outputs = [member[name].float().cpu() for member in members]
            output = outputs[0] if len(outputs) == 1 else task.combined(torch.stack(outputs))
            answer = task.columns(output, size)
            if len(outputs) > 1:
                answer |= spreads(task, outputs, size, answer)
            if name in self._quantiles:
                answer |= task.region(output, size, self._quantiles[name])[0]
            if self._cut is not None:
                answer = task.moved(answer, np.stack([piece.to_picture for piece in pieces]))
            columns |= answer
        return columns

    def _members(self, pixels: torch.Tensor) -> Iterator[dict[str, torch.Tensor]]:
        """The network's raw outputs, or those of each draw of its dropout."""
        module, samples = self.network.module, self._settings.mc_samples
        if not samples:
            yield module(pixels)
        for sample in range(samples):
            with dropout_drawn(module, sample):
                yield module(pixels)


def quantiles_of(network: Network, coverage: float) -> dict[str, float]:
    """By task how far off the truth is in this share of validation images.

    Raises:
        MtlfaceError: The run does not say so.
    """
    known = network.conformal()
    found = {task: of[str(coverage)] for task, of in known.items() if str(coverage) in of}
    if not found:
        levels = sorted({level for of in known.values() for level in of})
        raise MtlfaceError(
            f"coverage={coverage:g}: {network.run_folder} "
            + (
                f"has the regions of {', '.join(levels)}. Take one of these."
                if levels
                else "does not say how far off its answers are on validation images: its "
                "result.json is missing, or of an older version. python -m mtlface.evaluate "
                "calibrates on data that you give."
            )
        )
    return found


def _face(number: int, piece: Piece | None) -> tuple[float | None, ...]:
    if piece is None or piece.box is None:
        return (None,) * len(FACE_COLUMNS)
    return (number, *piece.box, piece.score)


def _named(
    images: str | Path | Image.Image | np.ndarray | Sequence[Source],
) -> list[tuple[str, Source]]:
    if isinstance(images, str | Path):
        listed = list_images(str(images))
        return list(zip(listed.names, listed.paths, strict=True))
    if isinstance(images, Image.Image) or (isinstance(images, np.ndarray) and images.ndim < 4):
        images = [images]
    return [
        (str(image) if isinstance(image, str | Path) else str(position), image)
        for position, image in enumerate(images)
    ]
