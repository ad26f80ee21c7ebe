"""Rows of titles, the JSON that S-DPO and LLaRA release: `historyList`, `itemList` (candidates), `trueSelection`.

Path    JSON -> [data.title_rows] -> data.windows
Takes   rows whose history is one text, titles joined by `::`; the Catalog
Gives   item numbers; what no item is called, counted and named

Titles are compared letter by letter, but for blanks at the ends and runs of blanks. A title may hold `::` itself: of
the ways to cut a history the one is taken whose titles, from the left, are the longest that the catalog has.
"""

import re
from collections import Counter
from typing import Any

import polars as pl

from napo.data.catalog import Catalog
from napo.data.tally import EXAMPLES, Tally
from napo.errors import UserError

BETWEEN = "::"
_MARK = re.compile(f"(?={BETWEEN})")  # all of them, overlapping ones too: "A:" joined with "B" is "A:::B"


def titles_of_row(row: dict[str, Any], place: str) -> dict[str, Any]:
    """The row's parts under our names: `titles` (the history, one text), `next`, `listed`."""
    history, listed, chosen = row.get("historyList"), row.get("itemList"), row.get("trueSelection")
    if isinstance(history, list) and all(isinstance(title, str) for title in history):
        history = BETWEEN.join(history)
    texts = isinstance(history, str) and isinstance(chosen, str)
    if not texts or not isinstance(listed, list | None) or not all(isinstance(title, str) for title in listed or ()):
        raise UserError(
            "a row of titles needs texts: `historyList` and `trueSelection`, and a list of them: `itemList`",
            where=place,
            remedy='{"historyList": "Air::Moby", "itemList": ["Zero 7", "Björk"], "trueSelection": "Björk"}',
        )
    if listed is not None and listed.count(chosen) != 1:
        raise UserError(f"`itemList` holds `trueSelection`, {chosen!r}, {listed.count(chosen)} times", where=place)
    return {"titles": history, "next": chosen, "listed": listed, "user": None}


class TitleFinder:
    """Looks items up by title, and remembers the titles that no item has."""

    def __init__(self, catalog: Catalog) -> None:
        self._items: dict[str, int] = {}
        for item, title in enumerate(catalog.titles):
            self._items.setdefault(_trimmed(title), item)  # of twins the first: the files tell them apart no better
        self._missed: Counter[str] = Counter()
        self._lists = self._whole = 0

    def items_of(self, row: dict[str, Any]) -> tuple[list[int | None], int | None, tuple[int, ...] | None]:
        """(history, next, candidates) as items; None for what is not found, and for lists that are not whole."""
        history = [self.find(title) for title in self.cut(row["titles"])]
        following, listed = self.find(row["next"]), None
        if row["listed"] is not None:
            found = [self.find(title) for title in row["listed"]]
            whole = None not in found and len(set(found)) == len(found)
            self._lists, self._whole = self._lists + 1, self._whole + whole
            listed = tuple(item for item in found if item is not None) if whole else None
        return history, following, listed

    def find(self, title: str) -> int | None:
        """The item of a title; None, and remembered, where there is none."""
        item = self._items.get(_trimmed(title))
        if item is None:
            self._missed[_trimmed(title)] += 1
        return item

    def cut(self, history: str) -> list[str]:
        """The titles of a history, oldest first; a part that begins no known title ends at the next `::`."""
        ends = [mark.start() for mark in _MARK.finditer(history)] + [len(history)]
        titles, start = [], 0
        while start < len(history):
            later = [end for end in ends if end >= start]
            known = (end for end in reversed(later) if _trimmed(history[start:end]) in self._items)
            end = next(known, later[0])
            titles.append(history[start:end])
            start = end + len(BETWEEN)
        return [title for title in titles if title.strip()]

    def report(self, tally: Tally) -> None:
        """What was not found: how many titles, in how many places, which; how many lists are not whole for it."""
        if self._missed:
            names = pl.Series([title for title, _ in self._missed.most_common(EXAMPLES)])
            tally.count("titles_not_in_catalog", len(self._missed), names)
            said = ", ".join(repr(title) for title in names)
            tally.note(
                f"{len(self._missed):,} titles in {self._missed.total():,} places are those of no item"
                f" ({said}{', ...' if len(self._missed) > EXAMPLES else ''}): left out"
            )
        if self._lists:
            tally.count("released_lists", self._lists)
            tally.count("released_lists_with_unknown_titles", self._lists - self._whole)


def _trimmed(title: str) -> str:
    return " ".join(title.split())
