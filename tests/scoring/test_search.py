from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napo.errors import UserError
from napo.scoring.batch import Row
from napo.scoring.continuations import TitleModel, continuations
from napo.scoring.naive import naive_title_log_probs
from napo.scoring.search import all_log_probs, exact_ranks, exact_top
from napo.scoring.shared_prefix import Policy
from napo.scoring.tree import PrefixTree
from tests.scoring.toys import (
    NEXT,
    NEXT_WITH_TAIL,
    TITLES,
    HashedPolicy,
    ToyPolicy,
    by_hand,
    catalog_tree,
    ids,
    language_policy,
    toy_tree,
)

END, VOCABULARY = 1, 8
BOTH = pytest.mark.parametrize("normalize", ["catalog", "vocabulary"])

# tokens 2..4 alone, so that titles share beginnings, end inside one another, and are equal
titles = st.lists(st.lists(st.integers(2, 4), min_size=1, max_size=4), min_size=1, max_size=10)
cases = st.lists(st.lists(st.integers(0, 9), max_size=3), min_size=1, max_size=3)


def model_of(names, policy: Policy, normalize="catalog", frame=NEXT, trained=None, **portions) -> TitleModel:
    tree = PrefixTree.build([[*name, END] for name in names], END, trained=trained)
    return TitleModel(policy, tree, frame, normalize, **portions)


def brute_force(model: TitleModel, history) -> np.ndarray:
    """(items,) log-probs by hand, a title after the other, without the tree."""
    every = [model.tree.title(item).tolist() for item in range(model.tree.items)]
    prompt = [*model.frame.header, *(token for item in history for token in every[item]), *model.frame.tail]
    return np.array(by_hand(model.policy, prompt, every, model.normalize, model.tree.trained))


def sorted_items(scores: np.ndarray, excluded) -> list[int]:
    """Best first, equal ones by id. Rounded: that far apart the two ways to sum may lie."""
    return sorted(set(range(len(scores))) - set(excluded), key=lambda item: (-round(scores[item], 9), item))


@settings(deadline=None, max_examples=60)
@given(
    names=titles,
    histories=cases,
    k=st.integers(1, 12),
    width=st.integers(1, 4),
    normalize=st.sampled_from(["catalog", "vocabulary"]),
    shared=st.booleans(),
    batch_tokens=st.sampled_from([1, 40, 1000]),
    data=st.data(),
)
def test_top_and_ranks_equal_brute_force(names, histories, k, width, normalize, shared, batch_tokens, data):
    item = st.integers(0, len(names) - 1)
    histories = [ids(*(entry % len(names) for entry in history)) for history in histories]
    excluded = [ids(*data.draw(st.lists(item, max_size=len(names)))) for _ in histories]
    targets = ids(*(data.draw(item) for _ in histories))
    allowed = data.draw(st.none() | st.lists(st.booleans(), min_size=len(names), max_size=len(names)).map(np.array))
    policy = HashedPolicy(VOCABULARY, seed=data.draw(st.integers(0, 99)))
    trained = data.draw(st.integers(1, len(names)))
    model = model_of(names, policy, normalize, trained=trained, shared=shared, batch_tokens=batch_tokens)

    top, log_probs = exact_top(model, histories, excluded, k, allowed=allowed, width=width)
    ranks = exact_ranks(model, histories, excluded, targets)
    every = all_log_probs(model, histories)

    for row, history in enumerate(histories):
        scores = brute_force(model, history)
        np.testing.assert_allclose(every[row], scores, atol=1e-9)
        filtered = [] if allowed is None else np.flatnonzero(~allowed).tolist()
        best = sorted_items(scores, [*excluded[row], *filtered])[:k]  # so never fewer than k while k are left
        assert top[row].tolist() == best + [-1] * (k - len(best))
        np.testing.assert_allclose(log_probs[row], [*scores[best], *[-np.inf] * (k - len(best))], atol=1e-9)
        rivals = set(range(len(names))) - set(excluded[row].tolist()) - {targets[row]}
        assert ranks[row] == 1 + sum(scores[rival] >= scores[targets[row]] - 1e-9 for rival in rivals)


