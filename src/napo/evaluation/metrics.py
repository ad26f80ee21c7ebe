"""Accuracy of a ranking: one value a case.

Path    ranks -> [evaluation.metrics] -> statistics, table
Takes   ranks from 1 of the items that were right: (cases,) for one target a case, or (cases, R) for several
Gives   (cases,) values in [0, 1]; averaging is the report's, whose intervals and tests need the single cases

Rank 0 is a target that was not ranked at all and never counts as found. In (cases, R) a row with fewer than R targets
is filled up with -1. With one target: hr_at(r, 1) = ndcg_at(r, 1) = mrr_at(r, 1), and average precision is mrr_at.
`k=None` looks at the whole list.
"""

from typing import Literal

import numpy as np

from napo.arrays import BoolArray, FloatArray, IntArray
from napo.errors import UserError

PROPORTIONS = ("HR@", "HitRatio@", "ValidRatio")  # so begin the names of metrics that are hits and misses


def hr_at(ranks: IntArray, k: int) -> FloatArray:
    """HR@k: 1 where a target is among the first k."""
    return np.asarray(_within(ranks, k).any(axis=1), dtype=np.float64)


def recall_at(ranks: IntArray, k: int) -> FloatArray:
    """Recall@k: found / targets. Not divided by min(k, targets): with many targets a short list can't reach 1."""
    return np.asarray(_within(ranks, k).sum(axis=1) / _targets(ranks))


def precision_at(ranks: IntArray, k: int) -> FloatArray:
    """Precision@k: found / k, also where the list is shorter than k."""
    return np.asarray(_within(ranks, k).sum(axis=1) / k)


def ndcg_at(ranks: IntArray, k: int | None = None) -> FloatArray:
    """NDCG@k: the sum over found targets of 1 / log2(rank + 1), over the same sum of a perfect ranking.

    The perfect ranking has its min(targets, k) at ranks 1, 2, ... With one target it is 1 / log2(rank + 1).
    """
    gains = np.where(_within(ranks, k), _discount(_columns(ranks)), 0.0).sum(axis=1)  # (cases,)
    targets = _targets(ranks)
    places = np.minimum(targets, targets if k is None else k)
    perfect = np.cumsum(_discount(np.arange(1, places.max(initial=1) + 1)))  # perfect[m - 1]: m targets on top
    return np.asarray(gains / perfect[places - 1])


def graded_ndcg_at(
    gains: FloatArray | IntArray, k: int | None = None, *, gain: Literal["linear", "exponential"] = "linear"
) -> FloatArray:
    """NDCG@k of lists whose items are more or less right (Jarvelin and Kekalainen 2002).

    gains: (cases, M), how right the item at each rank is, best rank first, all M that were ranked; 0 is wrong.
    gain="exponential" takes 2^gain - 1. With gains of 0 and 1 alone both are `ndcg_at`.
    """
    wrong = (gains < 0).any(axis=1) | (gains.max(axis=1) <= 0)
    if wrong.any():
        case = int(np.flatnonzero(wrong)[0])
        raise UserError(
            f"case {case} has negative gains, or none above 0", remedy="leave such cases out and count them"
        )
    worth = np.asarray(gains if gain == "linear" else 2.0**gains - 1, dtype=np.float64)
    weight = _discount(np.arange(1, worth.shape[1] + 1))
    if k is not None:
        weight = np.where(np.arange(weight.size) < k, weight, 0.0)
    return np.asarray((worth @ weight) / (-np.sort(-worth, axis=1) @ weight))


def mrr_at(ranks: IntArray, k: int | None = None) -> FloatArray:
    """MRR@k: 1 / rank of the first target found, 0 where that lies beyond k."""
    return np.asarray(np.where(_within(ranks, k), 1.0 / np.maximum(_columns(ranks), 1), 0.0).max(axis=1))


