"""Whom the lists favour: popularity, concentration, and groups of items.

Path    top lists -> [evaluation.popularity_bias] -> table, plots
Takes   lists (cases, k) of item ids, -1 where a list is shorter; training popularity phi (items,)
Gives   per case values where there are some, one figure for all the lists where there is but one (coverage, Gini, ...)

None of these is good or bad by itself: a random ranker wins them all. Read each beside the same figure of the targets.
Coverage and concentration count distinct items, of which a bootstrap sees too few: their interval is the jackknife's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from napo.arrays import BoolArray, FloatArray, IntArray
from napo.evaluation.statistics import Estimate, jackknife_interval


def average_popularity(
    lists: IntArray, popularity: IntArray, transform: Literal["count", "share", "log"] = "count"
) -> FloatArray:
    """ARP@k of each case: the mean over its list of phi, phi / sum phi, or log(1 + phi). An empty list has 0."""
    weight = popularity.astype(np.float64)
    if transform == "share":
        weight = weight / max(weight.sum(), 1.0)
    elif transform == "log":
        weight = np.log1p(weight)
    return _mean_over_list(lists, weight)


def head_items(popularity: IntArray, share: float = 0.8) -> BoolArray:
    """(items,) the head: by falling phi, ties by id, until `share` of all interactions is reached; the rest is tail.

    The item that crosses the border belongs to the head.
    """
    order = np.argsort(-popularity, kind="stable")
    before = np.cumsum(popularity[order]) - popularity[order]  # interactions of all that are more popular
    head = np.zeros(popularity.size, dtype=bool)
    # the tiny slack: 0.8 x 25 must be 20, whatever the floats say
    head[order] = before < share * popularity.sum() * (1 - 1e-12)
    return head


def tail_share(lists: IntArray, head: BoolArray) -> FloatArray:
    """APLT@k of each case (arXiv 1901.07555): the share of its list that lies in the tail."""
    return _mean_over_list(lists, (~head).astype(np.float64))


def popularity_lift(lists: IntArray, histories: Sequence[IntArray], popularity: IntArray) -> float:
    """GAP(lists) / GAP(histories) - 1, GAP the mean over cases of mean phi; above 0: pushed to the popular.

    Cases without a history are left out of both.
    """
    has = np.array([history.size > 0 for history in histories], dtype=bool)
    if not has.any():
        return 0.0
    past = np.mean([popularity[history].mean() for history in histories if history.size])
    return float(average_popularity(lists[has], popularity).mean() / past - 1.0) if past > 0 else 0.0


def recommendation_counts(lists: IntArray, items: int) -> IntArray:
    """(items,) how often each item is recommended, zeros included."""
    return np.bincount(lists[lists >= 0].astype(np.int64), minlength=items)


def coverage(counts: IntArray) -> float:
    """The share of the catalog that is recommended to anybody."""
    return float((counts > 0).mean())


def gini(counts: IntArray) -> float:
    """Gini of the recommendations over all items, never recommended ones too: 0 all alike, near 1 all to one item.

    sum_j (2j - I - 1) c_j / (I sum c), with the counts c_1 <= ... <= c_I.
    """
    ordered = np.sort(counts).astype(np.float64)
    items, total = ordered.size, ordered.sum()
    return float(((2 * np.arange(1, items + 1) - items - 1) * ordered).sum() / (items * total)) if total else 0.0


def entropy(counts: IntArray) -> float:
    """Shannon entropy of the recommendations, nats; its exponential is the number of items that matter."""
    share = counts[counts > 0] / max(int(counts.sum()), 1)
    return float(-(share * np.log(share)).sum())


def distinct_ratio(counts: IntArray) -> float:
    """DivRatio: distinct items / recommendations. It falls as cases grow: compare at equal numbers only."""
    return float((counts > 0).sum() / max(int(counts.sum()), 1))


def over_recommendation(counts: IntArray, most: int = 3) -> float:
    """ORRatio: the share of all recommendations that goes to the three most recommended items."""
    return float(np.sort(counts)[::-1][:most].sum() / max(int(counts.sum()), 1))


def popularity_groups(popularity: IntArray, groups: int) -> IntArray:
    """(items,) 0 (least popular) to groups - 1: equally many items in each, but equal phi in one group."""
    below = np.searchsorted(np.sort(popularity), popularity, side="left")
    return np.asarray(below * groups // popularity.size)


def group_shares(items: IntArray, membership: FloatArray) -> FloatArray:
    """(groups,) the shares of the groups among items given with repeats, -1 ignored.

    membership: (items, groups), a row sums to 1, or to 0 for an item of no group, which then drops out.
    """
    counts = np.bincount(items[items >= 0].astype(np.int64), minlength=len(membership))
    weight = counts @ membership
    return np.asarray(weight / weight.sum() if weight.sum() else weight)


def mgu(recommended: FloatArray, liked: FloatArray) -> float:
    """Mean group unfairness (arXiv 2402.15215): the mean over groups of |GP - GH|, shares of lists and of histories."""
    return float(np.abs(recommended - liked).mean())


def dgu(recommended: FloatArray, liked: FloatArray) -> float:
    """Group unfairness at its widest (arXiv 2402.15215): the largest GP - GH less the smallest."""
    return float(np.ptp(recommended - liked))


@dataclass(frozen=True)
class BiasReport:
    """All of it for one scorer's lists, beside the same of the targets and of what the users liked before."""

    popularity: FloatArray  # (cases,) ARP@k
    log_popularity: FloatArray  # (cases,) the mean of log(1 + phi)
    tail: FloatArray  # (cases,) APLT@k
    target_popularity: float
    target_log_popularity: float
    target_tail: float
    lift: float
    coverage: Estimate
    gini: Estimate
    entropy: float
    distinct_ratio: float
    over_recommendation: float
    mgu: float  # over popularity quintiles
    dgu: float
    recommended_deciles: FloatArray  # (10,) shares of popularity deciles in the lists, least popular items first
    liked_deciles: FloatArray  # (10,) in the histories
    target_deciles: FloatArray  # (10,) among the targets: the aim