@pytest.mark.parametrize("shape", ["llama", "gpt2"])
@BOTH
@torch.no_grad()
def test_all_ways_to_a_log_prob_give_the_same(shape, normalize):
    policy, tree = language_policy(shape), catalog_tree()
    model = TitleModel(policy, tree, NEXT, normalize)
    histories = [ids(0, 5, 4), ids(), ids(8)]
    rows = [Row(items, branches=ids(*range(9)), sees=np.full(9, len(items))) for items in histories]
    naive = naive_title_log_probs(policy, rows, tree, NEXT, normalize).reshape(3, 9).numpy()
    np.testing.assert_allclose(all_log_probs(model, histories), naive, atol=1e-6)
    items, log_probs = exact_top(model, histories, [ids()] * 3, 9)
    np.testing.assert_allclose(log_probs, np.take_along_axis(naive, items, axis=1), atol=1e-6)
    assert (np.diff(log_probs, axis=1) <= 0).all()
    one_row_each = replace(model, shared=False)
    np.testing.assert_allclose(exact_top(one_row_each, histories, [ids()] * 3, 9)[1], log_probs, atol=1e-6)
    for target in range(9):
        expected = (naive >= naive[:, [target]] - 1e-6).sum(axis=1)
        assert exact_ranks(model, histories, [ids()] * 3, np.full(3, target)).tolist() == expected.tolist()


def test_the_toy_tree_by_hand():
    # catalog: T3 -1.197378, T4 -1.313262, T1 -1.484362, T2 -1.597378; vocabulary: T4 T2 T1 T3
    for normalize, order, worst in (("catalog", [2, 3, 0, 1], -1.597378), ("vocabulary", [3, 1, 0, 2], -5.216083)):
        model = TitleModel(ToyPolicy(), toy_tree(), replace(NEXT, header=ids(5)), normalize)
        top, log_probs = exact_top(model, [ids()], [ids()], 4)
        ranks = exact_ranks(model, [ids()] * 4, [ids()] * 4, ids(0, 1, 2, 3))
        assert top.tolist() == [order]
        assert log_probs[0, 3] == pytest.approx(worst, abs=1e-6)
        assert ranks.tolist() == [order.index(item) + 1 for item in range(4)]


@BOTH
def test_probabilities_of_distinct_titles_sum_to_one_under_catalog_alone(normalize):
    model = TitleModel(HashedPolicy(30), catalog_tree(), NEXT, normalize)
    distinct = [0, 1, 2, 4, 5, 6, 7, 8]
    sums = np.exp(all_log_probs(model, [ids(0, 4), ids()])[:, distinct]).sum(axis=1)
    if normalize == "catalog":
        np.testing.assert_allclose(sums, 1.0)
    else:
        assert (sums < 0.9).all()


ALIENS = ((2, 3), (2, 3, 4), (2, 3, 5, 6), (2, 3, 5, 6, 7, 2), (4, 4), (4, 4))  # the last two: two films, one title


class Fond(HashedPolicy):
    """Thinks of one title above all."""

    def __init__(self, title) -> None:
        super().__init__(VOCABULARY)
        self.title = (*title, END)

    def logits_after(self, seen):
        logits, begun = super().logits_after(seen), tuple(seen[len(NEXT.header) :])
        if begun == self.title[: len(begun)] and len(begun) < len(self.title):
            logits[self.title[len(begun)]] += 10
        return logits


@BOTH
@pytest.mark.parametrize("item", [0, 1, 2, 3, 4])
def test_titles_that_begin_with_another_title_can_each_come_first(normalize, item):
    model = model_of(ALIENS, Fond(ALIENS[item]), normalize)
    assert exact_top(model, [ids()], [ids()], 1)[0].tolist() == [[item]]
    assert exact_ranks(model, [ids()], [ids()], ids(item)).tolist() == [2 if item == 4 else 1]  # item 5 is its twin


@BOTH
def test_equal_titles_are_a_tie_both_listed_and_rank_below_one_another(normalize):
    model = model_of(ALIENS, HashedPolicy(8), normalize)
    (top,), (log_probs,) = exact_top(model, [ids()], [ids()], 6)
    place = top.tolist().index(4)
    assert top[place + 1] == 5
    assert log_probs[place] == log_probs[place + 1]
    assert exact_ranks(model, [ids()] * 2, [ids()] * 2, ids(4, 5)).tolist() == [place + 2, place + 2]
    # with its twin left out, each has the place to itself
    assert exact_ranks(model, [ids()] * 2, [ids(5), ids(4)], ids(4, 5)).tolist() == [place + 1, place + 1]
    assert exact_top(model, [ids()], [ids(4)], 6)[0][0].tolist() == [item for item in top.tolist() if item != 4] + [-1]


@BOTH
def test_an_excluded_target_still_has_a_rank(normalize):
    model = model_of(ALIENS, HashedPolicy(8), normalize)
    with_it, without = (exact_ranks(model, [ids(0)], [out], ids(1)) for out in (ids(0), ids(0, 1)))
    assert with_it == without


@BOTH
def test_where_all_is_left_out_nothing_is_asked_of_the_model(normalize):
    policy = HashedPolicy(8)
    top, log_probs = exact_top(model_of(ALIENS, policy, normalize), [ids()], [ids(0, 1, 2, 3, 4, 5)], 2)
    assert top.tolist() == [[-1, -1]]
    assert np.isneginf(log_probs).all()
    assert policy.rows_run == 0


