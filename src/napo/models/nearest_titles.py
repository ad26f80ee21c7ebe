"""Which titles a text comes nearest to: how what a model writes freely becomes an item.

Path    catalog, texts -> [models.nearest_titles] -> scoring.nearest
Takes   titles; `spelling`, or the name of an embedder
Gives   (texts, items) likeness, higher is nearer; a text that is a title, but for case, is nearest to that one

`spelling` compares letters (rapidfuzz's ratio: 1 - edits without replacement / letters of both): what a model misquotes
is a letter, an article, a year, and no other model has to be brought and run. An embedder compares by cosine, whose
order is that of BIGRec's Euclidean distance for vectors of one length (arXiv 2308.08434); SPRec's program takes
paraphrase-MiniLM-L3-v2. It finds a title of the same sense for a text that is none, and drags in sequels.
"""

import unicodedata
from collections.abc import Sequence

import numpy as np
from rapidfuzz import fuzz, process

from napo.arrays import FloatArray
from napo.models.title_vectors import Embedder

SPELLING = "spelling"
ALMOST = np.float32(1 - 1e-6)


class NearestTitles:
    """Titles to compare texts with. by: `spelling`, or an embedder's name."""

    def __init__(self, titles: Sequence[str], by: str = SPELLING) -> None:
        self.by = by
        self._folded = [_folded(title) for title in titles]
        self._places: dict[str, list[int]] = {}
        for place, title in enumerate(self._folded):
            self._places.setdefault(title, []).append(place)
        self._embedder = None if by == SPELLING else Embedder(by)
        self._vectors = None if self._embedder is None else self._embedder.titles(titles)

    def likeness(self, texts: Sequence[str]) -> FloatArray:
        """(texts, items), float32, at most 1: the title itself."""
        folded = [_folded(text) for text in texts]
        if self._embedder is None or self._vectors is None:
            alike = process.cdist(folded, self._folded, scorer=fuzz.ratio, dtype=np.float32) / np.float32(100)
            return np.asarray(alike)
        alike = np.minimum(self._embedder.texts(texts) @ self._vectors.T, ALMOST)
        for row, text in zip(alike, folded, strict=True):
            row[self._places.get(text, [])] = 1.0  # by rounding another title might come before it
        return np.asarray(alike)


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
