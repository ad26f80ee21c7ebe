"""The rows every table needs: a scorer that guesses, and one that knows only what sells.

Path    cases -> [evaluation.baselines] -> evaluation.protocols
Takes   histories and candidates, as any Scorer; training popularity phi (items,)
Gives   Scorers `Chance` and `Popularity`
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napo.arrays import FloatArray, IntArray
from napo.evaluation.ranks import full_ranks, top_items
from napo.rng import seed_for


class Chance:
    """Random scores: HR@k is about k / M among M candidates, k / items over the catalog.

    A score is a hash of (seed, history, item): one case asked twice, in another batch or with its candidates in another
    order, has the same scores, and so have two cases with one and the same history, the empty one for instance. What
    HR@1 strays from 1 / M is chance: sqrt((1/M)(1 - 1/M)/n), 0.003 for 5,152 cases of 20 candidates.
    """

    name = "chance"

    def __init__(self, items: int, seed: int = 0) -> None:
        self.items, self.seed = items, seed

    def candidate_scores(self, histories: Sequence[IntArray], candidates: IntArray) -> FloatArray:
        """(n, C) numbers in [0, 1)."""
        keys = [seed_for("chance", self.seed, *history.tolist()) for history in histories]
        return _hashed(np.array(keys, dtype=np.uint64)[:, None], candidates)

    def top(self, histories: Sequence[IntArray], excluded: Sequence[IntArray], k: int) -> IntArray:
        """(n, k) items drawn without replacement from those not excluded."""
        return top_items(self._all_scores(histories), excluded, k)

    def target_ranks(self, histories: Sequence[IntArray], excluded: Sequence[IntArray], targets: IntArray) -> IntArray:
        """(n,) ranks, each as likely as another."""
        return full_ranks(self._all_scores(histories), excluded, targets).worst

    def _all_scores(self, histories: Sequence[IntArray]) -> FloatArray:
        return self.candidate_scores(histories, np.arange(self.items)[None, :])


class Popularity:
    """The most popular of the training events first, for everybody; equal counts are ties."""

    name = "popularity"

    def __init__(self, popularity: IntArray) -> None:
        self._scores = popularity.astype(np.float64)  # (items,)

    def candidate_scores(self, histories: Sequence[IntArray], candidates: IntArray) -> FloatArray:
        """(n, C) training events of the candidates."""
        return self._scores[candidates]

    def top(self, histories: Sequence[IntArray], excluded: Sequence[IntArray], k: int) -> IntArray:
        """(n, k) the most popular items that are not excluded, equal counts by id."""
        return top_items(self._for_all(histories), excluded, k)

    def target_ranks(self, histories: Sequence[IntArray], excluded: Sequence[IntArray], targets: IntArray) -> IntArray:
        """(n,) ranks by popularity, pessimistic among equal counts."""
        return full_ranks(self._for_all(histories), excluded, targets).worst

    def _for_all(self, histories: Sequence[IntArray]) -> FloatArray:
        return np.broadcast_to(self._scores, (len(histories), self._scores.size))  # a view: no copy a case


def _hashed(keys: NDArray[np.uint64], items: IntArray) -> FloatArray:
    """Uniform numbers in [0, 1) from (key, item): splitmix64, each bit of the input moves half of the output's."""
    with np.errstate(over="ignore"):  # wrapping is what it is meant to do
        x = keys + (items.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return np.asarray((x >> np.uint64(11)) * 2.0**-53)
