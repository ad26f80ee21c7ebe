"""Our figures are scikit-learn's, scipy's and torchmetrics', on distinct positive scores; where theirs differ, why.

`make crosscheck` compares with ranx and RecTools, which need an environment of their own (benchmarks/crosscheck).
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import average_precision_score, ndcg_score, roc_auc_score
from torchmetrics.functional import retrieval as torchmetrics

from napo.evaluation.metrics import (
    auc,
    average_precision_at,
    graded_ndcg_at,
    hr_at,
    mrr_at,
    ndcg_at,
    precision_at,
    recall_at,
)
from napo.evaluation.paired import mcnemar_p, sign_flip_p, swap_lists_p
from napo.evaluation.popularity_bias import user_rank_bias

M = 12  # candidates of a case


@st.composite
def ranked(draw):
    """One case: distinct positive scores (M,), which candidates are targets (M,), the targets' ranks (1, R)."""
    scores = np.array(draw(st.permutations(range(1, M + 1))), dtype=np.float64) / 4
    right = np.array(draw(st.lists(st.booleans(), min_size=M, max_size=M).filter(lambda x: 0 < sum(x) < M)))
    ranks = np.array([[1 + (scores > scores[target]).sum() for target in np.flatnonzero(right)]])
    return scores, right, ranks


@settings(max_examples=40, deadline=None)
@given(case=ranked(), k=st.integers(1, M))
def test_scikit_learn(case, k):
    scores, right, ranks = case
    assert ndcg_at(ranks, k)[0] == pytest.approx(ndcg_score([right], [scores], k=k))
    assert auc(ranks, M)[0] == pytest.approx(roc_auc_score(right, scores))
    assert average_precision_at(ranks)[0] == pytest.approx(average_precision_score(right, scores))


@settings(max_examples=40, deadline=None)
@given(scores=st.permutations(range(M)), gains=st.lists(st.integers(0, 4), min_size=M, max_size=M).filter(any))
def test_graded_gains_of_scikit_learn(scores, gains):
    gains = np.array(gains)
    best_first = gains[np.argsort(-np.array(scores))]
    assert graded_ndcg_at(best_first[None])[0] == pytest.approx(ndcg_score([gains], [scores]))
    assert graded_ndcg_at(best_first[None], 5)[0] == pytest.approx(ndcg_score([gains], [scores], k=5))
    exponential = graded_ndcg_at(best_first[None], gain="exponential")[0]
    assert exponential == pytest.approx(ndcg_score([2.0**gains - 1], [scores]))


@settings(max_examples=40, deadline=None)
@given(case=ranked(), k=st.integers(1, M))
def test_torchmetrics(case, k):
    scores, right, ranks = case
    given_scores, target = torch.tensor(scores), torch.tensor(right)
    pairs = [
        (hr_at, torchmetrics.retrieval_hit_rate),
        (recall_at, torchmetrics.retrieval_recall),
        (precision_at, torchmetrics.retrieval_precision),
        (ndcg_at, torchmetrics.retrieval_normalized_dcg),
        (mrr_at, torchmetrics.retrieval_reciprocal_rank),
    ]
    for ours, theirs in pairs:
        assert ours(ranks, k)[0] == pytest.approx(theirs(given_scores, target, top_k=k).item(), abs=1e-6), ours
    whole = torchmetrics.retrieval_average_precision(given_scores, target).item()
    assert average_precision_at(ranks)[0] == pytest.approx(whole, abs=1e-6)
    assert auc(ranks, M)[0] == pytest.approx(torchmetrics.retrieval_auroc(given_scores, target).item(), abs=1e-6)


def test_torchmetrics_divides_average_precision_by_what_was_found():
    # targets at 1, 4, 6: at 2 one is found, and it is on top: theirs 1/1, ours over the three that there are
    scores, right = torch.arange(10.0, 0, -1), torch.tensor([1, 0, 0, 1, 0, 1, 0, 0, 0, 0])
    assert torchmetrics.retrieval_average_precision(scores, right, top_k=2).item() == pytest.approx(1.0)
    assert average_precision_at(np.array([[1, 4, 6]]), 2)[0] == pytest.approx(1 / 3)


def test_scikit_learn_spreads_ties_and_ours_count_them_against_the_model():
    equal, target = np.ones((1, 20)), np.eye(1, 20)
    assert ndcg_score(target, equal, k=10) == pytest.approx(0.227178, abs=1e-6)  # expected_ndcg_at(1, 20, 10)
    assert ndcg_at(np.array([20]), 10)[0] == 0.0
    assert auc(np.array([20]), 20, best=np.array([1]))[0] == roc_auc_score(target[0], equal[0]) == 0.5


# --- statistics -----------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(differences=st.lists(st.integers(-3, 3), min_size=2, max_size=9))
def test_exact_sign_flips_are_scipys_permutation_test_of_pairs(differences):
    values = np.array(differences, dtype=float)
    theirs = stats.permutation_test(
        (values, np.zeros_like(values)),
        lambda a, b, axis: (a - b).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=10_000,
    ).pvalue
    assert sign_flip_p(values, np.arange(values.size)) == pytest.approx(theirs)


def test_sampled_sign_flips_are_scipys_permutation_test():
    values = np.random.default_rng(0).normal(loc=0.25, size=60)
    theirs = stats.permutation_test(
        (values, np.zeros(60)),
        lambda a, b, axis: (a - b).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=10_000,
        rng=np.random.default_rng(1),
    ).pvalue
    assert sign_flip_p(values, np.arange(60)) == pytest.approx(theirs, abs=0.012)


@given(wins=st.integers(0, 60), losses=st.integers(0, 60))
def test_mcnemar_is_scipys_binomial_test(wins, losses):
    if wins + losses:
        assert mcnemar_p(wins, losses) == pytest.approx(stats.binomtest(min(wins, losses), wins + losses).pvalue)


def test_swapped_lists_of_one_item_are_a_permutation_test_of_its_share():
    # lists of one: the share of item 0, which is a mean over users
    rng = np.random.default_rng(2)
    first, second = rng.integers(0, 2, size=(30, 1)), rng.integers(0, 3, size=(30, 1))
    ours = swap_lists_p(first, second, np.arange(30), 3, lambda counts: counts[..., 0] / 30)
    differences = (first[:, 0] == 0).astype(float) - (second[:, 0] == 0)
    assert ours == pytest.approx(sign_flip_p(differences, np.arange(30)), abs=0.02)


@settings(max_examples=30, deadline=None)
@given(
    phi=st.lists(st.integers(0, 6), min_size=3, max_size=8).filter(lambda x: len(set(x)) > 1), seed=st.integers(0, 99)
)
def test_rank_bias_is_scipys_spearman(phi, seed):
    ranks = np.random.default_rng(seed).permutation(len(phi)) + 1
    theirs = -stats.spearmanr(phi, ranks).statistic
    assert user_rank_bias(ranks, np.array(phi), np.zeros(len(phi), dtype=int))[0] == pytest.approx(theirs)
