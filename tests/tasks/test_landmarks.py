"""Points keep their place through every frame, and their errors are those worked out by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn
from torch import nn

from mtlface.data.schema import Labels, Points
from mtlface.errors import MtlfaceError
from mtlface.models import linear_head, mlp_head
from mtlface.tasks import LandmarkTask
from mtlface.tasks.landmarks import to_pixels, to_shares

FRAME = (32, 48)  # height, width
LOSS_SIZES = (None, (178, 218), (48, 32))  # shares, CelebA's pixels, those of the working size
POINTS = Points("landmarks", ("left_eye", "right_eye", "nose"), (("left_eye", "right_eye"),))
NAN = float("nan")


def task_of(loss_size=None, label=POINTS, in_features=4, head=linear_head, **settings):
    torch.manual_seed(0)
    return LandmarkTask(
        name="landmarks", label="landmarks", labels=Labels([label]), in_features=in_features,
        frame=FRAME, head=head, loss=nn.MSELoss(reduction="none"), loss_size=loss_size, **settings,
    )  # fmt: skip


def output_of(task, points):
    """The raw outputs of a head that says these points, in pixels of the working size."""
    return task.loss_points(to_shares(points, torch.tensor(FRAME[::-1]))).flatten(1)


def said_by(task, output):
    """What raw outputs say, in pixels of the working size."""
    return to_pixels(task.shares(output), torch.tensor(FRAME[::-1]))


def some(task, n=53, missing=0.0):
    """Raw outputs a little off the truth, of pictures of two sizes on disk."""
    draw = torch.Generator().manual_seed(3)
    size = torch.tensor([[178.0, 218.0], [100.0, 80.0]])[torch.arange(n) % 2]
    truth = torch.rand(n, 3, 2, generator=draw) * 28 + 2
    said = truth + torch.randn(n, 3, 2, generator=draw)
    truth[torch.rand(n, generator=draw) < missing] = NAN
    return output_of(task, said), {"landmarks": truth, "size": size}


def on_disk(points, size):
    """Pixel centres of the working frame to those of the picture on disk, in float64."""
    scale = size.double().numpy()[:, None] / np.array(FRAME[::-1], dtype=float)
    return (points.double().numpy() + 0.5) * scale - 0.5


@given(
    x=st.floats(-50, 300), y=st.floats(-50, 300), width=st.integers(1, 999),
    height=st.integers(1, 999), loss_size=st.sampled_from(LOSS_SIZES),
)  # fmt: skip
def test_there_and_back_is_where_it_was(x, y, width, height, loss_size):
    task, sides = task_of(loss_size), torch.tensor([width, height], dtype=torch.float64)
    point = torch.tensor([[[x, y]]], dtype=torch.float64)
    shares = to_shares(point, sides)
    torch.testing.assert_close(to_pixels(shares, sides), point, rtol=1e-6, atol=1e-6)
    raw = task.loss_points(shares).flatten(1)
    torch.testing.assert_close(task.shares(raw).double(), shares, rtol=1e-4, atol=1e-5)


def test_the_corners_of_the_image_in_pixels():
    corners = torch.tensor([[[0.0, 0.0], [1.0, 1.0], [0.5, 0.5]]])
    disk = to_pixels(corners, torch.tensor([178.0, 218.0]))
    assert disk.tolist() == [[[-0.5, -0.5], [177.5, 217.5], [88.5, 108.5]]]


@pytest.mark.parametrize("loss_size", LOSS_SIZES)
def test_the_same_answer_on_a_larger_image_is_as_much_further_from_its_edge(loss_size):
    task = task_of(loss_size, image_side=loss_size and 224)
    output = output_of(task, torch.rand(2, 3, 2) * 30).repeat(3, 1)
    size = torch.tensor([[178.0, 218.0], [356.0, 436.0], [89.0, 109.0]]).repeat_interleave(2, dim=0)
    columns = task.columns(output, size)
    for name in POINTS.columns:
        whole, twice, half = columns[name].reshape(3, 2)
        np.testing.assert_allclose(twice, 2 * whole + 0.5, rtol=1e-4)
        np.testing.assert_allclose(half, whole / 2 - 0.25, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("loss_size", LOSS_SIZES)
def test_errors_in_lengths_of_the_image_do_not_depend_on_its_size(measured, loss_size):
    task = task_of(loss_size, image_side=loss_size and 224)
    output, batch = some(task)
    batch["size"][:] = torch.tensor([178.0, 218.0])
    large = batch | {"size": 2 * batch["size"]}
    small, twice = measured(task, output, batch), measured(task, output, large)
    assert twice.pop("mse_px") == pytest.approx(4 * small.pop("mse_px"), rel=1e-5)
    assert twice == pytest.approx(small, rel=1e-5)
    assert torch.equal(task.elements(output, batch)[0], task.elements(output, large)[0])


@pytest.mark.parametrize("loss_size", LOSS_SIZES)
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_metrics_agree_with_those_worked_out_by_hand(measured, loss_size, missing):
    task = task_of(loss_size)
    output, batch = some(task, missing=missing)
    size, known = batch["size"], batch["landmarks"].isfinite().all(dim=(1, 2))
    said = said_by(task, output)
    a, b = on_disk(said, size)[known], on_disk(batch["landmarks"], size)[known]
    sides = size.double().numpy()[known]
    nme, nme_image = [], []
    for p, t, (width, height) in zip(a, b, sides, strict=True):
        mean = sum(math.dist(p[k], t[k]) for k in range(3)) / 3
        nme.append(mean / math.dist(t[0], t[1]))
        nme_image.append(mean / math.sqrt(width * height))
    part, part_truth = (a / sides[:, None]).ravel(), (b / sides[:, None]).ravel()
    expected = {
        "nme": np.mean(nme),
        "nme_image": np.mean(nme_image),
        "auc08": np.mean([max(0, 1 - e / 0.08) for e in nme]),
        "fr08": np.mean([e > 0.08 for e in nme]),
        "mse_px": sklearn.mean_squared_error(b.ravel(), a.ravel()),
        "mse": sklearn.mean_squared_error(part_truth, part),
        "rmse": sklearn.mean_squared_error(part_truth, part) ** 0.5,
        "mae": sklearn.mean_absolute_error(part_truth, part),
    }
    # The task measures in float32: of px² near 4 that is the sixth digit.
    assert measured(task, output, batch) == pytest.approx(expected, abs=1e-6, rel=2e-6)


def test_image_side_sets_what_nme_image_divides_by(measured):
    plain, study = task_of((178, 218)), task_of((178, 218), image_side=224)
    output, batch = some(plain, n=1)
    ratio = measured(plain, output, batch, 1)["nme_image"] * math.sqrt(178 * 218)
    assert measured(study, output, batch, 1)["nme_image"] * 224 == pytest.approx(ratio, rel=1e-6)


@pytest.mark.parametrize("loss_size", LOSS_SIZES)
def test_the_loss_is_measured_on_an_image_of_the_loss_size(loss_size):
    task = task_of(loss_size)
    truth = torch.full((1, 3, 2), 10.0)
    said = truth + torch.tensor([2.0, 0.0])  # two working pixels to the right
    off = 2 / 48 * (1 if loss_size is None else loss_size[0])
    for size in ([96.0, 64.0], [178.0, 218.0]):
        batch = {"landmarks": truth, "size": torch.tensor([size])}
        loss = task.losses(output_of(task, said), batch)[0].item()
        assert loss == pytest.approx(off**2 / 2, rel=1e-3)


@pytest.mark.parametrize("loss_size", LOSS_SIZES)
def test_missing_rows_cost_nothing(loss_size, assert_missing_rows_cost_nothing):
    task = task_of(loss_size)
    output, batch = some(task, missing=0.3)
    known = batch["landmarks"].isfinite().all(dim=(1, 2))
    assert_missing_rows_cost_nothing(task, output, batch, known)


def test_a_missing_point_has_no_gradient_and_the_others_keep_theirs():
    task = task_of()
    output, batch = some(task, n=4)
    batch["landmarks"][2, 1] = NAN
    output.requires_grad_()
    losses, counts = task.losses(output, batch)
    losses.sum().backward()
    assert (output.grad == 0).nonzero().tolist() == [[2, 2], [2, 3]]
    assert counts.tolist() == [22]


def test_nothing_labelled_is_free(assert_nothing_labelled_is_free):
    task = task_of()
    output, batch = some(task, n=6)
    empty = batch | {"landmarks": torch.full_like(batch["landmarks"], NAN)}
    assert_nothing_labelled_is_free(task, output, empty)


@pytest.mark.parametrize("loss_size", LOSS_SIZES)
def test_the_constant_predictor_says_the_mean_face(loss_size):
    task = task_of(loss_size)
    _, batch = some(task, missing=0.3)
    found = task.constant(batch)
    assert found.shape == (6,)
    in_units = output_of(task, batch["landmarks"]).view(-1, 3, 2).double()
    known = in_units.isfinite().all(dim=(1, 2))
    torch.testing.assert_close(found.double(), in_units[known].mean(dim=0).flatten())


@pytest.mark.parametrize("loss_size", LOSS_SIZES)
def test_columns_are_in_pixels_of_the_picture_on_disk(loss_size):
    task = task_of(loss_size)
    output, batch = some(task, n=4)
    columns = task.columns(output, batch["size"])
    said = said_by(task, output)
    flat = on_disk(said, batch["size"]).reshape(4, 6)
    assert tuple(columns) == task.prediction_columns == POINTS.columns
    np.testing.assert_allclose(np.stack([*columns.values()], axis=1), flat, rtol=1e-4)
    batch["landmarks"][1, 2] = NAN
    truth = task.truth(batch)
    np.testing.assert_allclose(
        np.stack([truth[f"{name}_true"] for name in POINTS.columns], axis=1),
        on_disk(batch["landmarks"], batch["size"]).reshape(4, 6),
        rtol=1e-5,
    )


def test_the_error_of_a_picture_is_its_nme(measured):
    task = task_of()
    output, batch = some(task, missing=0.2)
    error = task.error(output, batch)
    assert torch.equal(error.isnan(), batch["landmarks"].isnan().all(dim=(1, 2)))
    assert error.nanmean().item() == pytest.approx(measured(task, output, batch)["nme"], rel=1e-6)


def test_without_both_eyes_the_picture_is_the_yardstick(measured):
    label = Points("landmarks", ("nose", "left_mouth", "right_mouth"))
    task = task_of(label=label)
    output, batch = some(task)
    found = measured(task, output, batch)
    assert task.primary == "nme_image" and not {"nme", "auc08", "fr08"} & set(found)
    assert task.error(output, batch).mean().item() == pytest.approx(found["nme_image"], rel=1e-5)


def test_start_at_mean_starts_the_head_at_the_mean_face():
    task = task_of(start_at_mean=True)
    _, batch = some(task)
    task.initialise(batch)
    assert torch.equal(task(torch.zeros(1, 4))[0], task.constant(batch))


@pytest.mark.parametrize("loss_size", LOSS_SIZES)
def test_a_head_that_starts_at_the_mean_face_errs_by_no_more_than_that_face(loss_size):
    task = task_of(loss_size, start_at_mean=True, in_features=512, head=mlp_head)
    weights = task.head[-1].weight.clone()
    _, batch = some(task, missing=0.2)
    task.initialise(batch)
    features = torch.rand(64, 512, requires_grad=True)
    output = task(features)
    assert ((output - task.constant(batch)).square().mean(dim=0).sqrt() < task.spread(batch)).all()
    output.square().sum().backward()
    assert features.grad.abs().min() > 0, "no gradient reaches the trunk"
    if loss_size is not None:
        assert torch.equal(task.head[-1].weight, weights), "points vary by more than a pixel"


@pytest.mark.parametrize("loss_size", LOSS_SIZES)
def test_the_spread_is_the_standard_deviation_of_the_points_that_are_known(loss_size):
    task = task_of(loss_size)
    _, batch = some(task, missing=0.2)
    points = output_of(task, batch["landmarks"]).numpy()
    np.testing.assert_allclose(task.spread(batch), np.nanstd(points, axis=0), rtol=1e-4)
    batch["landmarks"][:] = NAN
    assert torch.equal(task.spread(batch), torch.ones(6))


SIXTY_EIGHT = Points("landmarks", tuple(str(k) for k in range(1, 69)))


def test_nme_is_measured_by_the_two_points_that_were_chosen(measured):
    task = task_of(label=SIXTY_EIGHT, eyes=[37, 46])  # the outer corners
    draw = torch.Generator().manual_seed(1)
    truth = torch.rand(5, 68, 2, generator=draw) * 28
    said = truth + torch.randn(5, 68, 2, generator=draw)
    size = torch.tensor([[178.0, 218.0]]).expand(5, 2)
    a, b = on_disk(said, size), on_disk(truth, size)
    between = np.linalg.norm(b[:, 36] - b[:, 45], axis=1)
    nme = np.mean(np.linalg.norm(a - b, axis=2).mean(axis=1) / between)
    found = measured(task, output_of(task, said), {"landmarks": truth, "size": size})
    assert task.primary == "nme" and found["nme"] == pytest.approx(nme, rel=1e-5)
    assert task_of(label=SIXTY_EIGHT).primary == "nme_image"


@pytest.mark.parametrize("primary", ["nme_image", "mae", "mse", "rmse"])
def test_what_each_image_adds_has_the_primary_metric_as_mean(measured, primary):
    task = task_of(primary=primary)
    output, batch = some(task, missing=0.3)
    found = task.image_metrics(output, batch)[primary]
    whole = measured(task, output, batch)[primary]
    assert float(found.nanmean()) == pytest.approx(whole, rel=1e-5)
    known = torch.nonzero(batch["landmarks"].isfinite().any(dim=(1, 2)))[:, 0]
    assert torch.equal(torch.nonzero(found.isfinite())[:, 0], known)
    # The jackknife, of one image.
    rest = known[known != known[4]]
    left = measured(task, output[rest], {name: of[rest] for name, of in batch.items()})[primary]
    others = [known[known != i] for i in known]
    without = [
        measured(task, output[o], {n: of[o] for n, of in batch.items()}, 1)[primary] for o in others
    ]
    expected = whole + (len(known) - 1) * (np.mean(without) - left)
    assert float(found[known[4]]) == pytest.approx(expected, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"eyes": ["left_eye", "right_ear"]}, "Did you mean 'right_eye'"),
        ({"eyes": ["nose", "nose"]}, "two different points"),
        ({"eyes": ["nose"]}, "two different points"),
        ({"image_side": 224}, "Set both"),
        ({"loss_size": [178]}, "a width and a height"),
    ],
)
def test_settings_that_mean_nothing_are_one_clear_error(settings, named):
    with pytest.raises(MtlfaceError, match=named):
        task_of(**settings)
