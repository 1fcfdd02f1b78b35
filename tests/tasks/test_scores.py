"""Competition scores give the published figures back."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtlface.tasks.scores import age_score, competition_score, facecom_score


@pytest.mark.parametrize(
    ("rmse", "f1", "score"), [(128.39, 0.8784, 0.0), (10.93, 0.8618, 0.732), (8.46, 0.9157, 0.805)]
)
def test_the_three_model_generations_score_as_published(rmse, f1, score):
    assert competition_score(rmse, f1) == pytest.approx(score, abs=1e-3)


def test_age_score_runs_from_a_perfect_guess_to_thirty_years():
    assert [age_score(r) for r in (0, 15, 30, 31, math.inf)] == [1, 0.5, 0, 0, 0]


def test_an_age_that_was_not_measured_has_no_score():
    assert math.isnan(age_score(math.nan))
    assert math.isnan(competition_score(math.nan, 0.9))
    assert math.isnan(competition_score(5, math.nan))


def test_two_failures_score_zero():
    assert competition_score(40, 0) == 0


@given(st.floats(0, 60), st.floats(0, 1))
def test_the_harmonic_mean_lies_between_its_parts(rmse, f1):
    low, high = sorted([age_score(rmse), f1])
    assert low - 1e-12 <= competition_score(rmse, f1) <= high + 1e-12


def test_facecom_weighs_identity_with_seven_tenths():
    assert facecom_score(1, 0) == pytest.approx(0.3)
    assert facecom_score(0, 1) == pytest.approx(0.7)
    # The first of the hackathon's own validation results.
    assert facecom_score(0.976, 0.988) == pytest.approx(0.9844)
