"""The crossed interval: independent formulas, properties, and simulated coverage."""

import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy import stats
from statsmodels.formula.api import ols

from mtlface.analysis import crossed as cr
from mtlface.analysis import decisions as de
from mtlface.analysis.bootstrap import paired_images
from mtlface.analysis.image_metrics import mean_of

IMAGES = 300


def table(n=4, images=12, seed=0):
    rng = np.random.default_rng(seed)
    parts = rng.normal(0, 1, (n, 1)), rng.normal(0, 2, (1, images))
    return 0.3 + parts[0] + parts[1] + rng.normal(0, 0.5, (n, images))


@pytest.mark.parametrize(("n", "images"), [(3, 7), (5, 30), (10, 4)])
def test_mean_squares_are_those_of_statsmodels_two_way_anova(n, images):
    d = table(n, images)
    long = pd.DataFrame(d).stack().reset_index().set_axis(["s", "p", "d"], axis=1)
    anova = sm.stats.anova_lm(ols("d ~ C(s) + C(p)", long).fit(), typ=1)
    expected = anova["sum_sq"] / anova["df"]
    found = cr.mean_squares(d)
    assert found.seeds == pytest.approx(expected["C(s)"], rel=1e-9)
    assert found.images == pytest.approx(expected["C(p)"], rel=1e-9)
    assert found.rest == pytest.approx(expected["Residual"], rel=1e-9)


def test_interval_and_p_are_the_formulas_written_out():
    d = table()
    n, images = d.shape
    row, column, mean = d.mean(axis=1), d.mean(axis=0), d.mean()
    ms = images * sum((r - mean) ** 2 for r in row) / (n - 1)
    mp = n * sum((c - mean) ** 2 for c in column) / (images - 1)
    me = sum(
        (d[i, j] - row[i] - column[j] + mean) ** 2 for i in range(n) for j in range(images)
    ) / ((n - 1) * (images - 1))
    se = math.sqrt(max(ms + mp - me, ms, mp) / (n * images))
    df = (ms + mp - me) ** 2 / (
        ms**2 / (n - 1) + mp**2 / (images - 1) + me**2 / ((n - 1) * (images - 1))
    )
    df = max(df, n - 1)
    found = cr.crossed(d)
    assert found.se == pytest.approx(se, rel=1e-9)
    assert found.df == pytest.approx(df, rel=1e-9)
    expected = stats.t.interval(0.95, df, loc=mean, scale=se)
    assert found.interval == pytest.approx(expected, rel=1e-9)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(mean) / se, df), rel=1e-9)
    assert cr.mean_squares(d).floor == pytest.approx(math.sqrt(mp / (n * images)), rel=1e-9)


def test_seeds_alone_are_scipys_paired_test():
    rng = np.random.default_rng(0)
    arm, reference = rng.normal(0.82, 0.01, 7), rng.normal(0.8, 0.01, 7)
    found, expected = cr.over_seeds(arm - reference), stats.ttest_rel(arm, reference)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=1e-9)


def test_seeded_splits_widen_the_interval_by_nadeau_and_bengios_factor():
    d = [0.1, 0.2, 0.15, 0.05, 0.3]
    plain, corrected = cr.over_seeds(d), cr.over_seeds(d, overlap=0.1 / 0.8)
    assert corrected.se == pytest.approx(plain.se * math.sqrt(1 + 5 * 0.1 / 0.8), rel=1e-9)
    assert corrected.df == 4


def test_without_spread_or_without_a_second_seed_there_is_no_interval():
    assert cr.over_seeds([0.1]) is None
    assert cr.over_seeds([0.8 - 0.7, 0.7 - 0.6, 0.9 - 0.8]) is None
    assert cr.crossed(np.full((3, 5), 0.2)) is None


@settings(max_examples=30)
@given(some.floats(-5, 5), some.floats(0.01, 100), some.integers(0, 1000))
def test_the_unit_and_the_order_do_not_matter(shift, scale, seed):
    d = table(seed=seed)
    rng = np.random.default_rng(seed)
    plain = cr.crossed(d)
    moved = cr.crossed((d * scale + shift)[:, rng.permutation(12)][rng.permutation(4)])
    assert moved.se == pytest.approx(scale * plain.se, rel=1e-7)
    assert moved.mean == pytest.approx(scale * plain.mean + shift, abs=1e-7)


def test_the_interval_is_never_narrower_than_what_seeds_or_images_say_alone():
    for seed in range(50):
        found = cr.mean_squares(table(seed=seed))
        assert found.variance >= found.seeds / (found.n * found.units)
        assert found.variance >= found.images / (found.n * found.units)


def test_people_who_repeat_count_once():
    """Ten copies of each image say nothing new: the interval is that of the images alone."""
    d = table(n=5, images=20)
    copies = np.repeat(d, 10, axis=1)
    people = np.repeat(np.arange(20), 10)
    of_people = cr.by_cluster(copies, people)
    assert of_people == pytest.approx(d, rel=1e-9)
    assert cr.crossed(copies).se < cr.crossed(of_people).se


def test_clusters_of_unlike_size_keep_the_mean_over_images():
    d = table(n=3, images=9)
    found = cr.by_cluster(d, np.array([0, 0, 0, 0, 0, 1, 1, 2, 3]))
    assert found.shape == (3, 4)
    assert found.mean(axis=1) == pytest.approx(d.mean(axis=1), rel=1e-9)


