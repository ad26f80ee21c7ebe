import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napo.errors import UserError
from napo.evaluation.popularity_bias import coverage
from napo.evaluation.statistics import (
    Estimate,
    bootstrap_interval,
    bootstrap_intervals,
    cases_needed,
    design_effect,
    detectable_difference,
    holm,
    jackknife_interval,
    seeds_and_cases,
    sign_flip_p,
    verdict,
    wilson_interval,
)


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


@given(hits=st.integers(0, 30), more=st.integers(0, 30))
def test_wilsons_interval_holds_the_share_and_stays_a_share(hits, more):
    estimate = wilson_interval(hits, max(1, hits + more))
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


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


def test_many_users_are_left_out_in_groups():
    rng = np.random.default_rng(6)
    lists, users = rng.integers(0, 50, size=(400, 2)), np.arange(400)
    one_by_one = jackknife_interval(lists, users, 300, coverage)
    assert jackknife_interval(lists, users, 300, coverage, groups=100).error == pytest.approx(one_by_one.error, rel=0.6)


# --- sign flips ---------------------------------------------------------------------------------------------------


def test_sign_flips_of_eight_users_are_exact():
    # six users differ, 5 for and 1 against: 14 of 64 patterns are as lopsided
    assert sign_flip_p(np.array([1.0, 1, 0, 1, -1, 1, 0, 1]), np.arange(8)) == pytest.approx(0.21875)


def test_many_sign_flips_come_close_to_the_exact_test():
    # 70 users for, 42 against, 88 alike: McNemar's exact p is 0.0104
    differences = np.r_[np.ones(70), -np.ones(42), np.zeros(88)]
    assert sign_flip_p(differences, np.arange(200)) == pytest.approx(0.0104, abs=0.003)


def test_the_smallest_p_is_one_in_flips_and_one():
    assert sign_flip_p(np.ones(40), np.arange(40)) == pytest.approx(1 / 10_001)


def test_a_user_flips_with_all_cases():
    # five users of four equal cases: 2 of 32 patterns, however many cases there are
    assert sign_flip_p(np.ones(20), np.repeat(np.arange(5), 4)) == pytest.approx(2 / 32)


def test_methods_that_never_differ_have_p_one():
    assert sign_flip_p(np.zeros(30), np.arange(30)) == 1.0


def test_under_the_null_p_is_below_a_twentieth_once_in_twenty():
    rng = np.random.default_rng(8)
    below = [sign_flip_p(rng.choice([-1.0, 0.0, 1.0], size=60), np.arange(60), flips=500) < 0.05 for _ in range(300)]
    assert 0.01 < np.mean(below) < 0.1


# --- several comparisons, several seeds ---------------------------------------------------------------------------


def test_holm_by_hand():
    assert holm([0.004, 0.012, 0.03, 0.04, 0.2]) == pytest.approx([0.02, 0.048, 0.09, 0.09, 0.2])
    assert holm([0.2, 0.004, 0.04, 0.012, 0.03]) == pytest.approx([0.2, 0.02, 0.09, 0.048, 0.09])
    assert holm([]) == []


@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_makes_p_smaller_nor_larger_than_bonferroni(p_values):
    for plain, adjusted in zip(p_values, holm(p_values), strict=True):
        assert plain <= adjusted <= min(1.0, len(p_values) * plain) + 1e-12


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


def test_one_seed_is_refused():
    with pytest.raises(UserError, match="1 seeds"):
        seeds_and_cases([np.zeros(5)], np.arange(5))


def test_p_from_a_standard_error():
    assert Estimate(1.96, 0, 0, 1.0).p_value() == pytest.approx(0.05, abs=1e-4)
    assert Estimate(4.303, 0, 0, 1.0, 0.9, 2).p_value() == pytest.approx(0.05, abs=1e-4)
    assert Estimate(0.0, 0, 0, 0.0).p_value() == 1.0


# --- planning and verdicts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cases", "unpaired", "paired", "clustered"),
    [
        (500, 0.086, (0.040, 0.056, 0.069), 0.071),
        (1_000, 0.061, (0.028, 0.040, 0.049), 0.050),
        (5_000, 0.027, (0.013, 0.018, 0.022), 0.022),
        (20_000, 0.014, (0.006, 0.009, 0.011), 0.011),
    ],
)
def test_smallest_detectable_differences_at_hr_0_37(cases, unpaired, paired, clustered):
    # two independent samples differ in 2 x .37 x .63 of pairs
    assert detectable_difference(2 * 0.37 * 0.63, cases) == pytest.approx(unpaired, abs=6e-4)
    for differing, expected in zip((0.1, 0.2, 0.3), paired, strict=True):
        assert detectable_difference(differing, cases) == pytest.approx(expected, abs=6e-4)
    assert detectable_difference(0.2, cases, design_effect=1.6) == pytest.approx(clustered, abs=6e-4)


def test_cases_needed_by_hand():
    # 7.85 x 0.2 / difference^2
    assert [cases_needed(difference, 0.2) for difference in (0.05, 0.02, 0.01)] == [628, 3_924, 15_698]


def test_cases_needed_and_detectable_difference_undo_each_other():
    assert cases_needed(detectable_difference(0.3, 1234, design_effect=1.6), 0.3, design_effect=1.6) == 1234


def test_an_interval_above_the_margin_holds_and_one_below_does_not():
    assert verdict(Estimate(0.03, 0.01, 0.05, 0.01), 0.01, cases=1000).word == "held"
    assert verdict(Estimate(0.03, 0.01, 0.05, 0.01), 0.20, cases=1000).word == "undecided"  # Holm says no
    assert verdict(Estimate(0.03, 0.01, 0.05, 0.01), 0.01, cases=1000, margin=0.02).word == "undecided"
    assert verdict(Estimate(-0.01, -0.03, 0.009, 0.01), 0.3, cases=1000).word == "not held"
    assert verdict(Estimate(0.02, 0.01, 0.03, 0.005), 0.01, cases=1000, margin=0.05).word == "not held"


def test_a_sure_gain_below_a_hundredth_still_holds():
    # in this order: low > 0 comes before "too small to matter"
    assert verdict(Estimate(0.005, 0.002, 0.008, 0.0015), 0.001, cases=100_000).word == "held"


def test_undecided_says_how_many_cases_would_decide():
    # 0.02 with a standard error of 0.02 on 1,000 cases: (2.802 x 0.02 / 0.02)^2 x 1,000
    found = verdict(Estimate(0.02, -0.019, 0.059, 0.02), 0.3, cases=1000)
    assert found.cases_needed == pytest.approx(7849, abs=1)
    assert str(found) == f"undecided, {found.cases_needed:,} cases would decide"


def test_undecided_by_seeds_alone_asks_for_seeds():
    found = verdict(Estimate(0.02, -0.06, 0.1, 0.02, seed_error=0.019, freedom=2), 0.3, cases=1000)
    assert found.cases_needed is None
    assert str(found) == "undecided, more seeds"
