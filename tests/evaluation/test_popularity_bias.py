import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napo.data.candidates import popularity_tenths
from napo.evaluation.concentration import distinct_ratio, over_recommendation
from napo.evaluation.popularity_bias import (
    average_popularity,
    dgu,
    equal_opportunity,
    group_unfairness,
    group_weights,
    head_items,
    mgu,
    popularity_groups,
    popularity_lift,
    rank_bias,
    shares,
    tail_share,
    unfairness_gain,
    user_rank_bias,
)
from napo.evaluation.statistics import recommendation_counts
from tests.evaluation.toy import GENRES, HISTORIES, LISTS, PHI, USERS


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
    assert group_weights(lists, GENRES).tolist() == [[1, 0, 0], [0, 0, 0]]


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
    assert popularity_lift(LISTS, HISTORIES, USERS, PHI).value == pytest.approx(0.45)


def test_lists_like_the_histories_have_no_lift():
    lift = popularity_lift(LISTS, list(LISTS), USERS, PHI)
    assert lift.value == pytest.approx(0.0)
    assert (lift.low, lift.high) == pytest.approx((0.0, 0.0))


def test_the_lift_leaves_out_who_has_no_history():
    histories = [HISTORIES[0], *[np.array([], dtype=np.int64)] * 3]
    assert popularity_lift(LISTS, histories, USERS, PHI).value == pytest.approx(8 / (16 / 3) - 1)
    assert popularity_lift(LISTS, histories[1:] + histories[1:2], USERS, PHI) is None


def test_equal_opportunity_by_hand():
    # 30 targets of each kind, 18 and 6 found: recalls .6 and .2, standard deviation .2, mean .4
    head = np.array([True, False])
    targets = np.repeat([0, 1], 30)
    hits = np.r_[np.arange(30) < 18, np.arange(30) < 6]
    found = equal_opportunity(hits, targets, np.arange(60), head)
    assert found.value == pytest.approx(0.5)
    assert found.low < 0.5 < found.high


def test_equal_opportunity_asks_for_twenty_targets_of_each_and_a_hit():
    head = np.array([True, False])
    assert equal_opportunity(np.ones(49), np.repeat([0, 1], [30, 19]), np.arange(49), head) is None
    assert equal_opportunity(np.zeros(60), np.repeat([0, 1], 30), np.arange(60), head) is None


def test_rank_bias_by_hand():
    # phi 10, 6, 2, 1 at ranks 1, 3, 2, 9: rank differences 3, 0, 0, 3, so 1 - 6 x 18 / (4 x 15) = -0.8 of Spearman
    phi, ranks = np.array([10, 6, 2, 1]), np.array([1, 3, 2, 9])
    assert user_rank_bias(ranks, phi, np.zeros(4, dtype=int)).tolist() == pytest.approx([0.8])
    # of three users, the second has two targets only and the third one rank for all
    users = np.array([4, 4, 4, 4, 7, 7, 9, 9, 9])
    values = user_rank_bias(np.r_[ranks, 1, 2, 5, 5, 5], np.r_[phi, 3, 4, 1, 2, 3], users)
    np.testing.assert_allclose(values, [0.8, np.nan, np.nan])


def test_a_target_that_was_not_reached_ranks_last():
    # the least popular of three is not found: as biased as can be
    found = rank_bias(np.array([1, 2, 0]), np.array([0, 1, 2]), np.zeros(3, dtype=int), PHI)
    assert found.value == pytest.approx(1.0)
    assert rank_bias(np.array([1, 2]), np.array([0, 1]), np.zeros(2, dtype=int), PHI) is None


def test_group_unfairness_by_hand_over_genres():
    weights = group_weights(LISTS, GENRES), group_weights(HISTORIES, GENRES)
    recommended, liked = (shares(each.sum(axis=0)) for each in weights)
    np.testing.assert_allclose(recommended, [5 / 8, 2 / 8, 1 / 8])
    np.testing.assert_allclose(liked, [0.3, 0.35, 0.35])
    assert mgu(recommended, liked) == pytest.approx(0.216667, abs=1e-6)
    assert dgu(recommended, liked) == pytest.approx(0.55)
    found = group_unfairness(*weights, USERS)
    assert found["MGU"].value == pytest.approx(0.216667, abs=1e-6)
    assert found["DGU"].low < found["DGU"].value == pytest.approx(0.55)


