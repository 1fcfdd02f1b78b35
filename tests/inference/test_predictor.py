import numpy as np
import pandas as pd
import pytest
from PIL import Image

import mtlface
from mtlface.errors import MtlfaceError
from mtlface.inference.predictor import Predictor
from mtlface.inference.prepare import AHEAD, CHUNK

HEADS = ["gender_probability", "left_eye_x", "left_eye_y", "nose_x", "nose_y"]


def test_predictions_are_those_that_the_run_wrote_for_its_test_split(trained, faces):
    theirs = pd.read_csv(trained / "test_predictions.csv")
    found = mtlface.load(trained).predict([faces / name for name in theirs["image"]])
    shared = [column for column in found if column in theirs and column != "image"]
    assert set(HEADS) < set(shared)
    pd.testing.assert_frame_equal(found[shared], theirs[shared], check_dtype=False, atol=1e-4)


def test_rows_come_in_the_order_of_the_pictures_whatever_the_batch(predictor, pictures):
    order = [pictures[k] for k in np.random.default_rng(3).permutation(len(pictures))]
    whole = predictor.predict(order)
    assert whole["image"].tolist() == [str(path) for path in order]
    for size in (1, 5):
        parts = predictor.predict(order, batch_size=size)
        pd.testing.assert_frame_equal(parts, whole, atol=1e-4)


def test_a_bad_picture_is_a_row_with_its_reason_and_costs_no_other(predictor, pictures, tmp_path):
    torn, text = tmp_path / "torn.jpg", tmp_path / "text.jpg"
    torn.write_bytes(pictures[0].read_bytes()[:900])
    text.write_text("no picture")
    found = predictor.predict([pictures[0], torn, tmp_path / "none.jpg", text, pictures[1]])
    good = predictor.predict(pictures[:2])
    assert found["error"].isna().tolist() == [True, False, False, False, True]
    assert "truncated" in found["error"][1] and "no such file" in found["error"][2]
    assert found.loc[1:3, ["gender", *HEADS]].isna().all(axis=None)
    pd.testing.assert_frame_equal(found.iloc[[0, 4]].reset_index(drop=True), good, atol=1e-4)


def test_a_name_that_no_file_can_have_is_a_row_with_its_reason(predictor):
    found = predictor.predict(["a\0b.jpg", "x" * 5000])
    assert found["error"].tolist() == ["no file can have this name", "File name too long"]


def test_only_bad_pictures_still_have_all_columns(predictor, pictures):
    found = predictor.predict(["none.jpg"])
    assert list(found) == list(predictor.predict(pictures[:1]))
    assert predictor.predict([]).columns.tolist() == list(found)


def test_a_file_a_pil_picture_and_an_array_get_the_same_answer(predictor, pictures, tmp_path):
    png = tmp_path / "a.png"
    with Image.open(pictures[0]) as image:
        image.save(png)
    with Image.open(png) as image:
        found = predictor.predict([png, image.copy(), np.asarray(image)])
    assert found["image"].tolist() == [str(png), "1", "2"]
    # Two resizers that agree to one grey level.
    spread = found[HEADS].max() - found[HEADS].min()
    assert (spread < [0.01, 0.5, 0.5, 0.5, 0.5]).all()


def test_grey_arrays_are_taken_and_floats_are_refused_by_row(predictor):
    found = predictor.predict([np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3)), np.zeros((0, 0))])
    assert found["error"].isna().tolist() == [True, False, False]
    assert "expected uint8 (H, W, 3)" in found["error"][1]


def test_a_stream_reads_no_further_ahead_than_it_must(predictor, pictures):
    taken = []

    def endless():
        for k in range(100_000):
            taken.append(k)
            yield str(k), pictures[k % len(pictures)]

    stream = predictor.stream(endless())
    for _ in range(3):
        next(stream)
    stream.close()
    assert len(taken) <= 3 * predictor.batch_size + AHEAD + 2 * CHUNK


def test_points_of_a_crop_are_told_in_pixels_of_the_picture(predictor, pictures):
    with Image.open(pictures[0]) as image:
        face = np.asarray(image)
    wide = np.full((218, 178 + 300, 3), 90, np.uint8)
    wide[:, 150:328] = face
    alone = predictor.predict([face])
    inside = predictor.predict([wide], crop="center")
    moved = inside[["left_eye_x", "nose_x"]] - alone[["left_eye_x", "nose_x"]]
    np.testing.assert_allclose(moved, 150, atol=0.5)
    np.testing.assert_allclose(inside["nose_y"], alone["nose_y"], atol=0.5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"crop": "centre"}, "Did you mean 'center'"), ({"batch_size": 0}, "positive")],
)
def test_impossible_settings_are_one_clear_error(network, settings, message):
    with pytest.raises(MtlfaceError, match=message):
        Predictor(network, **settings)


def test_a_folder_of_several_runs_is_not_guessed_at(trained, tmp_path):
    with pytest.raises(MtlfaceError, match=r"no checkpoints/best\.ckpt"):
        mtlface.load(tmp_path)
    for seed in (0, 1):
        (tmp_path / f"seed={seed}" / "checkpoints").mkdir(parents=True)
        (tmp_path / f"seed={seed}" / "checkpoints" / "best.ckpt").touch()
    with pytest.raises(MtlfaceError, match="holds 2 runs"):
        mtlface.load(tmp_path)
    assert mtlface.load(trained.parent).network.run_folder == trained
