"""A model of two items among four: what it can't name is missed, what it can is ranked as it would be alone."""

import numpy as np

from napo.evaluation.earlier import Earlier


class Known:
    """Item 0 scores 2, item 1 scores 1; it fails on any other."""

    scores = np.array([2.0, 1.0])

    def __init__(self):
        self.read = []

    def title_scores(self, histories, titles):
        self.read += [history.tolist() for history in histories]
        return [self.scores[items] for items in titles]

    def top(self, histories, excluded, k):
        assert all((gone < 2).all() for gone in excluded)
        lists = [[item for item in (0, 1) if item not in gone][:k] for gone in excluded]
        return np.array([row + [-1] * (k - len(row)) for row in lists])

    def target_ranks(self, histories, excluded, targets):
        return 1 + np.array([self.scores[target] < 2 for target in targets]).astype(int)


def ids(*rows):
    return [np.array(row, dtype=np.int64) for row in rows]


def test_new_candidates_stand_below_all_that_it_knows():
    known = Known()
    scores = Earlier(known, 2, "before").candidate_scores(ids([3, 0], [2]), np.array([[3, 1, 0], [2, 3, 1]]))
    assert scores.tolist() == [[0.0, 1.0, 2.0], [0.0, 0.0, 1.0]]
    assert known.read == [[0], []]  # it reads what it knows


def test_a_list_of_new_items_alone_is_all_one():
    scores = Earlier(Known(), 2, "before").candidate_scores(ids([0]), np.array([[2, 3]]))
    assert scores[0, 0] == scores[0, 1]


def test_new_targets_are_not_reached_and_lists_hold_what_it_knows():
    scorer = Earlier(Known(), 2, "before")
    assert scorer.target_ranks(ids([], [], []), ids([], [3], []), np.array([1, 2, 0])).tolist() == [2, 0, 1]
    assert scorer.target_ranks(ids([]), ids([]), np.array([3])).tolist() == [0]
    assert scorer.top(ids([], []), ids([], [0, 3]), 3).tolist() == [[0, 1, -1], [1, -1, -1]]