def average_precision_at(ranks: IntArray, k: int | None = None, *, reachable: bool = False) -> FloatArray:
    """AP@k: the sum over found targets of (targets found so far / rank), over all the targets.

    reachable: over min(k, targets) instead, as RecBole and implicit have it; a list of k can then always reach 1.
    """
    found = np.sort(np.where(_within(ranks, k), _columns(ranks), np.iinfo(np.int64).max), axis=1)
    so_far = np.arange(1, found.shape[1] + 1) / found
    targets = _targets(ranks)
    places = targets if k is None or not reachable else np.minimum(targets, k)
    return np.asarray(np.where(found < np.iinfo(np.int64).max, so_far, 0.0).sum(axis=1) / places)


def auc(ranks: IntArray, candidates: int, best: IntArray | None = None) -> FloatArray:
    """AUC of each case: the share of (target, other) pairs in the right order; a tie counts a half.

    ranks: pessimistic. best: the optimistic ranks, without which ties count as wrong; one target a case then.
    With one target at rank r of M: (M - r) / (M - 1).
    """
    middle = ranks if best is None else (ranks + best) / 2
    ordered = np.sort(np.where(_columns(ranks) > 0, _columns(middle), candidates), axis=1)  # (cases, R)
    targets = _targets(ranks)
    others = candidates - targets
    if (others < 1).any():
        raise UserError(
            "AUC compares a target with other candidates, and here is none", where=f"{candidates} candidates"
        )
    ahead = ordered - np.arange(1, ordered.shape[1] + 1)  # others before each target
    present = np.arange(ordered.shape[1]) < targets[:, None]
    wrong = np.where(present, np.minimum(ahead, others[:, None]), 0).sum(axis=1)
    return np.asarray(1.0 - wrong / (targets * others))


def expected_hr_at(best: IntArray, worst: IntArray, k: int) -> FloatArray:
    """HR@k where equal scores are shuffled: the share of the tied places best..worst that lie within k."""
    return np.where(worst > 0, np.clip((k - best + 1) / (worst - best + 1), 0.0, 1.0), 0.0)


def expected_ndcg_at(best: IntArray, worst: IntArray, k: int | None = None) -> FloatArray:
    """NDCG@k of one target where equal scores are shuffled: the mean of 1 / log2(i + 1) over the places best..worst."""
    return _mean_over_block(_discount(np.arange(1, worst.max(initial=1) + 1)), best, worst, k)


def expected_mrr_at(best: IntArray, worst: IntArray, k: int | None = None) -> FloatArray:
    """MRR@k of one target where equal scores are shuffled: the mean of 1 / i over the places best..worst."""
    return _mean_over_block(1.0 / np.arange(1, worst.max(initial=1) + 1), best, worst, k)


def _mean_over_block(gains: FloatArray, best: IntArray, worst: IntArray, k: int | None) -> FloatArray:
    if k is not None:
        gains = np.where(np.arange(gains.size) < k, gains, 0.0)
    total = np.concatenate([[0.0], np.cumsum(gains)])  # total[r]: the gains of ranks 1..r
    mean = (total[worst] - total[np.maximum(best, 1) - 1]) / (worst - best + 1)
    return np.asarray(np.where(worst > 0, mean, 0.0))


def _discount(ranks: IntArray) -> FloatArray:
    return np.asarray(1.0 / np.log2(np.maximum(ranks, 1) + 1.0))


def _columns(ranks: IntArray | FloatArray) -> IntArray:
    """(cases, R), whichever of the two forms was given."""
    return ranks[:, None] if ranks.ndim == 1 else ranks  # type: ignore[return-value]


def _within(ranks: IntArray, k: int | None) -> BoolArray:
    """(cases, R) whether a target was found among the first k."""
    by_target = _columns(ranks)
    return (by_target >= 1) & ((by_target <= k) if k is not None else True)


def _targets(ranks: IntArray) -> IntArray:
    """(cases,) the number of targets. A case without one has no value, neither 0 nor 1."""
    targets: IntArray = (_columns(ranks) >= 0).sum(axis=1)
    if (targets == 0).any():
        case = int(np.flatnonzero(targets == 0)[0])
        raise UserError(f"case {case} has no target", remedy="leave such cases out and count them")
    return targets
