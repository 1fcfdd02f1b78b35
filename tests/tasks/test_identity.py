"""Identification: known people by class, strangers by matching with a gallery."""

import functools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.losses import ArcFaceLoss, CosFaceLoss
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from mtlface.data.schema import Category, Labels
from mtlface.models import linear_head, no_head
from mtlface.tasks import IdentityTask
from mtlface.tasks.gallery import (
    GalleryTop1,
    VerificationAUC,
    first_of_each,
    verification_values,
)

PEOPLE = ("ann", "bob", "cem", "dia")
CONDITIONS = ("clear", "fog")
FEATURES = 6


def labels(known=PEOPLE, person=True, condition=CONDITIONS):
    found = [Category("identity", tuple(known))]
    found += [Category("person", PEOPLE)] if person else []
    found += [Category("condition", condition, group=True)] if condition else []
    return Labels(found)


def task(schema=None, **options):
    options = {"head": no_head, "loss": nn.CrossEntropyLoss(reduction="none"), **options}
    return IdentityTask(
        name="identity",
        label="identity",
        labels=schema or labels(),
        in_features=FEATURES,
        frame=(32, 32),
        **options,
    )


def batch(person, known=4, condition=None, seed=0):
    """Pictures of these people (−1: unknown), of whom the first `known` were in training."""
    person = torch.as_tensor(person)
    fog = [0, 1] * len(person) if condition is None else condition
    return {
        "identity": torch.where(person < known, person, -1),
        "person": person,
        "condition": torch.tensor(fog[: len(person)]),
        "size": torch.ones(len(person), 2),
        "index": torch.arange(len(person)),
    }


def measured(of, output, *batches):
    metrics = of.metrics()
    for part, targets in zip(
        output.split([len(b["person"]) for b in batches]), batches, strict=True
    ):
        of.update(metrics, part, targets)
    return {name: float(value) for name, value in of.scalars(metrics.compute()).items()}