def test_the_image_bootstrap_agrees_with_the_normal_approximation_on_many_images():
    errors = np.random.default_rng(1).gamma(2, 0.05, (2, 5000))
    found = paired_images(*map(mean_of, errors), np.arange(5000))
    difference = errors[0] - errors[1]
    half = 1.96 * difference.std(ddof=1) / math.sqrt(5000)
    expected = difference.mean() - half, difference.mean() + half
    assert found.interval == pytest.approx(expected, abs=2e-4)


def test_the_image_bootstrap_draws_people_where_images_repeat_them():
    errors = np.random.default_rng(1).gamma(2, 0.05, (2, 60)).repeat(10, axis=1)
    people = np.arange(60).repeat(10)
    alone = paired_images(*map(mean_of, errors), np.arange(600))
    found = paired_images(*map(mean_of, errors), people)
    assert found.se == pytest.approx(alone.se * math.sqrt(10), rel=0.1)
    assert found.units == 60


# Simulations -----------------------------------------------------------------------------------

# Standard deviations of seeds, images and the rest, of a difference in points.
SCENARIOS = {
    "seeds dominate": (1.0, 5.0, 10.0),
    "images dominate": (0.2, 40.0, 15.0),
    "both": (1.0, 20.0, 20.0),
}


def simulated(scenario, n, sets, rng, effect=0.0):
    """Differences (sets, n, IMAGES) for new seeds and new images around a true effect."""
    if scenario == "discrete accuracies":
        # Networks mostly agree on which images are hard; the two arms have some of their own.
        hard = rng.normal(3, 4, (sets, 1, 1, IMAGES))
        skill = rng.normal(0, 0.3, (sets, 2, n, 1)) + rng.normal(0, 1.5, (sets, 2, 1, IMAGES))
        right = rng.random((sets, 2, n, IMAGES)) < 1 / (1 + np.exp(-hard - skill))
        return effect + 100.0 * (right[:, 0].astype(float) - right[:, 1])
    seeds, images, rest = SCENARIOS[scenario]
    return (
        effect
        + rng.normal(0, seeds, (sets, n, 1))
        + rng.normal(0, images, (sets, 1, IMAGES))
        + rng.normal(0, rest, (sets, n, IMAGES))
    )


def coverage(scenario, n, sets):
    rng = np.random.default_rng([n, sets])
    held = 0
    for _ in range(sets // 100):
        for d in simulated(scenario, n, 100, rng, effect=0.7):
            low, high = cr.crossed(d).interval
            held += low <= 0.7 <= high
    return held / sets


@pytest.mark.slow
@pytest.mark.parametrize("n", [5, 10])
@pytest.mark.parametrize("scenario", [*SCENARIOS, "discrete accuracies"])
def test_the_interval_holds_new_seeds_and_new_images_in_2000_simulations(scenario, n):
    assert 0.93 <= coverage(scenario, n, 2000) <= 0.98


@pytest.mark.parametrize("scenario", ["both", "discrete accuracies"])
def test_a_slice_of_the_simulated_coverage(scenario):
    assert 0.90 <= coverage(scenario, 5, 300) <= 0.99


def false_verdicts(n, arms, tasks, sets):
    """How often a report of equal arms against one reference says better or worse of any."""
    rng = np.random.default_rng([n, arms])
    alarms = 0
    for _ in range(sets):
        p = []
        for _ in range(tasks):
            # One test set for all, and one reference for all arms.
            hard = rng.normal(0, 20.0, (arms + 1, 1, IMAGES))
            found = hard + rng.normal(0, 1.0, (arms + 1, n, 1))
            found = found + rng.normal(0, 20.0, (arms + 1, n, IMAGES))
            p += [cr.crossed(arm - found[0]).p for arm in found[1:]]
        alarms += min(de.holm(p)) < de.ALPHA
    return alarms / sets


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 5, 10])
def test_a_report_of_24_arms_and_two_tasks_is_seldom_wrong_anywhere(n):
    assert false_verdicts(n, arms=24, tasks=2, sets=500) <= 0.06


def test_a_slice_of_the_family_wise_error():
    assert false_verdicts(5, arms=8, tasks=2, sets=100) <= 0.10


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 5, 10])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_arms_that_differ_by_the_smallest_effect_are_seldom_shown_equal(scenario, n):
    """The size of the two one-sided tests, at the edge of what they call equal."""
    rng, effect, wrong, sets = np.random.default_rng(n), 5.0, 0, 2000
    for _ in range(sets // 100):
        for d in simulated(scenario, n, 100, rng, effect=effect):
            wrong += de.shown_equal(cr.crossed(d), effect)
    assert wrong / sets <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / sets)


@pytest.mark.slow
def test_the_image_bootstrap_of_one_seed_covers_in_1000_simulations():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(1000):
        hard = rng.random(300)  # an image is hard for both networks
        arm = (rng.random(300) < 0.4 * hard).astype(float)
        reference = (rng.random(300) < 0.5 * hard).astype(float)
        low, high = paired_images(mean_of(arm), mean_of(reference), np.arange(300)).interval
        covered += low <= -0.05 <= high
    assert 0.93 <= covered / 1000 <= 0.97
