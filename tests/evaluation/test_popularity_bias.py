import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napo.data.candidates import popularity_tenths
from napo.evaluation.popularity_bias import (
    average_popularity,
    bias_report,
    coverage,
    dgu,
    distinct_ratio,
    entropy,
    gini,
    group_shares,
    head_items,
    mgu,
    over_recommendation,
    popularity_groups,
    popularity_lift,
    recommendation_counts,
    tail_share,
)

# six items, taken 25 times in training; items 1..6 of the pencil are 0..5 here
PHI = np.array([10, 6, 4, 2, 2, 1])
LISTS = np.array([[1, 2], [1, 3], [1, 2], [4, 1]]) - 1
HISTORIES = [np.array(items) - 1 for items in ([1, 3, 4], [2, 3], [1, 2], [4, 5, 6])]
# genres 1: a, 2: a b, 3: b, 4: c, 5: b c, 6: c
GENRES = np.array([[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0, 1], [0, 0.5, 0.5], [0, 0, 1]])
COUNTS = recommendation_counts(LISTS, 6)


def test_average_popularity_by_hand():
    # (10+6)/2, (10+4)/2, (10+6)/2, (2+10)/2
    np.testing.assert_allclose(average_popularity(LISTS, PHI), [8, 7, 8, 6])
    assert average_popularity(LISTS, PHI).mean() == pytest.approx(7.25)
    assert average_popularity(LISTS, PHI, "share").mean() == pytest.approx(0.29)
    # log 11 + log 7, halved
    assert average_popularity(LISTS, PHI, "log")[0] == pytest.approx(2.171903, abs=1e-6)


def test_missing_places_of_a_list_count_for_nothing():
    lists = np.array([[0, -1], [-1, -1]])
    np.testing.assert_allclose(average_popularity(lists, PHI), [10, 0])
    assert recommendation_counts(lists, 6).tolist() == [1, 0, 0, 0, 0, 0]


def test_the_head_reaches_four_fifths_of_all_events_and_holds_the_item_that_crosses():
    # 10 + 6 + 4 = 20 = 0.8 x 25
    assert head_items(PHI).tolist() == [True, True, True, False, False, False]
    assert head_items(np.array([3, 5, 2])).tolist() == [True, True, False]  # 5, then 8 of 10


def test_tail_share_by_hand():
    # item 4 in the last list of two
    assert tail_share(LISTS, head_items(PHI)).tolist() == [0, 0, 0, 0.5]
    assert tail_share(LISTS, head_items(PHI)).mean() == pytest.approx(0.125)


def test_popularity_lift_by_hand():
    # histories have (16/3 + 5 + 8 + 5/3) / 4 = 5
    assert popularity_lift(LISTS, HISTORIES, PHI) == pytest.approx(0.45)


def test_lists_like_the_histories_have_no_lift():
    assert popularity_lift(LISTS, list(LISTS), PHI) == pytest.approx(0.0)


def test_coverage_gini_and_entropy_by_hand():
    assert COUNTS.tolist() == [4, 2, 1, 1, 0, 0]
    assert coverage(COUNTS) == pytest.approx(0.666667, abs=1e-6)
    assert gini(COUNTS) == pytest.approx(0.541667, abs=1e-6)
    assert entropy(COUNTS) == pytest.approx(1.213008, abs=1e-6)
    assert np.exp(entropy(COUNTS)) == pytest.approx(3.363586, abs=1e-6)
    assert entropy(COUNTS) / np.log(6) == pytest.approx(0.676992, abs=1e-6)


def test_distinct_and_over_recommended_by_hand():
    assert distinct_ratio(COUNTS) == pytest.approx(0.5)
    assert over_recommendation(COUNTS) == pytest.approx(0.875)


def test_gini_is_nought_when_all_are_alike_and_near_one_when_one_takes_all():
    assert gini(np.full(7, 3)) == pytest.approx(0.0)
    assert gini(np.array([0] * 99 + [5])) == pytest.approx(0.99)  # 1 - 1/items


def test_group_unfairness_by_hand_over_genres():
    recommended, liked = group_shares(LISTS, GENRES), group_shares(np.concatenate(HISTORIES), GENRES)
    np.testing.assert_allclose(recommended, [5 / 8, 2 / 8, 1 / 8])
    np.testing.assert_allclose(liked, [0.3, 0.35, 0.35])
    assert mgu(recommended, liked) == pytest.approx(0.216667, abs=1e-6)
    assert dgu(recommended, liked) == pytest.approx(0.55)


def test_items_of_no_group_drop_out_of_the_shares():
    # items A: x, B: x y, C: y, D: y z, E: z, G: no listed genre
    genres = np.array([[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0.5, 0.5], [0, 0, 1], [0, 0, 0]])
    recommended = group_shares(np.array([0, 0, 0, 1, 2, 3]), genres)
    liked = group_shares(np.array([0, 1, 1, 2, 2, 3, 3, 4, 4, 0, 1, 5]), genres)
    np.testing.assert_allclose(recommended, [3.5 / 6, 2 / 6, 0.5 / 6])
    np.testing.assert_allclose(liked, [3.5 / 11, 4.5 / 11, 3 / 11])
    assert mgu(recommended, liked) == pytest.approx(0.176768, abs=1e-6)
    assert dgu(recommended, liked) == pytest.approx(0.454545, abs=1e-6)


def test_popularity_groups_are_equally_large_and_keep_equal_popularity_together():
    assert popularity_groups(np.array([50, 10, 40, 30, 20]), 5).tolist() == [4, 0, 3, 2, 1]
    assert popularity_groups(np.array([7, 7, 7, 7, 9]), 5).tolist() == [0, 0, 0, 0, 4]


@given(popularity=arrays(np.int64, st.integers(1, 60), elements=st.integers(0, 20)))
def test_tenths_are_those_that_matched_candidates_are_drawn_from(popularity):
    assert (popularity_groups(popularity, 10) == popularity_tenths(popularity)).all()


@given(counts=arrays(np.int64, st.integers(1, 30), elements=st.integers(0, 9)), seed=st.integers(0, 9))
def test_concentration_does_not_care_which_item_is_which(counts, seed):
    shuffled = np.random.default_rng(seed).permutation(counts)
    for figure in (coverage, gini, entropy, over_recommendation):
        assert figure(shuffled) == pytest.approx(figure(counts), abs=1e-12)
        assert -1e-12 <= figure(counts) <= np.log(30)


def test_the_report_puts_the_targets_beside_the_lists():
    report = bias_report(LISTS, HISTORIES, targets=np.array([0, 5, 3, 2]), users=np.arange(4), popularity=PHI)
    assert report.popularity.mean() == pytest.approx(7.25)
    assert report.target_popularity == pytest.approx((10 + 1 + 2 + 4) / 4)
    assert report.target_tail == pytest.approx(0.5)
    assert report.lift == pytest.approx(0.45)
    assert report.coverage.value == pytest.approx(4 / 6)
    # the four lists without one user each have 4, 3, 4, 3 items: SE^2 = 3/4 x 4 x (0.5/6)^2
    assert report.coverage.error == pytest.approx(0.144338, abs=1e-6)
    assert report.gini.value == pytest.approx(0.541667, abs=1e-6)
    for shares in (report.recommended_deciles, report.liked_deciles, report.target_deciles):
        assert shares.sum() == pytest.approx(1.0)
