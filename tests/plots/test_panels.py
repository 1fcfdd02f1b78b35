"""A sheet shows every picture upright, its points where they are, and what is right or wrong."""

import numpy as np
import pytest
from PIL import ImageColor

from mtlface.plots import marks
from mtlface.plots.panels import HEIGHT, Caption, Panel, sheet
from mtlface.plots.raster import pixels_png, png_pixels

GREY = np.full((40, 30, 3), 128, dtype=np.uint8)


def rgb(colour):
    return np.array(ImageColor.getrgb(colour))


def has(pixels, colour, tolerance=12):
    return (np.abs(pixels.astype(int) - rgb(colour)).max(axis=2) <= tolerance).any()


def where(pixels, colour):
    """The mean place of a colour, as (x, y)."""
    near = np.abs(pixels.astype(int) - rgb(colour)).max(axis=2) <= 40
    return np.argwhere(near).mean(axis=0)[::-1]


@pytest.mark.parametrize("x", [0.25, 0.5, 0.8])
def test_points_lie_where_they_are_in_the_picture(x):
    plain = sheet([Panel(GREY, 1.0)], "title")
    top = int(np.argwhere((plain == 128).all(axis=2).any(axis=1))[0, 0])
    left = int(np.argwhere((plain == 128).all(axis=2).any(axis=0))[0, 0])
    drawn = sheet([Panel(GREY, 1.0, found=np.array([[x, 0.3]]))], "title")
    place = where(drawn[top : top + HEIGHT], marks.FOUND)
    assert place - (left, 0) == pytest.approx((x * HEIGHT, 0.3 * HEIGHT), abs=1.5)


def test_right_and_wrong_differ_in_colour_and_in_their_sign():
    right = sheet([Panel(GREY, 1.0, [Caption("male", True)])], "t")
    wrong = sheet([Panel(GREY, 1.0, [Caption("male", False)])], "t")
    assert has(right, marks.RIGHT) and not has(right, marks.WRONG)
    assert has(wrong, marks.WRONG) and not has(wrong, marks.RIGHT)
    ink = [(pixels < 200).any(axis=2).sum() for pixels in (right, wrong)]
    assert ink[0] != ink[1]  # a reader who sees no colour sees another sign


def test_unknown_and_far_points_do_no_harm():
    truth = np.array([[np.nan, np.nan], [0.5, 0.5]])
    found = np.array([[0.5, 0.5], [900.0, -900.0]])
    assert sheet([Panel(GREY, 0.8, truth=truth, found=found)], "t").ndim == 3


@pytest.mark.parametrize("count", [1, 4, 5, 12])
def test_every_picture_is_there(count):
    pictures = [Panel(np.full((9, 9, 3), 20 * i, np.uint8), 1.0) for i in range(count)]
    drawn = sheet(pictures, "a very long title that does not fit " * 9)
    shades = set(np.unique(drawn[:, :, 0]))
    assert {20 * i for i in range(count)} <= shades


def test_a_narrow_face_keeps_its_shape():
    drawn = sheet([Panel(np.full((64, 64, 3), 77, np.uint8), 178 / 218)], "t")
    rows, columns = np.nonzero((drawn == 77).all(axis=2))
    assert np.ptp(columns) / np.ptp(rows) == pytest.approx(178 / 218, abs=0.01)


def test_a_png_gives_its_pixels_back():
    drawn = sheet([Panel(GREY, 1.0)], "t")
    assert np.array_equal(png_pixels(pixels_png(drawn)), drawn)


def test_texts_are_cut_to_their_width():
    cut = marks.fitted("a name that is long", 12, 60)
    assert cut.endswith("…") and marks.font(12).getlength(cut) <= 60
    assert marks.fitted("short", 12, 60) == "short"
