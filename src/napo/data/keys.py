"""Users' and items' keys as numbers: what a large log is checked and sorted by; which pairs of them come again.

Path    events as read -> [data.keys] -> events, split
Takes   a column of keys, as categories or as text
Gives   Keys: the distinct keys in the order of their text, and the number of each row's

25 million ids as text take gigabytes and half a minute to compare; as numbers a tenth of both.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from napo.arrays import BoolArray, IntArray
from napo.data.formats._base import category

Numbers = NDArray[np.int32]
_SLOTS = 1 << 24


@dataclass(frozen=True, eq=False)
class Keys:
    """texts: distinct, sorted. rows: (events,) the number of each row's text; -1 where it is null or blank."""

    texts: pl.Series
    rows: Numbers

    @classmethod
    def of(cls, column: pl.Series) -> "Keys":
        kind = column.dtype
        if not isinstance(kind, pl.Categorical):
            column = column.cast(pl.String).cast(category())
        assert isinstance(column.dtype, pl.Categorical)
        codes = column.to_physical().cast(pl.Int64).fill_null(-1).to_numpy()
        known = column.dtype.categories.to_series()
        used = np.bincount(codes + 1, minlength=len(known) + 1)[1:] > 0
        table = pl.DataFrame({"text": known, "code": np.arange(len(known))}).filter(
            pl.Series(used) & (pl.col("text").str.strip_chars() != "")
        )
        table = table.sort("text")
        number = np.full(len(known) + 1, -1, dtype=np.int32)  # the last is for null, whose code is -1
        number[table["code"].to_numpy()] = np.arange(table.height, dtype=np.int32)
        return cls(table["text"], number[codes])

    def names(self, rows: Numbers) -> pl.Series:
        """The texts of some numbers."""
        return self.texts.gather(rows)


def comes_again(frame: pl.DataFrame) -> BoolArray:
    """(events,) whether the event's `user` and `item`, as numbers, are those of another event too."""
    pairs = _pairs(frame)
    ordered = np.sort(pairs)
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not twice.size:  # so it is in most logs, and a sort has shown it in a second
        return np.zeros(len(pairs), dtype=np.bool_)
    marked = np.zeros(_SLOTS, dtype=np.bool_)  # one look rules out most pairs; the others are searched for
    marked[twice & (_SLOTS - 1)] = True
    again: BoolArray = marked[pairs & (_SLOTS - 1)]
    rows = np.flatnonzero(again)
    again[rows] = np.isin(pairs[rows], twice)
    return again


def met_before(frame: pl.DataFrame) -> BoolArray:
    """(events,) whether the event's `user` and `item` are those of an event further up."""
    again = comes_again(frame)
    rows = np.flatnonzero(again)
    _, first = np.unique(_pairs(frame)[rows], return_index=True)
    again[rows[first]] = False
    return again


def _pairs(frame: pl.DataFrame) -> IntArray:
    items = frame["item"].to_numpy()
    pairs = frame["user"].to_numpy().astype(np.int64)
    pairs *= int(items.max(initial=0)) + 1
    pairs += items
    return pairs
