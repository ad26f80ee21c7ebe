"""Titles that came after training: by hand, all ways to their log-probs alike, and nothing changes for the others."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napo.scoring.batch import Row, pack
from napo.scoring.continuations import TitleModel
from napo.scoring.naive import naive_title_log_probs
from napo.scoring.newcomers import edge_log_probs
from napo.scoring.search import all_log_probs
from napo.scoring.shared_prefix import TreeOnDevice, title_log_probs
from napo.scoring.tree import PrefixTree
from tests.scoring.toys import NEXT, TITLES, HashedPolicy, ids, language_policy

HALF = math.log(0.5)


@pytest.mark.parametrize(("logit", "expected"), [(5.0, HALF), (-3.0, -3 - 1.313262)])
def test_a_new_edge_gets_its_ceiling_at_most_and_old_ones_what_they_had(logit, expected):
    # log(e + 1) = 1.313262: the old edges 1 and 0 have 1 - 1.313262 and 0 - 1.313262, whatever the new one says
    values, place = torch.tensor([1.0, 0.0, logit]), torch.tensor([0, 0, 0])
    found = edge_log_probs(values, place, 1, torch.tensor([math.inf, math.inf, HALF]))
    assert found.tolist() == pytest.approx([-0.313262, -1.313262, expected], abs=1e-6)


def test_where_all_edges_are_new_they_share_as_ever():
    found = edge_log_probs(torch.tensor([2.0, 2.0]), torch.tensor([0, 0]), 1, torch.tensor([math.inf, math.inf]))
    assert found.tolist() == pytest.approx([HALF, HALF])


@pytest.mark.parametrize("trained", range(1, len(TITLES)))
@torch.no_grad()
def test_all_ways_to_a_log_prob_give_the_same(trained):
    policy, tree = language_policy("llama"), PrefixTree.build(TITLES, end=1, trained=trained)
    every = ids(*range(len(TITLES)))
    rows = [Row(items, branches=every, sees=np.full(len(every), len(items))) for items in (ids(0, 5, 4), ids(8))]
    naive = naive_title_log_probs(policy, rows, tree, NEXT, "catalog")
    shared = title_log_probs(policy, pack(rows, tree, NEXT, "catalog"), TreeOnDevice(tree), "catalog")
    torch.testing.assert_close(shared, naive, atol=1e-5, rtol=0)
    searched = all_log_probs(TitleModel(policy, tree, NEXT, "catalog"), [ids(0, 5, 4), ids(8)])
    np.testing.assert_allclose(searched.flatten(), naive.numpy(), atol=1e-5)


@settings(deadline=None, max_examples=40)
@given(
    names=st.lists(st.lists(st.integers(2, 4), min_size=1, max_size=3), min_size=2, max_size=9),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_no_old_title_moves_and_a_new_one_is_no_likelier_than_its_share_of_the_old_ones(names, seed, data):
    trained = data.draw(st.integers(1, len(names) - 1))
    titles = [[*name, 1] for name in names]

    def scores(tree):
        return all_log_probs(TitleModel(HashedPolicy(8, seed=seed), tree, NEXT, "catalog"), [ids()])[0]

    before = scores(PrefixTree.build(titles[:trained], end=1))
    after = scores(PrefixTree.build(titles, end=1, trained=trained))
    np.testing.assert_allclose(after[:trained], before, atol=1e-9)
    old = {tuple(title): math.exp(score) for title, score in zip(titles, before, strict=False)}
    assert sum(old.values()) == pytest.approx(1)
    for title, score in zip(titles[trained:], after[trained:], strict=True):
        # as long a beginning as an old title shares with it; where it shares all of it, the two are one title
        alike = max(
            length for length in range(len(title) + 1) if any(name[:length] == tuple(title[:length]) for name in old)
        )
        if alike == len(title):
            assert math.exp(score) == pytest.approx(old[tuple(title)])
            continue
        those = [chance for name, chance in old.items() if name[:alike] == tuple(title[:alike])]
        new, rivals = (
            sum(other[:shared] == title[:shared] for other in some)
            for some, shared in ((titles[trained:], alike + 1), (titles[:trained], alike))
        )
        assert math.exp(score) <= sum(those) * min(1, new / rivals) + 1e-9
