import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from napo.evaluation.concentration import (
    coverage,
    distinct_ratio,
    diversity,
    effective_items,
    entropy,
    gini,
    novelty,
    over_recommendation,
    relative_entropy,
)
from tests.evaluation.toy import GENRES, LISTS, PHI

COUNTS = np.array([4, 2, 1, 1, 0, 0])  # of the items in LISTS


def test_coverage_gini_and_entropy_by_hand():
    assert coverage(COUNTS) == pytest.approx(0.666667, abs=1e-6)
    assert gini(COUNTS) == pytest.approx(0.541667, abs=1e-6)
    assert entropy(COUNTS) == pytest.approx(1.213008, abs=1e-6)
    assert effective_items(COUNTS) == pytest.approx(3.363586, abs=1e-6)
    assert relative_entropy(COUNTS) == pytest.approx(0.676992, abs=1e-6)


def test_distinct_and_over_recommended_by_hand():
    assert distinct_ratio(COUNTS) == pytest.approx(0.5)
    assert over_recommendation(COUNTS) == pytest.approx(0.875)


def test_gini_is_nought_when_all_are_alike_and_near_one_when_one_takes_all():
    assert gini(np.full(7, 3)) == pytest.approx(0.0)
    assert gini(np.array([0] * 99 + [5])) == pytest.approx(0.99)  # 1 - 1/items


@given(counts=arrays(np.int64, st.integers(1, 30), elements=st.integers(0, 9)), seed=st.integers(0, 9))
def test_concentration_does_not_care_which_item_is_which(counts, seed):
    shuffled = np.random.default_rng(seed).permutation(counts)
    for figure in (coverage, gini, entropy, over_recommendation):
        assert figure(shuffled) == pytest.approx(figure(counts), abs=1e-12)
        assert -1e-12 <= figure(counts) <= np.log(30)


@given(rows=arrays(np.int64, (3, 8), elements=st.integers(0, 9)))
def test_many_rows_of_counts_are_as_one_at_a_time(rows):
    for figure in (coverage, gini, entropy, effective_items, relative_entropy, distinct_ratio, over_recommendation):
        np.testing.assert_allclose(figure(rows), [figure(row) for row in rows])


@given(counts=arrays(np.int64, st.integers(2, 30), elements=st.integers(0, 9)).filter(np.any))
def test_entropy_is_scipys(counts):
    assert entropy(counts) == pytest.approx(stats.entropy(counts), abs=1e-12)


def test_novelty_by_hand():
    # ten users: of items taken by 10, 6, 4 and 2 of them -log2 is 0, .736966, 1.321928, 2.321928
    np.testing.assert_allclose(novelty(LISTS, PHI, 10), [0.368483, 0.660964, 0.368483, 1.160964], atol=1e-6)
    assert novelty(LISTS, PHI, 10).mean() == pytest.approx(0.639723, abs=1e-6)
    # an item that nobody took is as new as one that a single user took
    np.testing.assert_allclose(novelty(np.array([[0], [1]]), np.array([0, 1]), 8), [3, 3])


def test_diversity_by_hand():
    # genres a | a b: 1 - 1/2;  a | b: 1;  c | a: 1
    np.testing.assert_allclose(diversity(LISTS, GENRES), [0.5, 1, 0.5, 1])
    # cosine of (1, 0) and (.5, .5) is .7071
    np.testing.assert_allclose(diversity(LISTS, GENRES, "cosine"), [1 - 0.5**0.5, 1, 1 - 0.5**0.5, 1])


def test_diversity_of_three_is_the_mean_of_three_pairs():
    # a, a b, b: .5, 1, .5
    np.testing.assert_allclose(diversity(np.array([[0, 1, 2]]), GENRES), [2 / 3])


def test_pairs_without_a_group_or_an_item_have_no_distance():
    genres = np.array([[1, 0], [0, 1], [0, 0]])
    found = diversity(np.array([[0, 1, 2], [0, 2, -1], [0, -1, -1]]), genres)
    np.testing.assert_allclose(found, [1.0, np.nan, np.nan])
