"""How well embeddings match people who need not have been in training.

Pictures are matched against a *gallery*: the clean pictures of a split, or where nothing says what
is clean, the first picture of each person. All other pictures of the gallery's people are
*queries*; the similarity is the cosine. Both metrics need a whole split at once, so their state is
every embedding that they have seen.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat
from typing_extensions import override

from mtlface.tasks.auroc import defined_auroc
from mtlface.tasks.metrics import pseudo_values


class _GalleryMetric(Metric):
    """Collects a split; a subclass says what its similarities are worth."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    embeddings: list[Tensor]
    people: list[Tensor]
    clean: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for state in ("embeddings", "people", "clean"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    @override
    def update(self, embedding: Tensor, person: Tensor, clean: Tensor) -> None:
        """Adds a batch.

        Args:
            embedding: (B, E).
            person: (B,) a number for each person, −1 where unknown.
            clean: (B,) 1 for pictures of the gallery, 0 for others, −1 where nobody says.
        """
        known = person >= 0
        self.embeddings.append(embedding[known].float())
        self.people.append(person[known])
        self.clean.append(clean[known])

    @override
    def compute(self) -> Tensor:
        """The metric, a scalar; NaN where there is nothing to match."""
        if not self.people:
            return torch.tensor(torch.nan)
        embeddings, people = dim_zero_cat(self.embeddings), dim_zero_cat(self.people)
        matched = match(embeddings, people, dim_zero_cat(self.clean))
        if matched is None:
            return embeddings.new_tensor(torch.nan)
        similarity, same, _ = matched
        return self._score(similarity, same)

    def _score(self, similarity: Tensor, same: Tensor) -> Tensor:
        """The metric of cosines (Q, G) and whether each is of one person, bool (Q, G)."""
        raise NotImplementedError


class GalleryTop1(_GalleryMetric):
    """The share of queries whose most similar gallery picture shows the same person."""

    @override
    def _score(self, similarity: Tensor, same: Tensor) -> Tensor:
        return hits(similarity, same).mean()


class VerificationAUC(_GalleryMetric):
    """The area under the ROC curve of "same person?" over all pairs of query and gallery."""

    @override
    def _score(self, similarity: Tensor, same: Tensor) -> Tensor:
        # Of −1..1, because torchmetrics takes what lies outside 0..1 for logits.
        return defined_auroc(similarity.flatten(), same.flatten().long())


def match(
    embeddings: Tensor, people: Tensor, clean: Tensor
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Cosines (Q, G) of queries and gallery, whether each is of one person, and the queries (N,).

    Args:
        embeddings: (N, E).
        people: A number for each person, all known, (N,).
        clean: 1 for images of the gallery, 0 for others, −1 where nobody says, (N,).

    Returns:
        None where there is nothing to match.
    """
    gallery = _gallery_of(people, clean)
    queries = ~gallery & torch.isin(people, people[gallery])
    if not queries.any():
        return None
    unit = normalize(embeddings, dim=1)
    same = people[queries][:, None] == people[gallery]
    return unit[queries] @ unit[gallery].T, same, queries


def _gallery_of(people: Tensor, clean: Tensor) -> Tensor:
    return clean == 1 if (clean >= 0).any() else first_of_each(people)


def hits(similarity: Tensor, same: Tensor) -> Tensor:
    """1 for each query whose most similar gallery image shows the same person, else 0: (Q,)."""
    return same.gather(1, similarity.argmax(dim=1, keepdim=True)).float()[:, 0]


def query_hits(embeddings: Tensor, people: Tensor, clean: Tensor) -> Tensor:
    """`GalleryTop1` image by image: its mean over the queries, NaN elsewhere, (N,).

    Args:
        embeddings: (N, E).
        people: A number for each person, −1 where unknown, (N,).
        clean: As for `match`, (N,).
    """
    found = embeddings.new_full((len(embeddings),), torch.nan)
    known = torch.nonzero(people >= 0)[:, 0]
    matched = match(embeddings[known].float(), people[known], clean[known])
    if matched is not None:
        similarity, same, queries = matched
        found[known[queries]] = hits(similarity, same)
    return found


def verification_values(embeddings: Tensor, people: Tensor, clean: Tensor) -> Tensor:
    """`VerificationAUC` image by image: pseudo-values with the area as their mean, (N,).

    The area is over pairs, so an image has no value of its own. The jackknife says what it adds:
    the area without the pairs of an image, for all images at once in O(P log P) of P pairs. NaN for
    images that are in no pair, and for all where the area is undefined.

    Args:
        embeddings: (N, E).
        people: A number for each person, −1 where unknown, (N,).
        clean: As for `match`, (N,).
    """
    found = embeddings.new_full((len(embeddings),), torch.nan, dtype=torch.float64)
    known = torch.nonzero(people >= 0)[:, 0]
    matched = match(embeddings[known].float(), people[known], clean[known])
    if matched is None:
        return found
    similarity, same, queries = matched
    _, rank = torch.unique(similarity, return_inverse=True)
    won = torch.zeros_like(rank, dtype=torch.float64)
    won[same] = beaten(rank[same], rank[~same])
    won[~same] = same.sum() - beaten(rank[~same], rank[same])
    rows = known[queries]
    columns = known[_gallery_of(people[known], clean[known])]
    without = torch.cat([_without_each(rank, same, won), _without_each(rank.T, same.T, won.T)])
    found[torch.cat([rows, columns])] = pseudo_values(won[same].mean() / (~same).sum(), without)
    return found


def _without_each(rank: Tensor, same: Tensor, won: Tensor) -> Tensor:
    """The area under the curve without the pairs of each row: ranks (Q, G) to (Q,)."""
    areas = []
    positives, negatives = same.sum(), (~same).sum()
    pairs = won[same].sum()
    for ranks, mates, wins in zip(rank, same, won, strict=True):
        # What the row's positives win against its own negatives is taken away twice.
        left = pairs - wins.sum() + beaten(ranks[mates], ranks[~mates]).sum()
        areas.append(left / ((positives - mates.sum()) * (negatives - (~mates).sum())))
    return torch.stack(areas)


def beaten(scores: Tensor, others: Tensor) -> Tensor:
    """For each score (A,), how many of the others (B,) lie below it; a tie counts half: (A,)."""
    ordered = others.sort().values
    below = torch.searchsorted(ordered, scores, side="left").double()
    return 0.5 * (below + torch.searchsorted(ordered, scores, side="right"))


def first_of_each(people: Tensor) -> Tensor:
    """Where each person occurs for the first time, bool (N,)."""
    order = torch.arange(len(people), device=people.device)
    _, number = torch.unique(people, return_inverse=True)
    first = order.new_full((int(number.max()) + 1 if len(people) else 0,), len(people))
    first.scatter_reduce_(0, number, order, reduce="amin")
    mask = torch.zeros_like(people, dtype=torch.bool)
    mask[first] = True
    return mask