def test_a_gain_in_group_unfairness_is_the_difference_of_both():
    theirs, liked = group_weights(LISTS, GENRES), group_weights(HISTORIES, GENRES)
    same = unfairness_gain([theirs], [theirs], liked, USERS)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    # lists with the histories' own shares have an MGU of 0
    assert unfairness_gain([theirs], [liked], liked, USERS).value == pytest.approx(0.216667, abs=1e-6)
    two = unfairness_gain([theirs, theirs], [liked, theirs], liked, USERS)
    assert two.value == pytest.approx(0.216667 / 2, abs=1e-6)
    assert two.seed_error > 0


def test_the_pull_of_users_has_the_spread_that_resampling_them_shows():
    rng = np.random.default_rng(0)
    theirs, ours, liked = (rng.multinomial(10, shares, size=600) for shares in ([0.1, 0.9], [0.3, 0.7], [0.5, 0.5]))
    drawn = unfairness_gain([theirs], [ours], liked, np.arange(600))
    both = unfairness_gain([theirs, theirs], [ours, ours], liked, np.arange(600))
    assert drawn.value == both.value == pytest.approx(0.2, abs=0.02)
    assert both.error == pytest.approx(drawn.error, rel=0.1)
    assert both.low == pytest.approx(drawn.low, abs=0.1 * drawn.error)


# SPRec's worked numbers. A: genre x, B: x y, C: y, D: y z, E: z, G: one that is not listed; histories AB BC CD DE EA BG
LISTED = np.array([[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0.5, 0.5], [0, 0, 1], [0, 0, 0]])
HAD = np.array([0, 1, 1, 2, 2, 3, 3, 4, 4, 0, 1, 5])


def test_items_of_no_group_drop_out_of_the_shares():
    recommended = shares(group_weights([np.array([0, 0, 0, 1, 2, 3])], LISTED)[0])
    liked = shares(group_weights([HAD], LISTED)[0])
    np.testing.assert_allclose(recommended, [3.5 / 6, 2 / 6, 0.5 / 6])
    np.testing.assert_allclose(liked, [3.5 / 11, 4.5 / 11, 3 / 11])


@pytest.mark.parametrize(
    ("recommended", "whole", "by_hand"),
    [
        ([0, 0, 0, 1, 2, 3], False, (0.666667, 0.833333, 0.176768, 0.454545)),
        # an item counts fully in each of its genres: shares 4, 3, 1 of 8 against 5, 7, 4 of 16
        ([0, 0, 0, 1, 2, 3], True, (0.666667, 0.833333, 0.125, 0.3125)),
        ([0] * 6, False, (0.166667, 1.0, 0.454545, 1.090909)),  # collapsed onto one item
    ],
)
def test_the_four_figures_of_sprec_by_hand(recommended, whole, by_hand):
    lists, membership = np.array(recommended)[:, None], (LISTED > 0).astype(float) if whole else LISTED
    counts = recommendation_counts(lists, 6)
    ours = shares(group_weights(lists, membership).sum(axis=0))
    liked = shares(group_weights([HAD], membership)[0])
    found = distinct_ratio(counts), over_recommendation(counts), mgu(ours, liked), dgu(ours, liked)
    np.testing.assert_allclose(found, by_hand, atol=1e-6)


def test_popularity_groups_are_equally_large_and_keep_equal_popularity_together():
    assert popularity_groups(np.array([50, 10, 40, 30, 20]), 5).tolist() == [4, 0, 3, 2, 1]
    assert popularity_groups(np.array([7, 7, 7, 7, 9]), 5).tolist() == [0, 0, 0, 0, 4]


@given(popularity=arrays(np.int64, st.integers(1, 60), elements=st.integers(0, 20)))
def test_tenths_are_those_that_matched_candidates_are_drawn_from(popularity):
    assert (popularity_groups(popularity, 10) == popularity_tenths(popularity)).all()
