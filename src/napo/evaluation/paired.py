"""Could two methods differ so much by chance alone? Tests on the same cases, and their p when there are several.

Path    metrics per case, lists -> [evaluation.paired] -> comparison
Takes   differences (cases,) of two methods with the user of each case; or their lists (cases, k)
Gives   two-sided p values

What a method did for a user is exchangeable with what the other did, if there is no difference: so each user's
difference changes its sign as a whole, or the user's lists change sides.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import sparse, stats

from napo.arrays import FloatArray, IntArray
from napo.evaluation.statistics import Average, by_user
from napo.rng import rng_for


def sign_flip_p(
    differences: FloatArray,
    users: IntArray,
    *,
    flips: int = 10_000,
    seed: int = 0,
    average: Average = "case",
) -> float:
    """Two-sided p of a paired difference: each user's difference keeps or changes its sign at random.

    p = (1 + #{|T*| >= |T|}) / (flips + 1); exact, over all the patterns of signs, where these are no more than `flips`;
    and where all users who differ do so by the same amount, by the binomial distribution: McNemar's test.
    """
    sums, _ = by_user(np.asarray(differences, dtype=np.float64)[:, None], users, average)
    # the number of cases does not change when a sign does, so the sum tells what the mean would
    moving = sums[:, 0][sums[:, 0] != 0]
    if not moving.size:
        return 1.0
    if np.ptp(np.abs(moving)) == 0:
        return mcnemar_p(int((moving > 0).sum()), int((moving < 0).sum()))
    reached = abs(moving.sum()) - 1e-9 * np.abs(moving).sum()  # equal sums may differ in their last bits
    if moving.size < 62 and 2**moving.size <= flips:
        patterns = (np.arange(2**moving.size)[:, None] >> np.arange(moving.size)) & 1
        return float((np.abs((2 * patterns - 1) @ moving) >= reached).mean())
    rng = rng_for("sign flips", seed)
    hits, block = 0, max(1, 4_000_000 // moving.size)
    for start in range(0, flips, block):
        signs = rng.integers(0, 2, size=(min(block, flips - start), moving.size), dtype=np.int8)
        hits += int((np.abs(2.0 * (signs.astype(np.float64) @ moving) - moving.sum()) >= reached).sum())
    return (1 + hits) / (flips + 1)


def mcnemar_p(wins: int, losses: int) -> float:
    """McNemar's exact two-sided p: so many cases where only the first method hits, so many where only the second."""
    return float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def swap_lists_p(
    first: IntArray,
    second: IntArray,
    users: IntArray,
    items: int,
    figure: Callable[[IntArray], FloatArray],
    *,
    swaps: int = 10_000,
    seed: int = 0,
) -> float:
    """Two-sided p of a difference in a figure of all the lists together (coverage, Gini): users' lists change sides.

    first, second: (cases, k), -1 where shorter. figure: counts (..., items) -> (...).
    """
    ours, theirs = (_counts_by_user(lists, users, items) for lists in (first, second))
    gained = (theirs - ours).tocsr()  # (users, items) what the first method's counts gain by a swap
    start, both = _total(ours), _total(ours) + _total(theirs)
    seen = abs(float(figure(start)) - float(figure(both - start)))
    rng = rng_for("swapped lists", seed)
    hits, block = 0, max(1, 4_000_000 // max(items, gained.shape[0]))
    for done in range(0, swaps, block):
        swapped = rng.integers(0, 2, size=(min(block, swaps - done), gained.shape[0]), dtype=np.int8)
        counts = start + np.asarray((gained.T @ swapped.T.astype(np.int64)).T)  # (block, items)
        hits += int((np.abs(figure(counts) - figure(both - counts)) >= seen - 1e-12).sum())
    return (1 + hits) / (swaps + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p of several comparisons, in the order given."""
    adjusted = [0.0] * len(p_values)
    worst = 0.0
    for place, which in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        worst = max(worst, min(1.0, (len(p_values) - place) * p_values[which]))
        adjusted[which] = worst
    return adjusted


def _counts_by_user(lists: IntArray, users: IntArray, items: int) -> sparse.csr_array:
    """(users, items) how often each user is recommended each item."""
    _, person = np.unique(users, return_inverse=True)
    case, place = np.nonzero(lists >= 0)
    ones = np.ones(case.size, dtype=np.int64)
    shape = (int(person.max()) + 1, items)
    return sparse.coo_array((ones, (person[case], lists[case, place])), shape=shape).tocsr()


def _total(counts: sparse.csr_array) -> IntArray:
    return np.asarray(counts.sum(axis=0)).ravel()
