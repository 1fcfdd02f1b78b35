"""A batch holds the right pictures with their labels in the working frame."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from mtlface.data.batch import Split
from mtlface.data.pixels import open_store

ALL = np.arange(4)
LABELS = ("gender", "attributes", "landmarks")


@pytest.fixture
def split(table, store):
    return Split(table, store, np.arange(len(table)), "val", LABELS)


def test_a_batch_has_the_shapes_and_types_that_are_promised(split):
    batch = split.batch(ALL)
    assert {name: (tuple(value.shape), value.dtype) for name, value in batch.items()} == {
        "image": ((4, 3, 32, 48), torch.uint8),
        "index": ((4,), torch.int64),
        "size": ((4, 2), torch.float32),
        "gender": ((4,), torch.int64),
        "attributes": ((4, 40), torch.int64),
        "landmarks": ((4, 5, 2), torch.float32),
    }
    assert batch["image"].is_contiguous(memory_format=torch.channels_last)
    assert batch["size"].tolist() == [[178, 218]] * 4


def test_points_move_into_the_working_frame_about_pixel_centres(split, table):
    found = split.batch(ALL)["landmarks"].numpy()
    disk = table.labels["landmarks"].values(table.frame)[split.rows]
    np.testing.assert_allclose(found[..., 0], (disk[..., 0] + 0.5) * 48 / 178 - 0.5, rtol=1e-6)
    np.testing.assert_allclose(found[..., 1], (disk[..., 1] + 0.5) * 32 / 218 - 0.5, rtol=1e-6)


def test_a_point_lies_where_its_dot_is_in_the_shrunken_picture(tmp_path, table):
    # A block of 4x4 pixels about the edge of pixels 23 and 24 becomes the one pixel 5.
    picture = np.zeros((48, 64, 3), dtype=np.uint8)
    picture[8:12, 20:24] = 255
    Image.fromarray(picture).save(tmp_path / "dot.png")
    frame = table.frame.iloc[:1].assign(image="dot.png", nose_x=21.5, nose_y=9.5)
    store = open_store(["dot.png"], tmp_path, (12, 16), tmp_path / "cache", progress=False)
    split = Split(replace(table, frame=frame), store, np.arange(1), "train", ["landmarks"])
    batch = split.batch(np.arange(1))
    assert batch["landmarks"][0, 2].tolist() == [5, 2]
    assert batch["image"][0, 0].argmax() == 2 * 16 + 5


def test_rows_go_with_their_own_pictures(table, store):
    # As after an omission: the table lost its first rows, the store did not.
    kept = np.arange(3, len(table))
    split = Split(table.keep(kept), store, kept, "test", ["gender"])
    batch = split.batch(np.array([2, 0]))
    rows = table.rows("test")[[2, 0]]
    assert torch.equal(
        batch["image"], torch.from_numpy(store.pixels[rows].copy()).permute(0, 3, 1, 2)
    )
    assert batch["gender"].tolist() == table.frame["gender"].iloc[rows].tolist()
    assert table.frame["image"].iloc[rows].tolist() == (
        table.keep(kept).frame["image"].iloc[batch["index"].numpy()].tolist()
    )


def test_missing_labels_stay_missing(table, store):
    frame = table.frame.copy()
    row = table.rows("val")[1]
    frame.loc[row, ["gender", "Bald"]] = -1
    frame.loc[row, ["nose_x", "nose_y"]] = np.nan
    split = Split(replace(table, frame=frame), store, np.arange(len(table)), "val", LABELS)
    batch = split.batch(ALL)
    assert batch["gender"][1] == -1 and (batch["gender"] == -1).sum() == 1
    assert (batch["attributes"] == -1).nonzero().tolist() == [[1, 4]]
    assert batch["landmarks"].isnan().nonzero().tolist() == [[1, 2, 0], [1, 2, 1]]


def test_padding_has_no_label_and_no_index(split):
    batch = split.batch(np.array([2, -1]))
    assert batch["index"].tolist() == [split.rows[2], -1]
    assert batch["gender"][1] == -1 and (batch["attributes"][1] == -1).all()
    assert batch["landmarks"][1].isnan().all()
    assert (batch["size"] > 0).all()
    assert len(batch["image"]) == 2


def test_padding_leaves_the_split_as_it_was(split):
    before = {name: value.clone() for name, value in split.targets.items()}
    split.batch(np.array([-1, -1]))
    assert all(torch.equal(before[name], value) for name, value in split.targets.items())


def test_a_split_travels_to_another_process_without_its_pixels(split):
    sent = pickle.dumps(split)
    assert len(sent) < 20_000 < split.images(ALL).nbytes * 6
    received = pickle.loads(sent)
    assert torch.equal(received.batch(ALL)["image"], split.batch(ALL)["image"])
