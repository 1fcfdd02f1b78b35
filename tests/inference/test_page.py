import numpy as np

from mtlface.inference.page import see


def test_the_page_shows_every_head_in_words_and_draws_on_the_picture(predictor):
    picture = np.full((218, 178, 3), 90, np.uint8)
    drawn, table = see(predictor, picture)
    assert drawn.width >= 178 and drawn.height > drawn.width
    assert list(table) == ["prediction", "face 1"]
    assert {"gender", "gender_probability", "nose_x"} <= set(table["prediction"])
    assert "error" not in set(table["prediction"])
