"""How often each of several sources is met: images by source in an epoch, and their order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from mtlface.errors import MtlfaceError, did_you_mean


def source_weights(mix: Any, names: Sequence[str]) -> dict[str, float] | None:
    """The weights of sources that `data.mix` gives, or None where they follow from the counts.

    Raises:
        MtlfaceError: The mix is none, or names a source that is not joined, or leaves one out.
    """
    if mix in ("proportional", "equal") or _temperature(mix) is not None:
        return None
    if not isinstance(mix, Mapping):
        raise _no_mix(mix)
    for name in mix:
        if name not in names:
            raise MtlfaceError(
                f"data.mix names the source '{name}', which is not joined."
                f"{did_you_mean(str(name), list(names))} The sources are: {', '.join(names)}."
            )
    absent = [name for name in names if name not in mix]
    if absent:
        raise MtlfaceError(
            f"data.mix has no weight for {', '.join(absent)}. Write one for each source; 0 leaves "
            "a source out of training and validation, and still tests on it."
        )
    weights = {name: mix[name] for name in names}
    if not all(_is_number(w) and w >= 0 for w in weights.values()) or not any(weights.values()):
        raise _no_mix(mix)
    return {name: float(weight) for name, weight in weights.items()}


def images_by_source(mix: Any, counts: Mapping[str, int]) -> dict[str, int]:
    """How many images of each source an epoch has.

    An epoch has as many images as the sources with a weight have together, whatever their shares:
    `proportional` meets each image once, and any other mix repeats those of some sources and skips
    some of others, which have their turn in later epochs.

    Args:
        mix: `proportional` (to the counts n), `equal`, `{temperature: T}` (proportional to
            n^(1/T): 1 is proportional, large values are equal), or a weight by source.
        counts: Training images by source.

    Raises:
        MtlfaceError: See `source_weights`.
    """
    names = list(counts)
    found = np.array([counts[name] for name in names], dtype=np.float64)
    temperature = _temperature(mix)
    if weights := source_weights(mix, names):
        shares = np.array([weights[name] for name in names])
    else:
        shares = np.ones_like(found) if mix == "equal" else found ** (1 / (temperature or 1.0))
    total = int(found[shares > 0].sum())
    exact = total * shares / shares.sum()
    taken = np.floor(exact).astype(np.int64)
    # What rounding leaves goes where most of an image was cut off.
    taken[np.argsort(taken - exact, kind="stable")[: total - taken.sum()]] += 1
    return dict(zip(names, taken.tolist(), strict=True))


@dataclass(frozen=True)
class MixedOrder:
    """The order of an epoch over several sources, known from (seed, epoch) alone.

    Each source is an endless row of permutations of its images, of which every epoch takes the next
    piece: no image comes again before all others of its source have had their turn.

    Attributes:
        counts: Images of each source; source s has the positions after those of the sources before.
        taken: How many of each an epoch takes.
    """

    counts: tuple[int, ...]
    taken: tuple[int, ...]

    def __len__(self) -> int:
        return sum(self.taken)

    def __call__(self, seed: int, epoch: int) -> np.ndarray:
        """The positions of the epoch, int64 (len(self),)."""
        turns = np.repeat(np.arange(len(self.taken)), self.taken)
        if np.count_nonzero(self.taken) > 1:
            turns = np.random.default_rng((seed, epoch, 1)).permutation(turns)
        order = np.empty(len(turns), dtype=np.int64)
        starts = np.cumsum([0, *self.counts])
        for source, (count, taken) in enumerate(zip(self.counts, self.taken, strict=True)):
            if taken:
                order[turns == source] = starts[source] + _piece(seed, epoch, count, taken)
        return order

    def by_source(self, positions: np.ndarray) -> np.ndarray:
        """The same positions with those of one source next to each other, in their order."""
        source = np.searchsorted(np.cumsum(self.counts), positions, side="right")
        return positions[np.argsort(source, kind="stable")]


def _piece(seed: int, epoch: int, count: int, taken: int) -> np.ndarray:
    """Images epoch · taken … (epoch + 1) · taken − 1 of the endless row of permutations."""
    first, last = epoch * taken, (epoch + 1) * taken
    rounds = range(first // count, -(-last // count))
    row = np.concatenate([np.random.default_rng((seed, k)).permutation(count) for k in rounds])
    start = first - rounds[0] * count
    return row[start : start + taken]


def _temperature(mix: Any) -> float | None:
    if not isinstance(mix, Mapping) or set(mix) != {"temperature"}:
        return None
    if not _is_number(mix["temperature"]) or not mix["temperature"] > 0:
        raise _no_mix(mix)
    return float(mix["temperature"])


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _no_mix(mix: Any) -> MtlfaceError:
    return MtlfaceError(
        f"data.mix is {mix}; expected proportional, equal, a temperature above 0 such as "
        "data.mix='{temperature: 2}', or a weight of 0 or more for each source, one of them above "
        "0, such as data.mix='{celeba: 1, agegender: 3}'."
    )