def clusters(person, spread=0.0, seed=0):
    """An embedding a picture, near the direction of its person."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.eye(FEATURES)[torch.as_tensor(person).clamp(min=0)]
    return centres + spread * torch.randn(len(person), FEATURES, generator=generator)


def collect(metric, embedding, person, clean):
    metric.update(embedding, torch.as_tensor(person), torch.as_tensor(clean))
    return float(metric.compute())


def test_gallery_top1_is_the_score_of_a_nearest_neighbour_classifier():
    person, clean = np.arange(40) % 4, np.repeat([1, 0, 0, 0, 0], 8)
    embedding = clusters(person, spread=0.6)
    found = collect(GalleryTop1(), embedding, person, clean)
    nearest = KNeighborsClassifier(1, metric="cosine").fit(
        embedding[clean == 1], person[clean == 1]
    )
    expected = nearest.score(embedding[clean == 0], person[clean == 0])
    assert 0.3 < expected < 1
    assert found == pytest.approx(expected)


def test_verification_auc_is_that_of_scikit_learn():
    person, clean = np.arange(40) % 4, np.repeat([1, 0, 0, 0, 0], 8)
    embedding = clusters(person, spread=0.6)
    unit = nn.functional.normalize(embedding).numpy()
    same = person[clean == 0][:, None] == person[clean == 1]
    expected = roc_auc_score(same.ravel(), (unit[clean == 0] @ unit[clean == 1].T).ravel())
    assert 0.5 < expected < 1
    assert collect(VerificationAUC(), embedding, person, clean) == pytest.approx(expected, abs=1e-5)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=20))
def test_the_first_picture_of_each_person_is_the_gallery_where_nobody_says_what_is_clean(people):
    expected = [person not in people[:place] for place, person in enumerate(people)]
    assert first_of_each(torch.tensor(people)).tolist() == expected


@settings(max_examples=20)
@given(st.integers(1, 20), st.integers(0, 1000))
def test_matching_does_not_depend_on_how_a_split_is_cut_into_batches(cut, seed):
    person = torch.randint(-1, 4, (21,), generator=torch.Generator().manual_seed(seed))
    output = torch.cat((torch.zeros(21, 4), clusters(person.tolist(), 0.5, seed)), dim=1)
    whole = batch(person)
    parts = [{k: v[s] for k, v in whole.items()} for s in (slice(cut), slice(cut, None))]
    at_once, in_parts = measured(task(), output, whole), measured(task(), output, *parts)
    assert in_parts == pytest.approx(at_once, nan_ok=True, abs=1e-6)


def test_strangers_are_matched_though_no_class_is_theirs():
    person = [2, 3, 2, 3, 2, 3]
    open_set = task(labels(known=PEOPLE[:2]))
    output = torch.cat((torch.zeros(6, 2), clusters(person)), dim=1)
    found = measured(open_set, output, batch(person, known=2, condition=[0, 0, 1, 1, 1, 1]))
    assert math.isnan(found["top1"])
    assert math.isnan(found["f1_macro"])
    assert found["gallery_top1"] == 1
    assert found["verification_auc"] == 1


def test_people_without_a_picture_in_the_gallery_are_no_queries():
    # Of 3 there is no clean picture: counted, it could only be wrong.
    person, clean = [0, 1, 0, 1, 3], [1, 1, 0, 0, 0]
    assert collect(GalleryTop1(), clusters(person), person, clean) == 1


@pytest.mark.parametrize("metric", [GalleryTop1, VerificationAUC])
@pytest.mark.parametrize("person", [[-1, -1], [0, 1], []])
def test_without_a_pair_to_match_there_is_no_figure(metric, person):
    person = torch.tensor(person, dtype=torch.long)
    metric = metric()
    metric.update(torch.rand(len(person), FEATURES), person, torch.ones_like(person))
    assert math.isnan(metric.compute())


def test_embeddings_that_say_nothing_match_by_chance():
    person = np.arange(400) % 4
    clean = (np.arange(400) < 4).astype(int)
    embedding = torch.zeros(400, FEATURES)
    assert collect(GalleryTop1(), embedding, person, clean) == pytest.approx(1 / 4, abs=0.01)
    assert collect(VerificationAUC(), embedding, person, clean) == pytest.approx(0.5)


def test_a_group_is_matched_with_the_gallery_of_the_whole_split():
    person = [0, 1, 2, 0, 1, 2]
    whole = batch(person, condition=[0, 0, 0, 1, 1, 1])
    output = torch.cat((torch.eye(4)[person], clusters(person)), dim=1)
    fog = torch.tensor([3, 4, 5])
    identity = task()
    part, targets = identity.of_group(output, whole, fog)
    found = measured(identity, part, targets)
    assert found["gallery_top1"] == 1
    # The gallery's pictures are there to be matched with, not to be counted.
    metrics = identity.metrics()
    identity.update(metrics, part, targets)
    assert metrics["known"].compute() == len(fog)


def test_the_primary_metric_is_matching_where_training_does_not_know_everyone():
    assert task().primary == "top1"
    assert task(labels(person=False)).primary == "top1"
    assert task(labels(known=PEOPLE[:2])).primary == "gallery_top1"
    assert task(labels(known=PEOPLE[:2]), primary="top1").primary == "top1"


def test_a_batch_holds_what_matching_needs_only_where_the_data_has_it():
    assert task().batch_labels == ("identity", "person", "condition")
    assert task(labels(condition=None)).batch_labels == ("identity", "person")
    assert task(labels(person=False)).batch_labels == ("identity",)
    closed = {"top1", "f1_macro"}
    assert set(task(labels(person=False)).directions) == closed
    assert set(task().directions) == closed | {"gallery_top1", "verification_auc"}


def test_data_without_conditions_is_matched_with_first_pictures():
    person = [0, 1, 0, 1]
    targets = batch(person)
    del targets["condition"]
    output = torch.cat((torch.zeros(4, 4), clusters(person)), dim=1)
    assert measured(task(labels(condition=None)), output, targets)["gallery_top1"] == 1


MARGINS = [functools.partial(ArcFaceLoss, scale=64), functools.partial(CosFaceLoss, scale=64)]


@pytest.mark.parametrize("margin", [None, *MARGINS], ids=["softmax", "arcface", "cosface"])
def test_a_few_steps_tell_people_apart_and_unknown_ones_cost_nothing(margin):
    torch.manual_seed(0)
    person = [0, 1, 2, 3, -1, 0, 1, 2, 3, -1]
    identity = task(margin=margin, embedding=5, head=linear_head)
    features, targets = clusters(person, 0.05), batch(person)
    optimizer = torch.optim.Adam(identity.parameters(), lr=0.1)
    for _ in range(60):
        losses, _ = identity.losses(identity(features), targets)
        optimizer.zero_grad()
        losses.sum().backward()
        optimizer.step()
    found = measured(identity, identity(features), targets)
    assert found["top1"] == 1
    strangers = batch([-1, -1])
    lost, _ = identity.losses(identity(features[:2]), strangers)
    assert lost.tolist() == [0]


def test_margins_keep_their_precision_under_autocast():
    torch.manual_seed(0)
    identity = task(margin=ArcFaceLoss)
    features, targets = clusters([0, 1, 2, 3], 0.3), batch([0, 1, 2, 3])
    exact, _ = identity.losses(identity(features), targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed, _ = identity.losses(identity(features), targets)
    assert mixed.item() == pytest.approx(exact.item(), rel=1e-5)


@given(seed=st.integers(0, 10_000), people=st.integers(2, 5), images=st.integers(8, 24))
@settings(max_examples=40, deadline=None)
def test_what_an_image_adds_to_the_verification_is_the_area_without_it(seed, people, images):
    rng = np.random.default_rng(seed)
    # Cosines of exactly -1, 0 and 1, so that many tie.
    signs = torch.from_numpy(rng.choice([-1.0, 1.0], (images, 1)).astype(np.float32))
    embeddings = signs * torch.eye(3)[rng.integers(0, 3, images)]
    person = torch.from_numpy(rng.integers(-1, people, images))
    clean = torch.from_numpy(rng.integers(0, 2, images))
    found = verification_values(embeddings, person, clean)

    def area(rows):
        queries = [i for i in rows if clean[i] == 0 and person[i] in person[clean == 1]]
        gallery = [i for i in rows if clean[i] == 1]
        pairs = [(float(embeddings[q] @ embeddings[g]), bool(person[q] == person[g]))
                 for q in queries for g in gallery]  # fmt: skip
        if len({same for _, same in pairs}) < 2:
            return math.nan
        return roc_auc_score([same for _, same in pairs], [cosine for cosine, _ in pairs])

    known = [i for i in range(images) if person[i] >= 0]
    whole = area(known)
    paired = [i for i in known if clean[i] == 1 or person[i] in person[(clean == 1)]]
    without = np.array([area([j for j in known if j != i]) for i in paired])
    if np.isfinite(without).all() and np.isfinite(whole) and found.isfinite().any():
        expected = whole + (len(paired) - 1) * (without.mean() - without)
        assert found[paired].numpy() == pytest.approx(expected, abs=1e-6)
        assert float(found.nanmean()) == pytest.approx(whole, abs=1e-6)
    else:
        assert not found.isfinite().any()
