"""Titles found by what somebody types, slips of the finger included.

Path    catalog -> [serving.http.titles] -> GET /v1/items, the titles that errors suggest
Takes   a beginning, a word, a title with typing errors; case and accents do not matter
Gives   items, the likeliest first
"""

import unicodedata
from collections.abc import Callable, Sequence

import numpy as np
from rapidfuzz import fuzz, process

from napo.arrays import IntArray

Nearness = Callable[[str, str], float]

ALIKE = 60  # of 100: less is no typing error, but another title
CLOSER = 50  # titles that are compared once more
LONGEST = 200  # letters of a query that are read


class TitleIndex:
    """The titles of a catalog, folded once. popularity: (items,) which of equally good matches comes first."""

    def __init__(self, titles: Sequence[str], popularity: IntArray) -> None:
        self.titles, self.popularity = titles, popularity
        self._folded = [folded(title) for title in titles]

    def search(self, query: str, limit: int) -> list[int]:
        """Items whose title begins so, then those with a word that does, then those most alike; an empty query: none.

        Among the first two the more popular is first.
        """
        wanted = folded(query[:LONGEST])
        if not wanted:
            return []
        begin, word = [], []
        for item, title in enumerate(self._folded):
            if title.startswith(wanted):
                begin.append(item)
            elif f" {wanted}" in title:
                word.append(item)
        found = dict.fromkeys([*self._by_popularity(begin), *self._by_popularity(word)])
        if len(found) < limit:
            found |= dict.fromkeys(self._alike(wanted, limit, fuzz.partial_ratio))  # a part of a title is typed
        return list(found)[:limit]

    def suggest(self, text: str) -> list[str]:
        """The titles nearest to a whole one that was mistyped."""
        found = dict.fromkeys(self.titles[item] for item in self._alike(folded(text[:LONGEST]), 6, fuzz.ratio))
        return list(found)[:3]

    def _alike(self, wanted: str, limit: int, nearness: Nearness) -> list[int]:
        # WRatio forgives any order of words, and is content with one in common: what is nearer as it stands goes first
        matches = process.extract(
            wanted, self._folded, scorer=fuzz.WRatio, limit=max(limit, CLOSER), score_cutoff=ALIKE
        )
        near = {item: nearness(wanted, title) for title, _, item in matches}
        order = sorted(matches, key=lambda match: (-near[match[2]], -match[1], -self.popularity[match[2]], match[2]))
        return [item for _, _, item in order[:limit]]

    def _by_popularity(self, items: list[int]) -> list[int]:
        return [items[place] for place in np.argsort(-self.popularity[np.array(items, dtype=np.int64)], kind="stable")]


def folded(text: str) -> str:
    """Without case, accents and repeated blanks: `Amélie ` and `amelie` are one."""
    apart = text
    for _ in range(2):  # some letters show their case only when taken apart: the mathematical bold A is an A
        apart = unicodedata.normalize("NFKD", apart.casefold())
    return " ".join("".join(letter for letter in apart if not unicodedata.combining(letter)).split())
