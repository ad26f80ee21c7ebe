import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from napo.errors import UserError
from napo.evaluation import statistics
from napo.evaluation.concentration import coverage, entropy
from napo.evaluation.statistics import (
    Estimate,
    ListFigure,
    bca_ends,
    bootstrap_interval,
    bootstrap_intervals,
    function_interval,
    jackknife_interval,
    jackknife_intervals,
    seeds_and_cases,
    seeds_and_figures,
    wilson_interval,
)
from napo.evaluation.verdicts import design_effect
from napo.rng import rng_for


def clustered_hits(users: int, each: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Hits of `users` people with tastes of their own: correlation within a person 1 / (1 + 1.5 + 2.8) = 0.19."""
    rng = np.random.default_rng(seed)
    taste = rng.beta(1.5, 2.8, size=users)
    return (rng.random((users, each)) < taste[:, None]).astype(float).ravel(), np.repeat(np.arange(users), each)


# --- the bootstrap over users -------------------------------------------------------------------------------------


def test_one_case_a_user_gives_the_textbook_error():
    values = np.array([1.0] * 37 + [0.0] * 63)
    estimate = bootstrap_interval(values, np.arange(100))
    # sqrt(.37 x .63 / 100) = 0.0483, give or take what 2,000 resamples leave open
    assert estimate.value == pytest.approx(0.37)
    assert estimate.error == pytest.approx(0.0483, abs=0.003)
    assert (estimate.low, estimate.high) == pytest.approx((0.37 - 1.96 * 0.0483, 0.37 + 1.96 * 0.0483), abs=0.012)


def test_users_whose_five_cases_agree_count_once_each():
    values = np.repeat([1.0] * 37 + [0.0] * 63, 5)
    estimate = bootstrap_interval(values, np.repeat(np.arange(100), 5))
    assert estimate.error == pytest.approx(0.0483, abs=0.003)  # of 100, not of 500: 0.0216


def test_correlated_cases_widen_the_error_by_the_design_effect():
    # 1 + (5 - 1) x 0.19 = 1.76 times the variance
    values, users = clustered_hits(4000, 5, seed=1)
    assert design_effect(values, users) == pytest.approx(1.76, abs=0.12)
    by_cases = bootstrap_interval(values, np.arange(values.size), resamples=500)
    by_users = bootstrap_interval(values, users, resamples=500)
    assert (by_users.error / by_cases.error) ** 2 == pytest.approx(1.76, abs=0.4)


def test_cases_and_users_are_two_averages():
    # one user with 3 misses, one with a hit: 1/4 over cases, 1/2 over users
    values, users = np.array([0.0, 0, 0, 1]), np.array([5, 5, 5, 9])
    assert bootstrap_interval(values, users).value == pytest.approx(0.25)
    assert bootstrap_interval(values, users, average="user").value == pytest.approx(0.5)


def test_all_methods_see_the_same_resamples():
    values, users = clustered_hits(50, 3, seed=2)
    both = bootstrap_intervals({"a": values, "b": 1 - values}, users)
    alone = bootstrap_interval(values, users)
    assert (both["a"].low, both["a"].high) == pytest.approx((alone.low, alone.high))
    # a mirror image on the same resamples is mirrored exactly
    assert both["b"].low == pytest.approx(1 - alone.high)
    assert both["b"].high == pytest.approx(1 - alone.low)


def test_the_order_of_cases_does_not_matter():
    values, users = clustered_hits(30, 4, seed=3)
    order = np.random.default_rng(0).permutation(values.size)
    shuffled, plain = bootstrap_interval(values[order], users[order]), bootstrap_interval(values, users)
    assert (shuffled.low, shuffled.high) == pytest.approx((plain.low, plain.high))


def test_few_hits_have_wilsons_interval_and_none_still_has_a_width():
    values = np.zeros(500)
    assert bootstrap_interval(values, np.arange(500)).high == 0.0  # resamples of nothing are nothing
    none = bootstrap_interval(values, np.arange(500), proportion=True)
    assert (none.low, none.high) == pytest.approx((0.0, 0.0076), abs=5e-5)
    few = bootstrap_interval(np.r_[np.ones(4), np.zeros(196)], np.arange(200), proportion=True)
    assert (few.low, few.high) == pytest.approx((0.0078, 0.0503), abs=5e-5)  # Wilson, 4 of 200


def test_misses_alone_are_counted_by_user():
    # 100 users of five cases are at least 100 trials: 3.8415 / 103.8415
    none = bootstrap_interval(np.zeros(500), np.repeat(np.arange(100), 5), proportion=True)
    assert none.high == pytest.approx(0.03699, abs=1e-5)


def test_a_case_without_a_value_is_left_out_and_is_neither_nought_nor_one():
    values = np.array([1.0, np.nan, 0.0, np.nan, np.nan])
    found = bootstrap_intervals({"some": values, "none": np.full(5, np.nan)}, np.array([0, 0, 1, 2, 2]))
    assert found["some"].value == pytest.approx(1 / 2)
    assert "none" not in found
    by_user = bootstrap_interval(np.array([1.0, 1, 0, np.nan]), np.array([0, 0, 1, 2]), average="user")
    assert by_user.value == pytest.approx(1 / 2)  # user 2 has no mean


def test_few_hits_are_counted_among_cases_with_a_value():
    values = np.r_[np.ones(4), np.zeros(196), np.full(50, np.nan)]
    few = bootstrap_interval(values, np.arange(250), proportion=True)
    assert (few.low, few.high) == pytest.approx((0.0078, 0.0503), abs=5e-5)  # Wilson, 4 of 200


@given(hits=st.integers(0, 30), more=st.integers(0, 30))
def test_wilsons_interval_holds_the_share_and_stays_a_share(hits, more):
    estimate = wilson_interval(hits, max(1, hits + more))
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


# --- BCa ----------------------------------------------------------------------------------------------------------


def test_bca_is_scipys():
    rng = np.random.default_rng(5)
    above, below = rng.exponential(size=40), rng.exponential(size=40) + 0.2
    ours = function_interval(np.stack([above, below], axis=1), np.arange(40), lambda x: x[..., 0] / x[..., 1])
    theirs = stats.bootstrap(
        (above, below),
        lambda a, b, axis: a.mean(axis=axis) / b.mean(axis=axis),
        paired=True,
        n_resamples=4000,
        method="BCa",
        rng=np.random.default_rng(6),
    )
    assert ours.value == pytest.approx(above.mean() / below.mean())
    assert ours.low == pytest.approx(theirs.confidence_interval.low, rel=0.03)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, rel=0.03)
    assert ours.error == pytest.approx(theirs.standard_error, rel=0.08)


def test_bca_of_symmetric_resamples_is_the_percentiles():
    drawn = np.linspace(-1, 1, 2001)
    # no bias, and no skewness where what is left out pulls evenly
    assert bca_ends(drawn, 0.0, np.array([-1.0, 1.0]), 0.95) == pytest.approx((-0.95, 0.95), abs=1e-3)


def test_bca_of_constant_data_is_a_point():
    found = function_interval(np.ones((9, 2)), np.arange(9), lambda x: x[..., 0] / x[..., 1])
    assert (found.low, found.high) == (1.0, 1.0)


def test_a_ratio_of_nothing_has_no_interval():
    assert function_interval(np.zeros((4, 2)), np.arange(4), lambda x: x[..., 0] / x[..., 1]) is None


def test_a_skewed_metric_is_pulled_to_its_long_side():
    values = np.random.default_rng(7).exponential(size=60)
    plain, skewed = (bootstrap_interval(values, np.arange(60), skewed=kind) for kind in (False, True))
    assert skewed.low > plain.low
    assert skewed.high > plain.high


# --- the jackknife ------------------------------------------------------------------------------------------------


def test_the_jackknife_by_hand():
    # six items; the lists without one user each name 4, 3, 4, 3 of them
    lists = np.array([[1, 2], [1, 3], [1, 2], [4, 1]])
    estimate = jackknife_interval(lists, np.array([3, 1, 2, 0]), 6, coverage)
    assert estimate.value == pytest.approx(4 / 6)
    assert estimate.error == pytest.approx(np.sqrt(3 / 4 * 4 * (0.5 / 6) ** 2))
    assert (estimate.low, estimate.high) == pytest.approx((4 / 6 - 1.96 * 0.144338, 4 / 6 + 1.96 * 0.144338), abs=1e-4)


def test_the_jackknife_leaves_out_all_lists_of_a_user():
    # user 0 alone names items 0 and 1, over two cases: without her nothing but item 2 is left
    lists = np.array([[0], [1], [2], [2]])
    estimate = jackknife_interval(lists, np.array([0, 0, 1, 2]), 3, coverage)
    # 1/3, 1, 1: mean 7/9, SE^2 = 2/3 (16/81 + 4/81 + 4/81)
    assert estimate.error == pytest.approx(np.sqrt(2 / 3 * 24 / 81))


def test_the_jackknifes_error_is_no_smaller_than_the_spread_of_fresh_samples():
    # coverage of 120 lists of 3 out of 400 items; the jackknife errs upwards (Efron and Stein 1981), the bootstrap's
    # percentiles miss the figure itself: a resample holds 63 % of the users
    rng = np.random.default_rng(4)
    weight = 1 / np.arange(1, 401)
    weight /= weight.sum()
    seen = [
        jackknife_interval(rng.choice(400, size=(120, 3), p=weight), np.arange(120), 400, coverage) for _ in range(200)
    ]
    spread = np.std([estimate.value for estimate in seen])
    assert 1.0 < np.mean([estimate.error for estimate in seen]) / spread < 1.5


def test_figures_are_left_out_together_and_stay_below_their_highest():
    lists, users = np.array([[0], [1], [2]]), np.arange(3)
    figures = {"coverage": ListFigure(coverage), "entropy": ListFigure(entropy, np.log(4))}
    found = jackknife_intervals(lists, users, 4, figures)
    # coverage 3/4, 2/4 without anyone; entropy ln 3, ln 2 without anyone: no spread
    assert found["coverage"].value == pytest.approx(0.75)
    assert found["entropy"].value == pytest.approx(np.log(3))
    assert found["entropy"].error == pytest.approx(0.0, abs=1e-12)
    wide = jackknife_intervals(np.array([[0, 1], [0, 0], [2, 3]]), users, 4, figures)["entropy"]
    assert wide.high <= np.log(4)


def test_many_users_are_left_out_in_groups():
    rng = np.random.default_rng(6)
    lists, users = rng.integers(0, 50, size=(400, 2)), np.arange(400)
    one_by_one = jackknife_interval(lists, users, 300, coverage)
    assert jackknife_interval(lists, users, 300, coverage, groups=100).error == pytest.approx(one_by_one.error, rel=0.6)


# --- several seeds --------------------------------------------------------------------------------------------------


def test_seeds_and_cases_by_hand():
    # users (.5, .25), (.25, 0), (.5, .25), (1, .5): .016602 + .024414 - .000977
    by_seed = [np.array([0.5, 0.25, 0.5, 1.0]), np.array([0.25, 0.0, 0.25, 0.5])]
    estimate = seeds_and_cases(by_seed, np.arange(4))
    assert estimate.value == pytest.approx(0.40625)
    assert estimate.error == pytest.approx(0.2001, abs=5e-5)
    assert estimate.error**2 - estimate.seed_error**2 == pytest.approx(0.016602, abs=1e-6)
    # the seeds' part, .0234 of .0400, is more than half: t with one degree of freedom, 12.706 at 95 %
    assert estimate.freedom == 1
    assert estimate.high - estimate.value == pytest.approx(12.706 * 0.2001, abs=1e-3)


def test_seeds_that_all_agree_leave_the_error_over_users():
    values = np.random.default_rng(1).normal(size=200)
    estimate = seeds_and_cases([values, values, values], np.arange(200))
    assert estimate.error == pytest.approx(values.std(ddof=1) / np.sqrt(200))
    assert (estimate.seed_error, estimate.freedom) == (0.0, None)


def test_with_unequal_users_the_error_is_the_bootstraps():
    rng = np.random.default_rng(2)
    users = np.repeat(np.arange(300), rng.integers(1, 9, size=300))
    values = (rng.random(users.size) < rng.beta(1, 2, size=300)[users]).astype(float)
    twice = seeds_and_cases([values, values], users)
    once = bootstrap_interval(values, users)
    assert twice.value == pytest.approx(values.mean())
    assert twice.error == pytest.approx(once.error, rel=0.06)


def test_three_seeds_with_t_are_4_30_standard_errors_wide():
    rng = np.random.default_rng(3)
    seeds = [np.full(50, shift) + rng.normal(scale=0.01, size=50) for shift in (0.0, 0.3, 0.6)]
    estimate = seeds_and_cases(seeds, np.arange(50))
    assert (estimate.high - estimate.value) / estimate.error == pytest.approx(4.30, abs=0.005)


def test_figures_of_seeds_add_both_variances():
    # seeds .4 and .6: variance of their mean .02 / 2 = .01; over users .03^2 each
    found = seeds_and_figures([Estimate(0.4, 0, 0, 0.03), Estimate(0.6, 0, 0, 0.03)], low=0.0, high=1.0)
    assert found.value == pytest.approx(0.5)
    assert found.error == pytest.approx(np.sqrt(0.01 + 0.0009))
    assert (found.low, found.high) == (0.0, 1.0)  # one degree of freedom: 12.7 errors


def test_one_seed_is_refused():
    with pytest.raises(UserError, match="1 seeds"):
        seeds_and_cases([np.zeros(5)], np.arange(5))


def test_p_from_a_standard_error():
    assert Estimate(1.96, 0, 0, 1.0).p_value() == pytest.approx(0.05, abs=1e-4)
    assert Estimate(4.303, 0, 0, 1.0, 0.9, 2).p_value() == pytest.approx(0.05, abs=1e-4)
    assert Estimate(0.0, 0, 0, 0.0).p_value() == 1.0


def test_the_rows_of_a_table_draw_their_resamples_once_and_large_tables_keep_none(monkeypatch):
    asked = []
    monkeypatch.setattr(statistics, "rng_for", lambda *key: asked.append(key) or rng_for(*key))
    statistics._kept_draws.cache_clear()
    values, users = np.arange(20.0), np.arange(20)
    first, second = (bootstrap_interval(column, users) for column in (values, 2 * values))
    assert len(asked) == 1
    assert (second.low, second.high) == (2 * first.low, 2 * first.high)
    monkeypatch.setattr(statistics, "MOST_KEPT", 0)
    assert bootstrap_interval(values, users) == first
    assert len(asked) == 2
