"""Labels whose points are not those of the images are an error before the first step."""

import logging

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mtlface.data.frame import FaceFrame
from mtlface.data.point_frame import misplaced
from mtlface.data.schema import Labels, Points
from mtlface.data.table import FaceTable
from mtlface.errors import MtlfaceError
from mtlface.training.run import run
from tests.data.test_datamodule import FOLDER, module

POINTS = Points("landmarks", ("left_eye", "right_eye", "nose"))
FRAME = FaceFrame((178, 218), ((69.5, 111.5), (107.6, 111.5)))
NAN = float("nan")


def resize(root, size, numbers=None, exif=None):
    for path in sorted((root / FOLDER).glob("*.jpg")):
        if numbers is None or int(path.stem) in numbers:
            with Image.open(path) as image:
                image.resize(size).save(path, quality=95, exif=exif or Image.Exif())


@pytest.mark.parametrize("size", [(128, 128), (160, 160), (356, 436), (89, 109)])
def test_resized_images_with_the_original_label_file_are_one_clear_error(
    composed, own_faces, tmp_path, size
):
    resize(own_faces, size)
    config = composed("experiment=tiny", f"data.root={own_faces}", f"data.cache={tmp_path}")
    with pytest.raises(MtlfaceError) as error:
        run(config, tmp_path / "run", [])
    said = str(error.value)
    assert "000001.jpg" in said and f"{size[0]}×{size[1]}" in said and "178×218" in said
    assert "scale the points" in said and "data.points=[]" in said
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_without_points_the_size_of_the_images_does_not_matter(own_faces, tmp_path):
    from mtlface.data.celeba import CelebA

    resize(own_faces, (128, 128))
    assert len(module(own_faces, tmp_path, reader=CelebA(points=[])).table) == 24


def test_a_few_images_of_another_size_are_left_out_by_name(own_faces, tmp_path, caplog):
    turned = Image.Exif()
    turned[0x0112] = 6  # stored lying down: its file has 178×218, upright it is 218×178
    resize(own_faces, (178, 218), {3}, turned)
    with caplog.at_level(logging.WARNING):
        table = module(own_faces, tmp_path, max_bad_fraction=0.05).table
    assert len(table) == 23
    assert [omission.file for omission in table.omitted] == [f"{FOLDER}/000003.jpg"]
    assert "218×178" in caplog.text and "178×218" in caplog.text


def test_a_size_that_was_declared_must_be_that_of_every_image(own_faces, tmp_path):
    from mtlface.data.celeba import CelebA

    with pytest.raises(MtlfaceError, match=r"178×218 pixels, but .* one of 356×436"):
        module(own_faces, tmp_path, reader=CelebA(size=(356, 436))).load()


def table_of(points):
    frame = pd.DataFrame(np.reshape(points, (-1, 6)), columns=list(POINTS.columns))
    frame.insert(0, "image", [f"{k}.jpg" for k in range(len(frame))])
    return FaceTable(frame.assign(split="train"), Labels([POINTS]), None)


def test_images_of_several_sizes_with_points_of_their_own_are_right():
    sizes = np.array([(178, 218), (356, 436), (89, 109), (500, 400)] * 5)
    draw = np.random.default_rng(0)
    shares = np.array([[0.39, 0.51], [0.61, 0.51], [0.5, 0.62]]) + draw.normal(0, 0.02, (20, 3, 2))
    assert misplaced(table_of(shares * sizes[:, None]), sizes, FRAME) == {}


def test_a_point_outside_of_its_image_is_named_and_missing_ones_are_not():
    points = [[60, 80, 90, 80, 75, 100], [60, 80, 90, 80, 75, 120.0], [NAN] * 6]
    found = misplaced(table_of(points), np.full((3, 2), 120))
    assert found == {1: "nose at 75, 120 does not lie in the image of 120×120 pixels"}
