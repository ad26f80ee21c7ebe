"""Whom the lists favour: the popular items, and which groups of items.

Path    top lists, ranks -> [evaluation.popularity_bias] -> bias_report
Takes   lists (cases, k) of item ids, -1 where a list is shorter; training popularity phi (items,)
Gives   one value a case where there is one; what a case adds to a figure of all cases otherwise

None of these is good or bad by itself: a random ranker wins them all. Read each beside the same figure of the targets.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from scipy.stats import rankdata

from napo.arrays import BoolArray, FloatArray, IntArray
from napo.evaluation.concentration import mean_over_list
from napo.evaluation.statistics import (
    Estimate,
    bootstrap_interval,
    by_user,
    function_interval,
    seeds_and_cases,
    totals_without_each,
)

LEAST_TARGETS = 20  # of a group, for its recall to mean something


def average_popularity(
    lists: IntArray, popularity: IntArray, transform: Literal["count", "share", "log"] = "count"
) -> FloatArray:
    """ARP@k of each case: the mean over its list of phi, phi / sum phi, or log(1 + phi). An empty list has 0."""
    weight = popularity.astype(np.float64)
    if transform == "share":
        weight = weight / max(weight.sum(), 1.0)
    elif transform == "log":
        weight = np.log1p(weight)
    return mean_over_list(lists, weight)


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
    return mean_over_list(lists, (~head).astype(np.float64))


def popularity_lift(
    lists: IntArray, histories: Sequence[IntArray], users: IntArray, popularity: IntArray
) -> Estimate | None:
    """GAP(lists) / GAP(histories) - 1, GAP the mean over cases of mean phi; above 0: pushed to the popular.

    Cases without a history are left out of both; None where none has one, or all its items are new.
    """
    past = np.array([popularity[history].mean() if history.size else np.nan for history in histories])
    has = ~np.isnan(past)
    if not has.any() or not past[has].any():
        return None
    pairs = np.stack([average_popularity(lists[has], popularity), past[has]], axis=1)
    return function_interval(pairs, users[has], lambda totals: totals[..., 0] / totals[..., 1] - 1.0)


def equal_opportunity(
    hits: FloatArray | BoolArray, targets: IntArray, users: IntArray, head: BoolArray
) -> Estimate | None:
    """PopREO: the spread over head and tail of their recalls, population standard deviation / mean.

    hits: (cases,) whether the target was found. 0: popular and unpopular targets are found alike often. None where
    either group has fewer than 20 targets, or nothing was found.
    """
    in_head = head[targets]
    if min(in_head.sum(), (~in_head).sum()) < LEAST_TARGETS or not np.any(hits):
        return None
    groups = np.stack([in_head, ~in_head], axis=1).astype(np.float64)  # (cases, 2)

    def spread(totals: FloatArray) -> FloatArray:
        recalls = totals[..., :2] / totals[..., 2:]
        return np.asarray(recalls.std(axis=-1) / recalls.mean(axis=-1))

    found = groups * np.asarray(hits, dtype=np.float64)[:, None]
    return function_interval(np.concatenate([found, groups], axis=1), users, spread)


def rank_bias(ranks: IntArray, targets: IntArray, users: IntArray, popularity: IntArray) -> Estimate | None:
    """PRU (arXiv 2102.05204): the mean over users of -Spearman(phi, rank) of the user's targets; above 0: bias.

    ranks: (cases,), 0 where a target was not reached, which counts as last. Users with fewer than three targets, or
    whose targets have one phi or one rank, have no value; None where no user has one.
    """
    values = user_rank_bias(np.where(ranks > 0, ranks, popularity.size + 1), popularity[targets], users)
    known = ~np.isnan(values)
    return bootstrap_interval(values[known], np.flatnonzero(known)) if known.any() else None


def user_rank_bias(ranks: IntArray, target_popularity: IntArray, users: IntArray) -> FloatArray:
    """(users,) -Spearman(phi, rank) of each user's targets, users by rising id; NaN where there is none."""
    order = np.argsort(users, kind="stable")
    _, starts = np.unique(users[order], return_index=True)
    values = np.full(starts.size, np.nan)
    for user, mine in enumerate(np.split(order, starts[1:])):
        if mine.size >= 3:
            phi, rank = rankdata(target_popularity[mine]), rankdata(ranks[mine])
            phi, rank = phi - phi.mean(), rank - rank.mean()
            scale = float(np.sqrt((phi @ phi) * (rank @ rank)))
            values[user] = -(phi @ rank) / scale if scale else np.nan
    return values


