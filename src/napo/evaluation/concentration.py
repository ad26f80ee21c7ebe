"""On how few items the recommendations fall, and how much the items of one list differ.

Path    top lists -> [evaluation.concentration] -> bias_report
Takes   counts (items,) of recommendations, zeros included (several rows of them: (..., items)); lists (cases, k) of
        item ids, -1 where a list is shorter
Gives   one figure for all the lists; novelty and diversity one value a case

The figures of counts look at all lists together: their interval is the jackknife's (`statistics.jackknife_intervals`).
"""

from typing import Literal

import numpy as np

from napo.arrays import FloatArray, IntArray


def coverage(counts: IntArray) -> FloatArray:
    """The share of the catalog that is recommended to anybody."""
    return np.asarray((counts > 0).mean(axis=-1))


def gini(counts: IntArray) -> FloatArray:
    """Gini of the recommendations over all items, never recommended ones too: 0 all alike, near 1 all to one item.

    sum_j (2j - I - 1) c_j / (I sum c), with the counts c_1 <= ... <= c_I.
    """
    ordered = np.sort(counts, axis=-1).astype(np.float64)
    items = ordered.shape[-1]
    total = np.maximum(ordered.sum(axis=-1), 1.0)
    return np.asarray(ordered @ (2.0 * np.arange(1, items + 1) - items - 1) / (items * total))


def entropy(counts: IntArray) -> FloatArray:
    """Shannon entropy of the recommendations, nats: 0 all to one item, ln(items) all alike."""
    share = counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)
    return np.asarray(-(share * np.log(np.where(share > 0, share, 1.0))).sum(axis=-1))


def relative_entropy(counts: IntArray) -> FloatArray:
    """Entropy over that of equal shares, ln(items): 1 all alike."""
    return np.asarray(entropy(counts) / max(np.log(counts.shape[-1]), 1e-12))


def effective_items(counts: IntArray) -> FloatArray:
    """exp(entropy): so many items, recommended equally often, would be as concentrated."""
    return np.asarray(np.exp(entropy(counts)))


def distinct_ratio(counts: IntArray) -> FloatArray:
    """DivRatio: distinct items / recommendations. It falls as cases grow: compare at equal numbers only."""
    return np.asarray((counts > 0).sum(axis=-1) / np.maximum(counts.sum(axis=-1), 1))


def over_recommendation(counts: IntArray, most: int = 3) -> FloatArray:
    """ORRatio: the share of all recommendations that goes to the three most recommended items."""
    top = np.sort(counts, axis=-1)[..., ::-1][..., :most]
    return np.asarray(top.sum(axis=-1) / np.maximum(counts.sum(axis=-1), 1))


def novelty(lists: IntArray, item_users: IntArray, users: int) -> FloatArray:
    """Mean inverse user frequency of each list: the mean of -log2(users of the item / users).

    item_users: (items,) the distinct users that took an item in training; one that nobody took counts as one user's.
    """
    return mean_over_list(lists, -np.log2(np.maximum(item_users, 1) / users))


def diversity(
    lists: IntArray, membership: FloatArray, distance: Literal["jaccard", "cosine"] = "jaccard"
) -> FloatArray:
    """ILD@k of each list: the mean over its pairs of 1 - Jaccard(groups), or 1 - cosine of the membership.

    membership: (items, groups) such as genres. A pair with an item of no group has no distance; a list without any
    pair is NaN.
    """
    vectors = (membership > 0).astype(np.float64) if distance == "jaccard" else membership
    sizes = vectors.sum(axis=1) if distance == "jaccard" else np.linalg.norm(vectors, axis=1)
    values = np.full(len(lists), np.nan)
    first, second = np.triu_indices(lists.shape[1], k=1)
    for start in range(0, len(lists), 2048):  # a block at a time: (2048, k, groups)
        rows = lists[start : start + 2048]
        shown = vectors[rows]  # a -1 reads the last item, and is left out below
        shared = np.einsum("nig,njg->nij", shown, shown)[:, first, second]
        one, other = sizes[rows][:, first], sizes[rows][:, second]
        apart = one + other - shared if distance == "jaccard" else one * other
        known = (rows[:, first] >= 0) & (rows[:, second] >= 0) & (one > 0) & (other > 0)
        distances = np.where(known, 1.0 - shared / np.where(known, apart, 1.0), 0.0)
        pairs = known.sum(axis=1)
        some = pairs > 0
        values[start : start + 2048][some] = distances.sum(axis=1)[some] / pairs[some]
    return values


def mean_over_list(lists: IntArray, weight: FloatArray) -> FloatArray:
    """(cases,) the mean of the items' weights (items,) over each list; an empty list has 0."""
    filled = lists >= 0
    total = np.where(filled, weight[lists], 0.0).sum(axis=1)  # a -1 reads the last item, and is masked
    return np.asarray(total / np.maximum(filled.sum(axis=1), 1))
