import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napo.evaluation.baselines import Chance, Popularity


def test_chance_hits_once_in_twenty():
    histories = [np.array([case, 7]) for case in range(4000)]
    scores = Chance(100).candidate_scores(histories, np.tile(np.arange(20), (4000, 1)))
    hits = np.bincount(scores.argmax(axis=1), minlength=20) / 4000
    # sqrt(.05 x .95 / 4000) = 0.0034, four of them
    assert np.abs(hits - 0.05).max() < 4 * 0.0034
    assert 0 <= scores.min() < scores.max() < 1
    assert abs(scores.mean() - 0.5) < 0.01


@given(order=st.permutations(range(6)))
def test_chance_keeps_an_items_score_wherever_it_stands(order):
    items = np.array([[3, 1, 4, 15, 9, 2]])
    plain, moved = (Chance(20).candidate_scores([np.array([5])], x) for x in (items, items[:, order]))
    assert (plain[:, order] == moved).all()


def test_chance_depends_on_seed_and_history_and_nothing_else():
    items = np.arange(10)[None, :]
    scores = {
        (seed, history): Chance(10, seed=seed).candidate_scores([np.array(history, dtype=int)], items).tobytes()
        for seed in (0, 1)
        for history in ((), (1,), (1, 2))
    }
    assert len(set(scores.values())) == 6
    together = Chance(10).candidate_scores([np.array([], dtype=int), np.array([1, 2])], np.tile(items, (2, 1)))
    assert [row.tobytes() for row in together] == [scores[0, ()], scores[0, (1, 2)]]


def test_chance_lists_and_ranks_tell_one_story():
    histories, excluded = [np.array([1, 2])], [np.array([1, 2])]
    top = Chance(8).top(histories, excluded, 8)[0]
    assert sorted(top[:6].tolist()) == [0, 3, 4, 5, 6, 7]
    assert top[6:].tolist() == [-1, -1]
    for rank, item in enumerate(top[:6], start=1):
        assert Chance(8).target_ranks(histories, excluded, np.array([item])).tolist() == [rank]


def test_popularity_by_hand():
    scorer = Popularity(np.array([5, 9, 2, 5]))
    nobody = [np.array([], dtype=int)]
    assert scorer.candidate_scores(nobody, np.array([[2, 1, 0]])).tolist() == [[2, 9, 5]]
    assert scorer.top(nobody, [np.array([1])], 2).tolist() == [[0, 3]]
    # items 0 and 3 tie, below item 1
    assert scorer.target_ranks(nobody, nobody, np.array([3])).tolist() == [3]
    assert scorer.target_ranks(nobody, [np.array([1])], np.array([3])).tolist() == [2]
