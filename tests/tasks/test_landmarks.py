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
from mtlface.models import linear_head, mlp_head
from mtlface.tasks import LandmarkTask

FRAME = (32, 48)  # height, width
UNITS = ("normalized", "disk_pixels", "pixels")
POINTS = Points("landmarks", ("left_eye", "right_eye", "nose"), (("left_eye", "right_eye"),))
NAN = float("nan")


def task_of(units="normalized", label=POINTS, in_features=4, head=linear_head, **settings):
    torch.manual_seed(0)
    return LandmarkTask(
        name="landmarks", label="landmarks", labels=Labels([label]), in_features=in_features,
        frame=FRAME, head=head, loss=nn.MSELoss(reduction="none"), units=units, **settings,
    )  # fmt: skip


def some(task, n=53, missing=0.0):
    """Raw outputs a little off the truth, of pictures of two sizes on disk."""
    draw = torch.Generator().manual_seed(3)
    size = torch.tensor([[178.0, 218.0], [100.0, 80.0]])[torch.arange(n) % 2]
    truth = torch.rand(n, 3, 2, generator=draw) * 28 + 2
    said = truth + torch.randn(n, 3, 2, generator=draw)
    truth[torch.rand(n, generator=draw) < missing] = NAN
    output = task.convert(said, size, "pixels", task.units).flatten(1)
    return output, {"landmarks": truth, "size": size}


def on_disk(points, size):
    """Pixel centres of the working frame to those of the picture on disk, in float64."""
    scale = size.double().numpy()[:, None] / np.array(FRAME[::-1], dtype=float)
    return (points.double().numpy() + 0.5) * scale - 0.5


@given(
    x=st.floats(-50, 300), y=st.floats(-50, 300), width=st.integers(1, 999),
    height=st.integers(1, 999), source=st.sampled_from(UNITS), to=st.sampled_from(UNITS),
)  # fmt: skip
def test_there_and_back_is_where_it_was(x, y, width, height, source, to):
    task, size = task_of(), torch.tensor([[width, height]], dtype=torch.float64)
    point = torch.tensor([[[x, y]]], dtype=torch.float64)
    moved = task.convert(task.convert(point, size, source, to), size, to, source)
    torch.testing.assert_close(moved, point, rtol=1e-4, atol=1e-3)


def test_the_corners_of_the_picture_in_every_frame():
    task, size = task_of(), torch.tensor([[178.0, 218.0]])
    corners = torch.tensor([[[0.0, 0.0], [1.0, 1.0], [0.5, 0.5]]])
    disk = task.convert(corners, size, "normalized", "disk_pixels")
    working = task.convert(corners, size, "normalized", "pixels")
    assert disk.tolist() == [[[-0.5, -0.5], [177.5, 217.5], [88.5, 108.5]]]
    assert working.tolist() == [[[-0.5, -0.5], [47.5, 31.5], [23.5, 15.5]]]


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_metrics_agree_with_those_worked_out_by_hand(measured, units, missing):
    task = task_of(units)
    output, batch = some(task, missing=missing)
    size, known = batch["size"], batch["landmarks"].isfinite().all(dim=(1, 2))
    said = task.convert(output.view(-1, 3, 2), size, units, "pixels")
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
    plain, seed = task_of(), task_of(image_side=224)
    output, batch = some(plain, n=1)
    ratio = measured(plain, output, batch, 1)["nme_image"] * math.sqrt(178 * 218)
    assert measured(seed, output, batch, 1)["nme_image"] * 224 == pytest.approx(ratio, rel=1e-6)


@pytest.mark.parametrize("units", UNITS)
def test_the_loss_is_measured_in_the_units(units):
    task = task_of(units)
    size = torch.tensor([[96.0, 64.0]])
    truth = torch.full((1, 3, 2), 10.0)
    said = truth + torch.tensor([2.0, 0.0])  # two working pixels to the right
    batch = {"landmarks": truth, "size": size}
    output = task.convert(said, size, "pixels", units).flatten(1)
    off = {"normalized": 2 / 48, "disk_pixels": 4.0, "pixels": 2.0}[units]
    assert task.losses(output, batch)[0].item() == pytest.approx(off**2 / 2, rel=1e-4)


@pytest.mark.parametrize("units", UNITS)
def test_missing_rows_cost_nothing(units, assert_missing_rows_cost_nothing):
    task = task_of(units)
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


@pytest.mark.parametrize("units", UNITS)
def test_the_constant_predictor_says_the_mean_face(units):
    task = task_of(units)
    _, batch = some(task, missing=0.3)
    found = task.constant(batch)
    assert found.shape == (6,)
    in_units = task.convert(batch["landmarks"], batch["size"], "pixels", units).double()
    known = in_units.isfinite().all(dim=(1, 2))
    torch.testing.assert_close(found.double(), in_units[known].mean(dim=0).flatten())


@pytest.mark.parametrize("units", UNITS)
def test_columns_are_in_pixels_of_the_picture_on_disk(units):
    task = task_of(units)
    output, batch = some(task, n=4)
    columns = task.columns(output, batch["size"])
    said = task.convert(output.view(-1, 3, 2), batch["size"], units, "pixels")
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


@pytest.mark.parametrize("units", UNITS)
def test_a_head_that_starts_at_the_mean_face_errs_by_no_more_than_that_face(units):
    task = task_of(units, start_at_mean=True, in_features=512, head=mlp_head)
    weights = task.head[-1].weight.clone()
    _, batch = some(task, missing=0.2)
    task.initialise(batch)
    features = torch.rand(64, 512, requires_grad=True)
    output = task(features)
    assert ((output - task.constant(batch)).square().mean(dim=0).sqrt() < task.spread(batch)).all()
    output.square().sum().backward()
    assert features.grad.abs().min() > 0, "no gradient reaches the trunk"
    if units != "normalized":
        assert torch.equal(task.head[-1].weight, weights), "points vary by more than a pixel"


@pytest.mark.parametrize("units", UNITS)
def test_the_spread_is_the_standard_deviation_of_the_points_that_are_known(units):
    task = task_of(units)
    _, batch = some(task, missing=0.2)
    points = task.convert(batch["landmarks"], batch["size"], "pixels", units).flatten(1).numpy()
    np.testing.assert_allclose(task.spread(batch), np.nanstd(points, axis=0), rtol=1e-4)
    batch["landmarks"][:] = NAN
    assert torch.equal(task.spread(batch), torch.ones(6))