def bias_report(
    lists: IntArray, histories: Sequence[IntArray], targets: IntArray, users: IntArray, popularity: IntArray
) -> BiasReport:
    """lists: (cases, k). histories: all earlier liked items of each case. targets, users: (cases,)."""
    items, head = popularity.size, head_items(popularity)
    counts = recommendation_counts(lists, items)
    liked = np.concatenate([np.empty(0, dtype=np.int64), *histories])
    deciles = np.eye(10)[popularity_groups(popularity, 10)]  # (items, 10)
    quintiles = np.eye(5)[popularity_groups(popularity, 5)]
    fifths = group_shares(lists, quintiles), group_shares(liked, quintiles)
    aim = targets[:, None]  # as lists of one
    return BiasReport(
        popularity=average_popularity(lists, popularity),
        log_popularity=average_popularity(lists, popularity, "log"),
        tail=tail_share(lists, head),
        target_popularity=float(average_popularity(aim, popularity).mean()),
        target_log_popularity=float(average_popularity(aim, popularity, "log").mean()),
        target_tail=float(tail_share(aim, head).mean()),
        lift=popularity_lift(lists, histories, popularity),
        coverage=jackknife_interval(lists, users, items, coverage),
        gini=jackknife_interval(lists, users, items, gini),
        entropy=entropy(counts),
        distinct_ratio=distinct_ratio(counts),
        over_recommendation=over_recommendation(counts),
        mgu=mgu(*fifths),
        dgu=dgu(*fifths),
        recommended_deciles=group_shares(lists, deciles),
        liked_deciles=group_shares(liked, deciles),
        target_deciles=group_shares(aim, deciles),
    )


def _mean_over_list(lists: IntArray, weight: FloatArray) -> FloatArray:
    filled = lists >= 0
    total = np.where(filled, weight[lists], 0.0).sum(axis=1)  # a -1 reads the last item, and is masked
    return np.asarray(total / np.maximum(filled.sum(axis=1), 1))
