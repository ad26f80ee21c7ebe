import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napo.errors import UserError
from napo.evaluation.metrics import (
    auc,
    average_precision_at,
    expected_hr_at,
    expected_mrr_at,
    expected_ndcg_at,
    graded_ndcg_at,
    hr_at,
    mrr_at,
    ndcg_at,
    precision_at,
    recall_at,
)

THREE = np.array([[1, 4, 6]])  # ten candidates, three targets
ONE = np.array([4])  # ten candidates, one target
RANKS = arrays(np.int64, st.integers(1, 20), elements=st.integers(0, 20))


@pytest.mark.parametrize(
    ("metric", "three", "one"),
    [
        (hr_at, 1, 1),
        (recall_at, 2 / 3, 1),  # ranks 1 and 4 lie within 5
        (precision_at, 2 / 5, 1 / 5),
        (ndcg_at, 1.430677 / 2.130930, 0.430677),  # (1 + 1/log2 5) / (1 + 1/log2 3 + 1/log2 4)
        (mrr_at, 1, 1 / 4),
        (average_precision_at, (1 / 1 + 2 / 4) / 3, 1 / 4),
    ],
)
def test_by_hand_at_five(metric, three, one):
    np.testing.assert_allclose(metric(THREE, 5), [three], atol=1e-6)
    np.testing.assert_allclose(metric(ONE, 5), [one], atol=1e-6)


def test_average_precision_at_ten_finds_the_third_target():
    # (1/1 + 2/4 + 3/6) / 3
    np.testing.assert_allclose(average_precision_at(THREE, 10), [2 / 3])


def test_average_precision_over_what_a_short_list_can_reach():
    # k = 2 holds one of three targets: (1/1) / 3, and over min(2, 3) places a half
    np.testing.assert_allclose(average_precision_at(THREE, 2), [1 / 3])
    np.testing.assert_allclose(average_precision_at(THREE, 2, reachable=True), [1 / 2])
    np.testing.assert_allclose(average_precision_at(np.array([[1, 2, 3]]), 2, reachable=True), [1])


def test_graded_ndcg_by_hand():
    # gains 3, 2, 1 of a, b, c, ranked b, a, x, c: (2 + 3/log2 3 + 1/log2 5) / (3 + 2/log2 3 + 1/log2 4)
    ranked = np.array([[2, 3, 0, 1]])
    np.testing.assert_allclose(graded_ndcg_at(ranked), [0.907936], atol=1e-6)
    np.testing.assert_allclose(graded_ndcg_at(ranked, gain="exponential"), [0.835448], atol=1e-6)  # gains 7, 3, 1
    np.testing.assert_allclose(graded_ndcg_at(ranked, 1), [2 / 3])


@given(found=arrays(np.bool_, (3, 8)), k=st.integers(1, 8))
def test_graded_ndcg_of_right_and_wrong_is_plain_ndcg(found, k):
    found[:, 5] = True  # a case needs a target
    ranks = np.full((3, 8), -1)
    for case, row in enumerate(found):
        ranks[case, : row.sum()] = np.flatnonzero(row) + 1
    for gain in ("linear", "exponential"):
        np.testing.assert_allclose(graded_ndcg_at(found.astype(int), k, gain=gain), ndcg_at(ranks, k))


@pytest.mark.parametrize("gains", [[[0, 0]], [[1, -1]]])
def test_gains_below_nought_or_none_above_are_refused(gains):
    with pytest.raises(UserError, match="case 0 has negative gains, or none above 0"):
        graded_ndcg_at(np.array(gains))


def test_auc_by_hand():
    # of 21 pairs, the targets at 1, 4, 6 have 0, 2, 3 others before them
    np.testing.assert_allclose(auc(THREE, 10), [16 / 21])
    np.testing.assert_allclose(auc(ONE, 10), [6 / 9])


def test_auc_counts_a_tie_as_a_half():
    # 20 equal scores: rank 20 at worst, 1 at best, and 0.5 is what a coin gets
    np.testing.assert_allclose(auc(np.array([20]), 20, best=np.array([1])), [0.5])


def test_auc_needs_somebody_to_compare_with():
    with pytest.raises(UserError, match="here is none"):
        auc(np.array([1]), 1)


def test_ndcg_of_one_target_by_rank():
    ranks = np.array([1, 2, 3, 4, 10, 20])
    np.testing.assert_allclose(ndcg_at(ranks), [1, 0.630930, 0.5, 0.430677, 0.289065, 0.227670], atol=1e-6)


