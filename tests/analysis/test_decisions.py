import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import DescrStatsW

from mtlface.analysis import crossed as cr
from mtlface.analysis import decisions as de
from mtlface.analysis import planning as pl
from mtlface.analysis import statistics as st
from mtlface.errors import MtlfaceError


@settings(max_examples=6)
@given(some.lists(some.floats(0, 1), min_size=1, max_size=8))
def test_holm_and_q_are_statsmodels(p):
    assert de.holm(p) == pytest.approx(list(multipletests(p, method="holm")[1]), rel=1e-9)
    expected = list(multipletests(p, method="fdr_bh")[1])
    assert de.benjamini_hochberg(p) == pytest.approx(expected, rel=1e-9)


def test_unknown_p_values_stay_unknown_and_uncounted():
    assert de.holm([0.04, None, 0.01]) == [0.04, None, 0.02]
    assert de.benjamini_hochberg([None, 0.03]) == [None, 0.03]
    assert de.holm([None]) == [None]


@pytest.mark.parametrize("effect", [0.01, 0.02, 0.05])
def test_shown_equal_is_statsmodels_two_one_sided_tests(effect):
    rng = np.random.default_rng(0)
    for _ in range(20):
        d = rng.normal(0, 0.02, 6)
        p = DescrStatsW(d).ttost_mean(-effect, effect)[0]
        assert de.shown_equal(cr.over_seeds(d), effect) == (p < 0.05)


@pytest.mark.parametrize(
    ("benefit", "p", "equal", "words"),
    [
        (0.1, 0.01, False, "better"),
        (-0.1, 0.01, False, "worse"),
        (0.001, 0.01, True, "better"),
        (0.1, 0.05, False, "undecided"),
        (0.1, 0.05, True, "shown equal"),
        (0.0, 1.0, True, "shown equal"),
        (0.1, None, False, "no verdict"),
    ],
)
def test_answers(benefit, p, equal, words):
    assert de.answer(benefit, p, equal=equal) == words


def test_the_smallest_effect_is_a_point_of_a_share_and_two_percent_of_an_error():
    assert de.default_effect(True, 0.8) == 0.01
    assert de.default_effect(False, 0.05) == pytest.approx(0.001)
    assert de.effect_size("5%", -0.2) == pytest.approx(0.01)
    assert de.effect_size(0.02, 7) == 0.02


@pytest.mark.parametrize("effect", ["many", "0", "-1", "nan", "%", "-2%", "inf"])
def test_an_effect_that_is_no_size_is_an_error(effect):
    with pytest.raises(MtlfaceError, match="smallest difference that matters"):
        de.check_effect("effects.gender", effect)


@settings(max_examples=10)
@given(some.floats(0.3, 3.0), some.sampled_from([0.05, 0.05 / 8]))
def test_planned_seeds_reach_the_power_and_one_less_does_not(effect, alpha):
    n = pl.seeds_to_detect(effect, alpha)

    def power(n):
        return np.nan_to_num(TTestPower().power(effect, n, alpha), nan=1.0)  # far out it is NaN

    assert power(n) >= 0.8 - 1e-6
    assert n == 2 or power(n - 1) < 0.8


@pytest.mark.parametrize(("sd", "one", "family"), [(1.0, 10, 23), (2.0, 34, 74)])
def test_seeds_for_one_point_in_one_and_in_48_tests(sd, one, family):
    found = pl.plan(sd, 5, 1.0, 48)
    assert (found.one, found.family) == (one, family)


def test_seeds_for_equality_have_80_percent_power_in_a_simulation():
    n = pl.seeds_for_equality(1.0)
    rng = np.random.default_rng(0)

    def power(n):
        d = rng.normal(0, 1, (20_000, n))
        half = stats.t.isf(0.05, n - 1) * d.std(axis=1, ddof=1) / math.sqrt(n)
        return np.mean((np.abs(d.mean(axis=1)) + half) < 1.0)

    assert power(n) >= 0.79
    assert power(n - 1) < 0.81


def test_next_to_nothing_needs_more_seeds_than_anyone_runs():
    assert pl.seeds_to_detect(1e-3) is None
    assert pl.seeds_for_equality(1e-3) is None


def test_the_pilots_spread_has_the_chi_squared_interval():
    low, high = pl.plan(2.0, 4, 1.0, 1).sd_interval
    assert stats.chi2.cdf(3 * 4 / low**2, 3) == pytest.approx(0.975)
    assert stats.chi2.cdf(3 * 4 / high**2, 3) == pytest.approx(0.025)


def test_images_alone_may_hide_an_effect_from_any_number_of_seeds():
    rng = np.random.default_rng(0)
    d = rng.normal(0, 20, (1, 100)) + rng.normal(0, 1, (4, 100))  # floor: 2
    squares = cr.mean_squares(d)
    assert squares.floor == pytest.approx(2.0, rel=0.3)
    assert pl.plan(1.0, 4, 1.0, 1, squares).out_of_reach
    assert not pl.plan(1.0, 4, 10.0, 1, squares).out_of_reach


def test_benefits_have_one_sign_for_both_directions():
    accuracy = st.relative_benefit([0.09, 0.0], [0.9, 0.9], higher_is_better=True)
    error = st.relative_benefit([0.02, 0.02], [0.1, 0.1], higher_is_better=False)
    assert np.mean(accuracy) == pytest.approx(5.0)
    assert np.mean(error) == pytest.approx(-20.0)
    assert st.relative_benefit([0.1], [0.0], higher_is_better=True) is None


@given(
    some.lists(some.floats(-1, 1), min_size=2, max_size=6), some.floats(0.01, 100), some.booleans()
)
def test_relative_benefit_does_not_depend_on_the_unit(differences, scale, higher):
    reference = [0.5] * len(differences)
    plain = st.relative_benefit(differences, reference, higher)
    scaled = st.relative_benefit(
        [scale * d for d in differences], [scale * r for r in reference], higher
    )
    assert plain == pytest.approx(scaled, abs=1e-9)


def test_mean_ranks_share_ties_and_skip_absent_tasks():
    scores = {"a": {"x": 0.9, "y": 0.1}, "b": {"x": 0.9, "y": 0.2}, "c": {"x": 0.5}}
    assert st.mean_ranks(scores, {"x": True, "y": False}) == {"a": 1.25, "b": 1.75, "c": 3.0}


def test_mean_interval_is_scipys():
    values = [0.8, 0.82, 0.79, 0.85]
    expected = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert st.mean_interval(values) == pytest.approx(expected)
    assert st.mean_interval([0.8]) is None
