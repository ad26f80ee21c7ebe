"""Rejected items whose titles sound most like what the user had, or like the title to learn.

Path    examples -> [negatives.semantic] -> prompts
Takes   an example with its history, its user's seen items, a count, a generator; the titles and their vectors
Gives   (count,) distinct items
Relations   `top` as large as the catalog is uniform; RosePO (arXiv 2410.12519) rejects such items, so that a model
            doesn't recommend what merely sounds alike. Its exact rule is not known to us: this one is ours

What bears the chosen title itself, but for a year or an edition in brackets, comes last: it would be rejected for being
what was chosen.
"""

import hashlib
import re
from functools import lru_cache
from typing import Literal

import numpy as np
from pydantic import Field, PositiveInt

from napo.arrays import FloatArray, IntArray
from napo.errors import UserError
from napo.negatives._protocol import Example, SamplerContext, rejectable
from napo.settings import Strict

KEPT = 2**28  # bytes of similarities kept between draws


class Settings(Strict):
    near: Literal["history", "target"] = Field(
        default="history",
        description="history: like any title of it. target: like the title to learn; these are often sequels, which"
        " the user may well like.",
    )
    embedder: str | None = Field(
        default=None,
        description="What makes vectors of titles: `all-minilm-l6-v2` (83 MB, brought by pip), a folder, a name on the"
        " hub; null: means of the language model's own token vectors.",
    )
    top: PositiveInt = Field(default=10, description="Rejected items are drawn from so many of the nearest.")
    recent: PositiveInt = Field(default=50, description="So many titles of the history count, the newest.")


class Sampler:
    needs_auxiliary = False

    def __init__(self, context: SamplerContext, settings: Settings) -> None:
        if context.title_vectors is None:
            raise UserError(
                "negatives `semantic` needs titles, and there are none",
                where="negatives.name",
                remedy="`uniform` or `popularity`",
            )
        self._settings, self._items = settings, context.items
        self._vectors: FloatArray = context.title_vectors(settings.embedder)  # (items, d), of length one
        self.digest = hashlib.sha256(self._vectors.tobytes()).hexdigest()  # an embedder's name is not its weights
        names = [plain_title(title) for title in context.titles]
        self._name = np.unique(names, return_inverse=True)[1]  # (items,) equal where the plain titles are
        self._row = lru_cache(maxsize=max(KEPT // (4 * context.items), 1))(self._similar_to)

    def _similar_to(self, item: int) -> FloatArray:
        """(items,) cosines with an item's title."""
        similar: FloatArray = self._vectors @ self._vectors[item]
        return similar

    def draw(self, example: Example, seen: IntArray, count: int, rng: np.random.Generator) -> IntArray:
        settings = self._settings
        free = np.flatnonzero(rejectable(self._items, example, seen, count))
        anchors = [example.chosen] if settings.near == "target" else example.history[-settings.recent :].tolist()
        if not anchors:
            return rng.choice(free, size=count, replace=False)
        similar = np.max([self._row(anchor) for anchor in anchors], axis=0)[free]
        similar[self._name[free] == self._name[example.chosen]] = -np.inf
        nearest = free[np.argsort(-similar, kind="stable")[: max(settings.top, count)]]
        return rng.choice(nearest, size=count, replace=False)


def plain_title(title: str) -> str:
    """A title without what stands in brackets, case and punctuation; the whole, where nothing else is left."""
    plain = " ".join(re.findall(r"\w+", re.sub(r"\([^)]*\)|\[[^\]]*\]", " ", title).casefold()))
    return plain or title.casefold()
