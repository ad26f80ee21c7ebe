"""What may stand in a list: conditions on columns, lists of allowed and blocked items, caps on a column's values.

Path    the command line, HTTP, Python -> [serving.filter] -> recommender, which gives the mask to scoring.search
Takes   Filter, or conditions alone; a Catalog
Gives   Permitted: which items may be found; Picks, a list as it grows under caps

A cap is exact: the list is the ranking of all the items that may be found, read from the top, less each item whose
value has already stood in it as often as it may.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from napo.arrays import BoolArray, FloatArray, IntArray
from napo.data.catalog import Catalog
from napo.errors import UserError
from napo.serving.history import Suggest, read_items
from napo.serving.where import Condition, Where, column_named, parts_of, read_where

KEPT = 64  # sets of conditions whose answer is kept: people ask for few genres


@dataclass(frozen=True)
class Filter:
    """where: conditions that all items meet, such as "genre=Comedy" or ["genre in Drama, War", "year>=1990"].

    allow: titles or keys, the only ones that may be listed; None: all may. block: those that may not.
    caps: by column, how many items of one value a list may hold: {"genre": 2}. Items without a value have no cap.
    """

    where: Where = ()
    allow: Sequence[str] | None = None
    block: Sequence[str] = ()
    caps: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Cap:
    """item, value: (n,) each value that an item has, as a number; by item. A list holds at most `most` of a value."""

    column: str
    most: int
    item: IntArray
    value: IntArray

    @cached_property
    def values(self) -> int:
        return int(self.value.max(initial=-1)) + 1

    def of(self, item: int) -> IntArray:
        """The item's values."""
        low, high = np.searchsorted(self.item, [item, item + 1])
        return self.value[low:high]


@dataclass(frozen=True, eq=False)
class Permitted:
    """items: (items,) whether an item may be listed; at least one may. columns: what was asked about.

    said: the filter in words, for messages; empty: there is none. notes: what to tell the person.
    """

    items: BoolArray
    caps: tuple[Cap, ...] = ()
    columns: tuple[str, ...] = ()
    said: str = ""
    notes: tuple[str, ...] = ()


class Filters:
    """Reads the filters of one catalog; what many requests ask alike is worked out once. Safe for threads."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._read: OrderedDict[tuple[str | Condition, ...], Permitted] = OrderedDict()
        self._values: dict[str, tuple[IntArray, IntArray]] = {}

    def read(self, filter: "Filter | Where", suggest: Suggest | None = None) -> Permitted:
        """Raises UserError for what is not known, and where no item is left; see serving.where, serving.history."""
        if not isinstance(filter, Filter):
            return self._meeting(filter)
        met = self._meeting(filter.where)
        if filter.allow is None and not filter.block and not filter.caps:
            return met
        items, said = met.items.copy(), [met.said] if met.said else []
        if filter.allow is not None:
            allowed = np.zeros_like(items)
            allowed[read_items(filter.allow, self.catalog, where="allow", suggest=suggest).seen] = True
            items &= allowed
            said.append("the allow list")
        if filter.block:
            items[read_items(filter.block, self.catalog, where="block", suggest=suggest).seen] = False
            said.append("the block list")
        if not items.any():
            raise UserError(
                f"no item is left by {' and '.join(said)}", where="filter", remedy="fewer conditions, or other lists"
            )
        caps = tuple(self._cap(name, most) for name, most in filter.caps.items())
        columns = tuple(dict.fromkeys([*met.columns, *(cap.column for cap in caps)]))
        return Permitted(items, caps, columns, " and ".join(said), met.notes)

    def _meeting(self, where: Where) -> Permitted:
        key = (where,) if isinstance(where, str | Condition) else tuple(where)
        if (known := self._read.get(key)) is not None:  # another thread may drop it between a look and a get
            return known
        met = read_where(key, self.catalog)
        permitted = Permitted(met.items, (), met.columns, met.said, met.notes)
        self._read[key] = permitted
        if len(self._read) > KEPT:
            self._read.popitem(last=False)
        return permitted

    def _cap(self, name: str, most: int) -> Cap:
        column = column_named(name, self.catalog, "caps")
        if isinstance(most, bool) or not isinstance(most, int) or most < 1:
            raise UserError(f"a cap of {most!r}", where=f"caps: {name}", remedy="a whole number, at least 1")
        if column not in self._values:
            parts = parts_of(self.catalog.columns[column])
            numbers = {text: number for number, text in enumerate(parts["text"].str.to_lowercase().unique())}
            value = np.array([numbers[text.lower()] for text in parts["text"]], dtype=np.int64)
            self._values[column] = parts["item"].to_numpy().astype(np.int64), value
        return Cap(column, most, *self._values[column])


class Picks:
    """One list as it grows: the best `wanted` items that its caps let through, offered best first."""

    def __init__(self, caps: Sequence[Cap], wanted: int) -> None:
        self.caps, self.wanted = caps, wanted
        self.items: list[int] = []
        self.scores: list[float] = []
        self._used = [np.zeros(cap.values, dtype=np.int64) for cap in caps]

    @property
    def left(self) -> int:
        return self.wanted - len(self.items)

    def take(self, items: IntArray, scores: FloatArray | IntArray) -> None:
        """Offer more items (n,), none of them better than one that was offered before."""
        for item, score in zip(items.tolist(), scores.tolist(), strict=True):
            if not self.left:
                return
            held = [cap.of(item) for cap in self.caps]
            if any((used[of] >= cap.most).any() for cap, used, of in zip(self.caps, self._used, held, strict=True)):
                continue
            for used, of in zip(self._used, held, strict=True):
                used[of] += 1
            self.items.append(item)
            self.scores.append(score)

    def closed(self) -> IntArray:
        """(n,) the items that no longer have a place: of a value that stands in the list as often as it may."""
        full = [cap.item[(used >= cap.most)[cap.value]] for cap, used in zip(self.caps, self._used, strict=True)]
        return np.unique(np.concatenate(full)) if full else np.empty(0, dtype=np.int64)
