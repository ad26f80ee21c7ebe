import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napo.errors import UserError
from napo.evaluation.ranks import candidate_ranks, finite_scores, full_ranks, top_items

# few distinct values, so that ties are common, and whole ones, so that adding a constant is exact
SCORES = arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(2, 9)), elements=st.integers(-4, 4).map(float))


def test_the_target_comes_last_among_equal_scores():
    # scores 3, 5, 5, 1; the target's is 5: one other is as high, none is higher
    ranks = candidate_ranks(np.array([[3.0, 5.0, 5.0, 1.0]]), np.array([2]))
    assert (ranks.worst, ranks.best, ranks.tied, ranks.tie_share) == (2, 1, True, 1.0)


def test_a_scorer_that_gives_everything_one_score_ranks_every_target_last():
    ranks = candidate_ranks(np.zeros((3, 20)), np.array([0, 7, 19]))
    assert ranks.worst.tolist() == [20, 20, 20]
    assert ranks.best.tolist() == [1, 1, 1]


@given(scores=SCORES, data=st.data())
def test_ranks_lie_between_one_and_the_number_of_candidates(scores, data):
    column = np.array([data.draw(st.integers(0, scores.shape[1] - 1)) for _ in scores])
    ranks = candidate_ranks(scores, column)
    assert ((ranks.best >= 1) & (ranks.best <= ranks.worst) & (ranks.worst <= scores.shape[1])).all()


@given(scores=SCORES, constant=st.integers(-1000, 1000))
def test_adding_a_constant_to_all_scores_changes_no_rank(scores, constant):
    column = np.zeros(len(scores), dtype=int)
    before, after = candidate_ranks(scores, column), candidate_ranks(scores + constant, column)
    assert (before.worst == after.worst).all()
    assert (before.best == after.best).all()


@given(scores=SCORES, data=st.data())
def test_the_place_in_the_list_does_not_matter(scores, data):
    order = np.array(data.draw(st.permutations(range(scores.shape[1]))))
    moved = np.argsort(order)[0]  # where column 0 went
    before = candidate_ranks(scores, np.zeros(len(scores), dtype=int))
    after = candidate_ranks(scores[:, order], np.full(len(scores), moved))
    assert (before.worst == after.worst).all()
    assert (before.best == after.best).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_names_case_and_item(bad):
    scores = np.array([[1.0, 2.0], [3.0, bad]])
    with pytest.raises(UserError, match="item 42 in case 1"):
        candidate_ranks(scores, np.array([0, 0]), items=np.array([[7, 8], [9, 42]]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_can_count_as_the_worst(bad):
    scores = np.array([[bad, 2.0, 1.0], [3.0, bad, 1.0]])
    ranks = candidate_ranks(scores, np.array([0, 0]), on_nan="worst")
    assert ranks.worst.tolist() == [3, 1]
    assert ranks.broken.tolist() == [True, True]


def test_case_numbers_in_messages_go_on_from_batch_to_batch():
    with pytest.raises(UserError, match="item 1 in case 101"):
        finite_scores(np.array([[0.0, 0.0], [0.0, np.nan]]), first_case=100)


def test_full_ranks_leave_out_what_is_excluded():
    scores = np.array([[5.0, 4.0, 3.0, 3.0, 1.0]])
    # item 2 ties with 3; items 0 and 1 are above it, 0 is excluded (twice named): rank 3, 2 if the tie is lucky
    ranks = full_ranks(scores, [np.array([0, 0])], np.array([2]))
    assert (ranks.worst, ranks.best) == (3, 2)


def test_an_excluded_target_has_no_rank():
    ranks = full_ranks(np.array([[5.0, 4.0]]), [np.array([1])], np.array([1]))
    assert ranks.worst.tolist() == [0]


@given(scores=SCORES)
def test_full_ranks_without_exclusions_are_candidate_ranks_over_all_items(scores):
    targets = np.full(len(scores), scores.shape[1] - 1)
    nothing = [np.empty(0, dtype=int)] * len(scores)
    full, among = full_ranks(scores, nothing, targets), candidate_ranks(scores, targets)
    assert (full.worst == among.worst).all()
    assert (full.best == among.best).all()


def test_top_items_are_best_first_with_equal_scores_by_id():
    scores = np.array([[1.0, 3.0, 2.0, 3.0, 2.0]])
    assert top_items(scores, [np.array([], dtype=int)], 3).tolist() == [[1, 3, 2]]
    assert top_items(scores, [np.array([1])], 3).tolist() == [[3, 2, 4]]


def test_a_list_with_too_few_items_left_is_filled_with_minus_one():
    assert top_items(np.array([[1.0, 3.0, 2.0]]), [np.array([1])], 3).tolist() == [[2, 0, -1]]


@given(scores=SCORES, k=st.integers(1, 9))
def test_top_items_agree_with_ranks(scores, k):
    nothing = [np.empty(0, dtype=int)] * len(scores)
    lists = top_items(scores, nothing, k)
    for target in range(scores.shape[1]):
        ranks = full_ranks(scores, nothing, np.full(len(scores), target))
        listed = (lists == target).any(axis=1)
        assert listed[ranks.worst <= k].all()
        assert not listed[ranks.best > k].any()
