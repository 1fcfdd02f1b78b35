import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from mtlface.analysis import statistics as st


def pairs(n, effect=0.0, seed=0):
    rng = np.random.default_rng(seed)
    shared = rng.normal(0.8, 0.05, n)
    return shared + rng.normal(effect, 0.01, n), shared + rng.normal(0, 0.01, n)


def test_t_interval_and_p_are_scipys_paired_test():
    arm, reference = pairs(7, effect=0.01)
    found = st.paired_seeds(arm, reference)
    expected = stats.ttest_rel(arm, reference)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-12)
    assert found.t_interval == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=1e-12)
    assert found.mean == pytest.approx(np.mean(arm - reference))


def test_bootstrap_interval_is_the_percentile_one_and_narrower_than_t_at_five_seeds():
    arm, reference = pairs(5)
    found = st.paired_seeds(arm, reference)
    rng = np.random.default_rng(3)
    means = rng.choice(arm - reference, (200_000, 5)).mean(axis=1)
    low, high = found.bootstrap_interval
    assert (low, high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=8e-4)
    assert high - low < found.t_interval[1] - found.t_interval[0]


def test_one_pair_gives_a_difference_and_no_uncertainty():
    found = st.paired_seeds([0.9], [0.8])
    assert found.mean == pytest.approx(0.1)
    assert (found.sd, found.t_interval, found.bootstrap_interval, found.p) == (None,) * 4


def test_a_difference_that_never_varies_gets_no_p_value():
    assert st.paired_seeds([0.9, 0.8, 0.7], [0.8, 0.7, 0.6]).p is None
    assert st.paired_seeds([0.9, 0.8], [0.9, 0.8]).p == 1.0


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="2 and 1"):
        st.paired_seeds([1.0, 2.0], [1.0])


@settings(max_examples=8)
@given(some.lists(some.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_statsmodels(p):
    assert st.holm(p) == pytest.approx(list(multipletests(p, method="holm")[1]))


def test_holm_leaves_unknown_ones_unknown_and_uncounted():
    assert st.holm([0.04, None, 0.01]) == [0.04, None, 0.02]
    assert st.holm([None]) == [None]


@given(some.floats(0.2, 3.0))
def test_seeds_needed_reaches_the_power_and_one_less_does_not(effect):
    n = st.seeds_needed(effect, 1.0)
    power = TTestPower().power
    assert power(effect, n, 0.05) >= 0.8
    assert n == 2 or power(effect, n - 1, 0.05) < 0.8


def test_seeds_needed_agrees_with_solve_power():
    assert st.seeds_needed(0.5, 1.0) == math.ceil(
        TTestPower().solve_power(0.5, power=0.8, alpha=0.05)
    )


def test_seeds_needed_for_nothing_or_next_to_nothing():
    assert st.seeds_needed(0.0, 1.0) is None
    assert st.seeds_needed(0.1, None) is None
    assert st.seeds_needed(1e-6, 1.0) == st.MOST_SEEDS + 1


@pytest.mark.parametrize(
    ("benefit", "p", "words"),
    [
        (0.1, 0.01, "better"),
        (-0.1, 0.01, "worse"),
        (0.1, 0.05, "no difference shown"),
        (0.1, None, "no verdict"),
    ],
)
def test_verdict(benefit, p, words):
    assert st.verdict(benefit, p) == words


def test_delta_m_by_hand_with_both_directions():
    accuracy = st.relative_benefit([0.09, 0.0], [0.9, 0.9], higher_is_better=True)
    error = st.relative_benefit([0.02, 0.02], [0.1, 0.1], higher_is_better=False)
    assert np.mean(accuracy) == pytest.approx(5.0)
    assert np.mean(error) == pytest.approx(-20.0)
    assert st.delta_m([accuracy, error]).mean == pytest.approx(-7.5)


def test_relative_benefit_to_a_zero_reference_is_unknown():
    assert st.relative_benefit([0.1], [0.0], higher_is_better=True) is None


@given(
    some.lists(some.floats(-1, 1), min_size=2, max_size=6),
    some.floats(0.01, 100),
    some.booleans(),
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


def test_pictures_show_a_clear_difference_and_not_an_absent_one():
    rng = np.random.default_rng(0)
    reference = rng.random(400) < 0.3
    better, same = rng.random(400) < 0.15, rng.permutation(reference)
    clear = st.paired_pictures(better.astype(float), reference.astype(float))
    assert clear.p < 0.001
    assert clear.bootstrap_interval[1] < 0
    low, high = st.paired_pictures(same.astype(float), reference.astype(float)).bootstrap_interval
    assert low < 0 < high


def test_picture_interval_agrees_with_the_normal_approximation_on_many_pictures():
    errors = np.random.default_rng(1).gamma(2, 0.05, (2, 5000))
    found = st.paired_pictures(*errors)
    difference = errors[0] - errors[1]
    half = 1.96 * difference.std(ddof=1) / math.sqrt(5000)
    expected = difference.mean() - half, difference.mean() + half
    assert found.bootstrap_interval == pytest.approx(expected, abs=2e-4)


def simulate(n, effect, sets):
    """Share of intervals that hold the true difference, and of verdicts that show none."""
    rng = np.random.default_rng([n, sets])
    covered, silent = 0, 0
    for _ in range(sets):
        found = []
        # Two tasks of unlike scale; arm and reference share what the seed does to both.
        for scale in (0.01, 3.0):
            seed_effect = rng.normal(0, scale, n)
            reference = seed_effect + rng.normal(0, scale, n)
            arm = seed_effect + rng.normal(effect * scale, scale, n)
            found.append(st.paired_seeds(arm, reference))
            low, high = found[-1].t_interval
            covered += low <= effect * scale <= high
        corrected = st.holm([f.p for f in found])
        words = [st.verdict(f.mean, p) for f, p in zip(found, corrected, strict=True)]
        silent += words.count("no difference shown")
    return covered / sets / 2, silent / sets / 2


def test_a_slice_of_the_simulated_comparisons_covers_and_stays_silent_on_a_null():
    covered, silent = simulate(n=5, effect=0.0, sets=150)
    assert 0.90 <= covered <= 0.99
    assert silent >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("n", [5, 10])
def test_intervals_cover_and_a_null_is_called_no_difference_in_2000_simulations(n):
    covered, silent = simulate(n, effect=0.0, sets=2000)
    assert 0.93 <= covered <= 0.97
    assert silent >= 0.95
    covered, silent = simulate(n, effect=3.0, sets=2000)
    assert 0.93 <= covered <= 0.97
    assert silent < 0.5  # so large an effect is mostly seen


@pytest.mark.slow
def test_the_picture_bootstrap_covers_in_1000_simulations():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        hard = rng.random(300)  # a picture is hard for both networks
        arm = (rng.random(300) < 0.4 * hard).astype(float)
        reference = (rng.random(300) < 0.5 * hard).astype(float)
        low, high = st.paired_pictures(arm, reference).bootstrap_interval
        covered += low <= -0.05 <= high
    assert 0.93 <= covered / 1000 <= 0.97
