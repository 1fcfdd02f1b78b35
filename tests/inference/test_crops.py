import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtlface.data.celeba import CelebA
from mtlface.data.decode import BadImageError
from mtlface.data.frame import FaceFrame
from mtlface.inference.crops import aligned, center, face_frame, faces
from mtlface.inference.detect import Detection

FRAME = FaceFrame((178, 218), ((69.5, 111.5), (107.6, 111.5)))


def dot(pixels: np.ndarray) -> np.ndarray:
    """x, y of the middle of what is bright."""
    y, x = np.nonzero(pixels[..., 0] > 60)
    weights = pixels[y, x, 0].astype(float)
    return np.array([np.average(x, weights=weights), np.average(y, weights=weights)])


def with_dot(place: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[0:400, 0:500]
    near = np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / 18) * 255
    return np.repeat(near[..., None], 3, axis=2).astype(np.uint8)


@settings(max_examples=15, deadline=None)
@given(
    middle=st.tuples(st.floats(200, 300), st.floats(150, 250)),
    distance=st.floats(30, 80),
    angle=st.floats(-0.6, 0.6),
)
def test_alignment_brings_the_eyes_to_where_training_has_them(middle, distance, angle):
    half = np.array([np.cos(angle), np.sin(angle)]) * distance / 2
    eyes = np.array([middle - half, middle + half])
    for k in (0, 1):
        piece = aligned(with_dot(eyes[k]), (218, 178), FRAME, Detection((0, 0, 1, 1), eyes, 0.9))
        assert piece.pixels.shape == (218, 178, 3)
        np.testing.assert_allclose(dot(piece.pixels), FRAME.eyes[k], atol=1.0)
        scale = np.array(piece.size) / FRAME.size
        in_piece = (np.array(FRAME.eyes[k]) + 0.5) * scale - 0.5
        np.testing.assert_allclose(piece.to_picture @ [*in_piece, 1], eyes[k], atol=0.6)


@given(st.integers(20, 400), st.integers(20, 400))
def test_the_centre_has_the_ratio_of_the_training_pictures_and_touches_two_edges(width, height):
    piece = center(np.zeros((height, width, 3), np.uint8), (32, 32), FRAME)
    w, h = piece.size
    assert abs(w - h * 178 / 218) <= 1
    assert w == width or h == height
    x, y = piece.to_picture[:, 2]
    assert width - (2 * x + w) in (0, 1) and height - (2 * y + h) in (0, 1)


def test_every_face_is_a_piece_and_no_face_is_an_error():
    pixels = np.zeros((100, 100, 3), np.uint8)
    eyes = np.array([[40.0, 50.0], [60.0, 50.0]])
    two = [Detection((0, 0, 50, 50), eyes, 0.9), Detection((50, 50, 20, 20), eyes, 0.8)]
    found = faces(pixels, (32, 32), FRAME, lambda _: two)
    assert [piece.box for piece in found] == [(0, 0, 50, 50), (50, 50, 20, 20)]
    assert [piece.score for piece in found] == [0.9, 0.8]
    with pytest.raises(BadImageError, match="no face found"):
        faces(pixels, (32, 32), FRAME, lambda _: [])


def test_the_reader_says_how_its_pictures_are_cut(composed):
    assert face_frame(composed("experiment=tiny")) == CelebA.face_frame
    own = composed("experiment=tiny", "data.image_size=[100,80]", "data=facecom")
    assert face_frame(own).size[0] > 0