@BOTH
def test_a_filter_spares_the_branches_that_it_empties(normalize):
    model = model_of(ALIENS, policy := HashedPolicy(8), normalize)
    twins = np.array([False] * 4 + [True] * 2)
    assert exact_top(model, [ids()], [ids()], 3, allowed=twins)[0].tolist() == [[4, 5, -1]]
    assert exact_top(model, [ids()], [ids(4)], 3, allowed=twins)[0].tolist() == [[5, -1, -1]]
    asked = policy.rows_run
    assert exact_top(model, [ids()], [ids(4, 5)], 3, allowed=twins)[0].tolist() == [[-1, -1, -1]]
    assert policy.rows_run == asked  # nothing is left: nothing is asked


def test_titles_of_a_single_token_take_one_round():
    policy = HashedPolicy(30)
    model = model_of([(token,) for token in range(2, 30)], policy)
    exact_top(model, [ids(3), ids(4, 5)], [ids(3), ids(4, 5)], 5)
    assert policy.rows_run == 2
    exact_ranks(model, [ids(3), ids(4, 5)], [ids(3), ids(4, 5)], ids(7, 8))
    assert policy.rows_run == 4


def test_a_search_leaves_most_of_a_large_tree_alone():
    # 512 titles of 9 binary choices: 511 nodes with a choice; sharp logits
    policy = HashedPolicy(8, scale=5.0)
    model = model_of([[2 + (number >> bit & 1) for bit in range(9)] for number in range(512)], policy)
    exact_top(model, [ids()], [ids()], 1, width=1)
    assert policy.rows_run < 60


@BOTH
def test_small_portions_change_nothing(normalize, monkeypatch):
    model = TitleModel(HashedPolicy(30), catalog_tree(), NEXT, normalize)
    histories, none, targets = [ids(0, 4), ids(), ids(6)], [ids()] * 3, ids(1, 5, 8)
    whole = all_log_probs(model, histories)
    ranks = exact_ranks(model, histories, none, targets)
    for name in ("BESIDE", "PLACES_AT_ONCE"):
        monkeypatch.setattr(f"napo.scoring.continuations.{name}", 2)
    np.testing.assert_allclose(all_log_probs(model, histories), whole)
    assert exact_ranks(model, histories, none, targets).tolist() == ranks.tolist()


def test_children_come_node_by_node_with_log_probs_that_sum_to_one():
    model = TitleModel(ToyPolicy(), toy_tree(), replace(NEXT, header=ids(5)), "catalog")
    after_a = int(model.tree.node[1])
    nothing, found = continuations(model, [ids(3), ids()], [ids(), ids(after_a, 0)])
    assert len(nothing.node) == 0
    assert found.parent.tolist() == [0, 0, 1, 1]
    # after a: log softmax (.5, 1.3); root: log softmax (1, 0)
    np.testing.assert_allclose(found.log_prob, [-1.171101, -0.371101, -0.313262, -1.313262], atol=1e-6)


@pytest.mark.parametrize("frame", [NEXT, NEXT_WITH_TAIL])
def test_words_behind_the_history_stand_before_the_title(frame):
    model = TitleModel(HashedPolicy(30), catalog_tree(), frame, "vocabulary")
    np.testing.assert_allclose(all_log_probs(model, [ids(0, 4)])[0], brute_force(model, [0, 4]))
    assert exact_top(model, [ids(0, 4)], [ids()], 3)[0][0].tolist() == sorted_items(brute_force(model, [0, 4]), [])[:3]


def test_a_model_that_has_come_to_nothing_is_named():
    class Broken(HashedPolicy):
        def head(self, hidden, tokens):
            return super().head(hidden, tokens) * float("nan")

    with pytest.raises(UserError, match="NaN"):
        exact_top(model_of(ALIENS, Broken(8)), [ids()], [ids()], 2)


def test_a_catalog_of_one_title_is_known_without_a_model():
    model = model_of([(2, 3)], HashedPolicy(8))
    assert exact_top(model, [ids(0)], [ids()], 2)[0].tolist() == [[0, -1]]
    assert exact_ranks(model, [ids()], [ids()], ids(0)).tolist() == [1]
    assert all_log_probs(model, [ids()]).tolist() == [[0.0]]


def test_no_cases_give_no_rows():
    model = TitleModel(HashedPolicy(30), catalog_tree(), NEXT, "catalog")
    assert exact_top(model, [], [], 3)[0].shape == (0, 3)
    assert exact_ranks(model, [], [], ids()).shape == (0,)
    assert all_log_probs(model, []).shape == (0, len(TITLES))
