import numpy as np

from napo.labels._protocol import Proposals
from napo.labels.logged import Labeller, Settings
from napo.negatives._protocol import Example, SamplerContext

LABELLER = Labeller(SamplerContext(10, np.ones(10, dtype=int)), Settings())


def test_the_logged_title_is_chosen_and_the_first_proposals_are_rejected():
    examples = [Example(0, np.array([1]), chosen=2), Example(1, np.array([3]), chosen=4)]
    labelled = LABELLER.label(Proposals(examples, np.array([[5, 6], [7, 8]])), 2)
    assert labelled.chosen.tolist() == [2, 4]
    assert labelled.rejected.tolist() == [[5, 6], [7, 8]]
    assert labelled.trains.tolist() == [True, True]


def test_an_example_whose_own_title_came_up_or_that_has_too_few_is_left_out():
    examples = [Example(user, np.array([1]), chosen=2) for user in range(3)]
    labelled = LABELLER.label(Proposals(examples, np.array([[5, 2], [5, -1], [1, 5]])), 2)
    # a title of the history is a wrong answer like any other
    assert labelled.trains.tolist() == [False, False, True]