def popularity_groups(popularity: IntArray, groups: int) -> IntArray:
    """(items,) 0 (least popular) to groups - 1: equally many items in each, but equal phi in one group."""
    below = np.searchsorted(np.sort(popularity), popularity, side="left")
    return np.asarray(below * groups // popularity.size)


def group_weights(lists: Sequence[IntArray] | IntArray, membership: FloatArray) -> FloatArray:
    """(cases, groups) how much of each list falls to each group; -1 is ignored.

    membership: (items, groups), a row sums to 1, or to 0 for an item of no group, which then drops out. Rows of ones
    and zeros count an item fully in each of its groups, as IFairLRS (arXiv 2402.15215) does; the reports don't.
    """
    if isinstance(lists, np.ndarray):
        weights = np.zeros((len(lists), membership.shape[1]))
        for column in lists.T:  # one place at a time: (cases, k, groups) may be large
            weights += np.where((column >= 0)[:, None], membership[column], 0.0)
        return weights
    return np.stack([membership[items].sum(axis=0) for items in lists])


def shares(weights: FloatArray) -> FloatArray:
    """(..., groups) summing to 1; zeros stay zeros."""
    total = weights.sum(axis=-1, keepdims=True)
    return np.asarray(weights / np.where(total > 0, total, 1.0))


def mgu(recommended: FloatArray, liked: FloatArray) -> FloatArray:
    """Mean group unfairness (arXiv 2402.15215): the mean over groups of |GP - GH|, shares of lists and of histories."""
    return np.asarray(np.abs(recommended - liked).mean(axis=-1))


def dgu(recommended: FloatArray, liked: FloatArray) -> FloatArray:
    """Group unfairness at its widest (arXiv 2402.15215): the largest GP - GH less the smallest."""
    return np.asarray(np.ptp(recommended - liked, axis=-1))


def group_unfairness(recommended: FloatArray, liked: FloatArray, users: IntArray) -> dict[str, Estimate]:
    """MGU and DGU with intervals. recommended, liked: `group_weights` of lists and histories, (cases, groups)."""
    both = np.concatenate([recommended, liked], axis=1)

    def over(measure: Callable[[FloatArray, FloatArray], FloatArray]) -> Estimate | None:
        return function_interval(both, users, lambda totals: measure(*map(shares, np.split(totals, 2, axis=-1))))

    found = {"MGU": over(mgu), "DGU": over(dgu)}
    return {name: estimate for name, estimate in found.items() if estimate is not None}


def unfairness_gain(
    others: Sequence[FloatArray],
    ours: Sequence[FloatArray],
    liked: FloatArray,
    users: IntArray,
    measure: Callable[[FloatArray, FloatArray], FloatArray] = mgu,
) -> Estimate:
    """By how much our lists' MGU lies below the others', with its interval over users, and over seeds if several.

    others, ours: a seed each, `group_weights` of lists, (cases, groups); liked: of the histories. measure: or `dgu`. It
    is no mean over cases, so each user stands in by the pull at it, (U - 1)(mean of all MGU without one user - MGU
    without this one), the jackknife's influence. One seed: BCa over users.
    """

    def gain(totals: FloatArray) -> FloatArray:
        theirs, mine, past = map(shares, np.split(totals, 3, axis=-1))
        return np.asarray(measure(theirs, past) - measure(mine, past))

    pairs = [
        np.concatenate([theirs, mine, liked], axis=1).astype(np.float64)
        for theirs, mine in zip(others, ours, strict=True)
    ]
    if len(pairs) == 1:
        estimate = function_interval(pairs[0], users, gain)
        assert estimate is not None  # shares of nothing are 0, so there is always a value
        return estimate
    influences = []
    for contributions in pairs:
        totals, _ = by_user(contributions, users, "case")
        left_out = gain(totals_without_each(totals))
        value = float(gain(totals.sum(axis=0)))
        influences.append(value + (len(totals) - 1) * (left_out.mean() - left_out))
    return seeds_and_cases(influences, np.arange(influences[0].size))
