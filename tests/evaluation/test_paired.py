import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napo.evaluation.concentration import coverage, gini
from napo.evaluation.paired import holm, mcnemar_p, sign_flip_p, swap_lists_p


def test_sign_flips_of_eight_users_are_exact():
    # six users differ, 5 for and 1 against: 14 of 64 patterns are as lopsided
    assert sign_flip_p(np.array([1.0, 1, 0, 1, -1, 1, 0, 1]), np.arange(8)) == pytest.approx(0.21875)


def test_many_sign_flips_come_close_to_the_exact_test():
    # 70 users for, 42 against, 88 alike: McNemar's exact p is 0.0104; a hair's breadth keeps the amounts apart
    differences = np.r_[np.ones(70), -np.ones(42), np.zeros(88)] * (1 + 1e-6 * np.arange(200))
    assert sign_flip_p(differences, np.arange(200)) == pytest.approx(0.0104, abs=0.003)


def test_the_smallest_p_is_one_in_flips_and_one():
    # 40 users who all gain, not all as much: two patterns in 2^40 would reach it
    assert sign_flip_p(np.linspace(1, 2, 40), np.arange(40)) == pytest.approx(1 / 10_001)


def test_users_who_differ_by_one_amount_are_mcnemars_test():
    # 70 for, 42 against: twice the binomial tail of 70 or more of 112
    assert mcnemar_p(70, 42) == pytest.approx(0.0104, abs=5e-5)
    assert mcnemar_p(0, 0) == 1.0
    differences = np.r_[np.ones(70), -np.ones(42), np.zeros(88)]
    assert sign_flip_p(differences, np.arange(200)) == mcnemar_p(70, 42)
    assert sign_flip_p(np.repeat(differences, 3) * 0.5, np.repeat(np.arange(200), 3)) == mcnemar_p(70, 42)


def test_a_case_without_a_value_does_not_count():
    differences = np.array([1.0, 1, 0, 1, -1, 1, 0, 1])
    more = np.r_[differences, np.full(4, np.nan)]
    assert sign_flip_p(more, np.r_[np.arange(8), np.arange(4)]) == pytest.approx(0.21875)


def test_a_user_flips_with_all_cases():
    # five users of four equal cases: 2 of 32 patterns, however many cases there are
    assert sign_flip_p(np.ones(20), np.repeat(np.arange(5), 4)) == pytest.approx(2 / 32)


def test_methods_that_never_differ_have_p_one():
    assert sign_flip_p(np.zeros(30), np.arange(30)) == 1.0


def test_under_the_null_p_is_below_a_twentieth_once_in_twenty():
    rng = np.random.default_rng(8)
    below = [sign_flip_p(rng.choice([-1.0, 0.0, 1.0], size=60), np.arange(60), flips=500) < 0.05 for _ in range(300)]
    assert 0.01 < np.mean(below) < 0.1


def test_swapped_lists_by_hand():
    # user 0 is given two items by the first and one by the second, user 1 the same: coverage 4/4 against 1/4.
    # Swapping one user leaves 3 items on the first side, and 3 on the other; only no swap or both reach 3/4: 1 of 2
    first, second = np.array([[0, 1], [2, 3]]), np.array([[0, -1], [0, -1]])
    assert swap_lists_p(first, second, np.arange(2), 4, coverage, swaps=4000) == pytest.approx(0.5, abs=0.03)


def test_swapping_the_same_lists_changes_nothing():
    lists = np.array([[0, 1], [2, 3], [0, 2]])
    assert swap_lists_p(lists, lists, np.arange(3), 4, gini, swaps=50) == 1.0


def test_swapped_lists_tell_broad_from_narrow_and_the_order_of_methods_does_not_matter():
    rng = np.random.default_rng(0)
    broad, narrow = rng.integers(0, 300, size=(60, 3)), rng.integers(0, 30, size=(60, 3))
    users = np.repeat(np.arange(30), 2)
    for figure in (coverage, gini):
        found = swap_lists_p(broad, narrow, users, 300, figure, swaps=500)
        assert found == pytest.approx(1 / 501)
        assert swap_lists_p(narrow, broad, users, 300, figure, swaps=500) == found


def test_under_the_null_swaps_find_nothing_19_times_in_20():
    rng = np.random.default_rng(1)
    found = [
        swap_lists_p(*rng.integers(0, 60, size=(2, 40, 2)), np.arange(40), 60, coverage, swaps=200) < 0.05
        for _ in range(100)
    ]
    assert np.mean(found) < 0.12


def test_holm_by_hand():
    assert holm([0.004, 0.012, 0.03, 0.04, 0.2]) == pytest.approx([0.02, 0.048, 0.09, 0.09, 0.2])
    assert holm([0.2, 0.004, 0.04, 0.012, 0.03]) == pytest.approx([0.2, 0.02, 0.09, 0.048, 0.09])
    assert holm([]) == []


@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_makes_p_smaller_nor_larger_than_bonferroni(p_values):
    for plain, adjusted in zip(p_values, holm(p_values), strict=True):
        assert plain <= adjusted <= min(1.0, len(p_values) * plain) + 1e-12