def test_ndcg_is_one_on_top_a_half_at_third_and_nothing_beyond_k():
    # 1/log2(2) = 1;  1/log2(4) = 0.5;  rank 8 would give 1/log2(9) = 0.3155, but lies beyond 5
    np.testing.assert_allclose(ndcg_at(np.array([1, 3, 8]), k=5), [1.0, 0.5, 0.0])


def test_one_target_at_third_place():
    third = np.array([3])
    assert [hr_at(third, 1)[0], hr_at(third, 3)[0]] == [0, 1]
    np.testing.assert_allclose([ndcg_at(third, 10)[0], mrr_at(third)[0]], [0.5, 1 / 3])


def test_two_targets_one_of_them_beyond_k():
    # the perfect list has both on top: 1 / (1 + 1/log2 3)
    np.testing.assert_allclose(ndcg_at(np.array([[1, 4]]), 3), [0.613147], atol=1e-6)
    np.testing.assert_allclose(recall_at(np.array([[1, 4]]), 3), [0.5])


def test_a_perfect_ranking_of_more_targets_than_k_has_ndcg_one():
    np.testing.assert_allclose(ndcg_at(np.array([[1, 2, 3, 4]]), 2), [1.0])


def test_an_absent_target_scores_nothing_anywhere():
    absent = np.array([0])
    for metric in (hr_at, recall_at, precision_at, ndcg_at, mrr_at, average_precision_at):
        assert metric(absent, 20).tolist() == [0.0]
    assert ndcg_at(absent).tolist() == mrr_at(absent).tolist() == auc(absent, 20).tolist() == [0.0]


def test_rows_may_have_different_numbers_of_targets():
    ranks = np.array([[1, 4, 6], [4, -1, -1]])
    np.testing.assert_allclose(ndcg_at(ranks, 5), [0.671386, 0.430677], atol=1e-6)
    np.testing.assert_allclose(recall_at(ranks, 5), [2 / 3, 1])
    np.testing.assert_allclose(auc(ranks, 10), [16 / 21, 6 / 9])


def test_a_case_without_a_target_is_an_error_and_neither_nought_nor_one():
    with pytest.raises(UserError, match="case 1 has no target"):
        ndcg_at(np.array([[1, 2], [-1, -1]]), 5)


def test_twenty_equal_scores_pessimistic_and_expected():
    first, last = np.array([1]), np.array([20])
    assert [hr_at(last, 1)[0], ndcg_at(last, 10)[0]] == [0, 0]
    np.testing.assert_allclose(expected_hr_at(first, last, 1), [0.05])
    np.testing.assert_allclose(expected_ndcg_at(first, last, 10), [0.227178], atol=1e-6)
    np.testing.assert_allclose(expected_mrr_at(first, last), [0.179887], atol=1e-6)


@given(ranks=arrays(np.int64, 10, elements=st.integers(1, 20)), k=st.integers(1, 20))
def test_without_ties_expected_is_plain(ranks, k):
    np.testing.assert_allclose(expected_hr_at(ranks, ranks, k), hr_at(ranks, k))
    np.testing.assert_allclose(expected_ndcg_at(ranks, ranks, k), ndcg_at(ranks, k))
    np.testing.assert_allclose(expected_mrr_at(ranks, ranks, k), mrr_at(ranks, k))


@given(ranks=RANKS)
def test_at_one_hr_ndcg_and_mrr_are_the_same(ranks):
    assert hr_at(ranks, 1).tolist() == ndcg_at(ranks, 1).tolist() == mrr_at(ranks, 1).tolist()


@given(ranks=RANKS, k=st.integers(1, 20))
def test_with_one_target_average_precision_is_mrr_and_recall_is_hr(ranks, k):
    np.testing.assert_allclose(average_precision_at(ranks, k), mrr_at(ranks, k))
    np.testing.assert_allclose(recall_at(ranks, k), hr_at(ranks, k))


@given(data=st.data(), k=st.integers(1, 12))
def test_every_metric_lies_between_nought_and_one(data, k):
    targets = data.draw(st.integers(1, 5))
    rows = [data.draw(st.permutations(range(1, 11)))[:targets] for _ in range(3)]
    ranks = np.array(rows)
    for metric in (hr_at, recall_at, precision_at, ndcg_at, mrr_at, average_precision_at):
        value = metric(ranks, k)
        assert ((value >= 0) & (value <= 1 + 1e-12)).all(), metric
    assert ((auc(ranks, 10) >= 0) & (auc(ranks, 10) <= 1)).all()
