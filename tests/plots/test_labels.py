import pytest

from mtlface.plots.labels import wrap_name


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("celeba_landmarks_gender", ["celeba_", "landmarks_", "gender"]),
        ("short", ["short"]),
        ("averyverylongword", ["averyverylongword"]),
    ],
)
def test_names_break_after_their_joints(name, lines):
    assert wrap_name(name, 10).split("\n") == lines
