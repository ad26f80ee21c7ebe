"""Lists made of what a model writes freely: the titles that its text comes nearest to, as the papers ground it.

Path    histories -> scoring.writer -> [scoring.nearest] -> evaluation, serving, negatives
Takes   LanguageModel, by what titles are compared (models.nearest_titles)
Gives   the protocol by which every recommender is judged: scores (n, C), lists (n, k), ranks from 1 (n,)

A list is the k titles nearest to *one* text (BIGRec, arXiv 2308.08434, and SPRec after it), not k texts: one sequel
drags its series in, and diversity at k > 1 measures the titles' likeness as much as the model. Prefer lists that are
held to the catalog (scoring.ranker), which are exact and cost less; this is for comparing with what was published.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from napo.arrays import BoolArray, FloatArray, IntArray
from napo.models.nearest_titles import SPELLING, NearestTitles
from napo.scoring.batch import NONE
from napo.scoring.generate import Key, Sampling
from napo.scoring.search import no_lists
from napo.scoring.writer import TitleWriter

if TYPE_CHECKING:
    from napo.models.language import LanguageModel

KEPT = 4096  # texts: a list and its target's rank are asked for one after the other


class NearestWriter:
    """Ranks titles by their likeness to the text that the model writes, greedily, after a history."""

    def __init__(self, language: "LanguageModel", by: str = SPELLING) -> None:
        self.name = f"{language.usage.name}, nearest titles by {by}"
        self._writer, self._nearest = TitleWriter(language), NearestTitles(language.catalog.titles, by)
        self._texts: dict[bytes, str] = {}

    def candidate_scores(self, histories: Sequence[IntArray], candidates: IntArray) -> FloatArray:
        """(n, C): likeness of each candidate."""
        return np.take_along_axis(self._likeness(histories), np.asarray(candidates, dtype=np.int64), axis=1)

    def top(self, histories: Sequence[IntArray], excluded: Sequence[IntArray], k: int) -> IntArray:
        """(n, k): the nearest titles that are not excluded; -1 where fewer than k are left."""
        return self.top_with_scores(histories, excluded, k)[0]

    def top_with_scores(
        self, histories: Sequence[IntArray], excluded: Sequence[IntArray], k: int, allowed: BoolArray | None = None
    ) -> tuple[IntArray, FloatArray]:
        """(n, k) items and their likeness; -1 and -inf where fewer are left. Equal ones by ascending id."""
        items, scores = no_lists(len(histories), k)
        for row, (alike, out) in enumerate(zip(self._likeness(histories), excluded, strict=True)):
            free = _free(alike.size, out) if allowed is None else _free(alike.size, out) & allowed
            best = nearest_of(alike, free, k)
            items[row, : len(best)], scores[row, : len(best)] = best, alike[best]
        return items, scores

    def target_ranks(self, histories: Sequence[IntArray], excluded: Sequence[IntArray], targets: IntArray) -> IntArray:
        """(n,) from 1: the titles at least as near, the target among them; excluded ones don't count."""
        ranks = [
            int((alike >= alike[target])[_free(alike.size, np.setdiff1d(out, [target]))].sum())
            for alike, out, target in zip(self._likeness(histories), excluded, targets, strict=True)
        ]
        return np.array(ranks, dtype=np.int64)

    def draw(
        self,
        histories: Sequence[IntArray],
        excluded: Sequence[IntArray],
        count: int,
        *,
        keys: Sequence[Key],
        sampling: Sampling,
    ) -> IntArray:
        """(n, count): the nearest title to each of so many drawn texts, none twice, none excluded; -1 where none is."""
        items, _ = no_lists(len(histories), count)
        drawn = self._writer.draw(histories, count, keys=keys, sampling=sampling)
        for row, (texts, out) in enumerate(zip(drawn, excluded, strict=True)):
            likeness = self._nearest.likeness(texts)
            free = _free(likeness.shape[1], out)
            for place, alike in enumerate(likeness):
                for item in nearest_of(alike, free, 1):
                    items[row, place], free[item] = item, False
        return items

    def _likeness(self, histories: Sequence[IntArray]) -> FloatArray:
        """(n, items)."""
        asked = [np.asarray(history, dtype=np.int64).tobytes() for history in histories]
        new = {key: history for key, history in zip(asked, histories, strict=True) if key not in self._texts}
        written = self._writer.write([*new.values()], np.empty((len(new), 0), dtype=np.int64)) if new else []
        texts = self._texts | dict(zip(new, written, strict=True))
        self._texts = texts if len(texts) <= KEPT else {key: texts[key] for key in asked}
        return np.asarray(self._nearest.likeness([texts[key] for key in asked]), dtype=np.float64)


def nearest_of(alike: FloatArray, free: BoolArray, k: int) -> IntArray:
    """At most k of the free items, nearest first, equal ones by id. alike, free: (items,)."""
    left = np.flatnonzero(free)
    return left[np.argsort(-alike[left], kind="stable")[:k]] if len(left) else NONE


def _free(items: int, excluded: IntArray) -> BoolArray:
    free = np.ones(items, dtype=np.bool_)
    free[np.asarray(excluded, dtype=np.int64)] = False
    return free
