"""Who took what and when, with whole numbers for users and items, and a count of everything left out.

Path    readers -> events, titles -> [data.log] -> split, inspect
Takes   events as read (texts, in file order) and the items' titles
Gives   InteractionLog: events sorted by user and time, the Catalog, counts, notes for people
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl

from napo.arrays import IntArray
from napo.data._digest import digest_of
from napo.data.catalog import Catalog
from napo.data.events import Events, core_of, numbered, once
from napo.data.known_items import KnownItems
from napo.data.settings import Repeats, Untitled
from napo.data.tally import Tally as Tally
from napo.data.titles import titled_items
from napo.errors import UserError


@dataclass(frozen=True, eq=False)
class InteractionLog:
    """Events of users with items.

    frame: `user` Int32, `item` Int32, `time` Int64 milliseconds since 1970 UTC (null where the file has no times),
    `rating` Float64 (null where unknown); sorted by user, then time, then place in the file.
    Users and items are numbered in the order of their keys as text, so the order of the file changes nothing.
    exposures: what users were shown and did not take (data.exposures); None where the data say nothing of it.
    counts: what was read, and what was left out and why; examples: up to three names for a count; notes: sentences.
    """

    frame: pl.DataFrame
    user_keys: tuple[str, ...]
    catalog: Catalog
    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    exposures: pl.DataFrame | None = None

    @property
    def has_times(self) -> bool:
        return self.frame["time"].null_count() < self.frame.height

    @property
    def has_ratings(self) -> bool:
        return self.frame["rating"].null_count() < self.frame.height

    @cached_property
    def digest(self) -> str:
        """SHA-256 of events, keys and titles."""
        frame = self.frame
        columns = [frame["user"].to_numpy(), frame["item"].to_numpy(), frame["time"].fill_null(-1).to_numpy()]
        return digest_of(self.user_keys, self.catalog.digest, *columns, frame["rating"].fill_null(-1.0).to_numpy())


def make_log(
    events: pl.DataFrame,
    items: pl.DataFrame | None = None,
    *,
    repeats: Repeats = "first",
    untitled: Untitled = "stop",
    core: int | None = None,
    known: KnownItems | None = None,
    tally: Tally | None = None,
    where: str | None = None,
) -> InteractionLog:
    """A log from events (`user`, `item`, and where known `time` in milliseconds and `rating`) in file order.

    items: `item`, `title`, and any other columns; an item that nobody took stays in the catalog and can be recommended.
    Exact copies of an event are removed. The same user and item again at another time follow `repeats`; with `first`,
    the default, an event is always a first meeting, so no target can have been seen before; ratings are never summed.
    untitled: what to do with items without a title: stop with an error, drop their events, or take the id as title.
    core: leave out users and items with fewer events, until none is left; of the catalog too.
    known: items that keep the numbers of an earlier catalog, whether or not anything is said of them here.
    """
    tally = tally or Tally()
    read = once(numbered(events, tally), repeats, tally)
    if known is not None:
        items = known.with_missing(read.titles if items is None else items, tally, where)
    titled = titled_items(read, items, untitled, tally, where)
    titled = titled.sort("item") if known is None else known.first(titled, tally, where)
    frame = _of_the_catalog(read, titled, tally)
    if core is not None:
        frame, titled = _core(frame, titled, core, tally, 0 if known is None else len(known))
    if frame.height == 0:
        raise UserError("no events are left", where=where, remedy=_what_was_left_out(tally))
    present, users = _renumbered(frame["user"].to_numpy(), len(read.users))
    frame = frame.with_columns(pl.Series("user", users))
    # by user, then time: two sorts of one column each take a quarter of the time of one sort of two
    frame = frame.sort("time", maintain_order=True).sort("user", maintain_order=True)
    catalog = Catalog(tuple(titled["item"]), tuple(titled["title"]), titled.drop("item", "title"))
    user_keys = tuple(read.users.gather(present))
    tally.count("users", len(user_keys))
    tally.count("items", len(catalog))
    tally.count("events", frame.height)
    tally.count("items_without_events", len(catalog) - frame["item"].n_unique())
    tally.count("titles_shared_by_items", catalog.twins)
    return InteractionLog(frame, user_keys, catalog, tally.counts, tally.examples, tuple(tally.notes))


def _of_the_catalog(events: Events, titled: pl.DataFrame, tally: Tally) -> pl.DataFrame:
    """The events with the catalog's numbers for items; those of items that it does not have go, and are counted."""
    numbers = titled.select("item").with_row_index("number")
    known = pl.DataFrame({"item": events.items}).join(numbers, on="item", how="left", maintain_order="left")
    number = known["number"].cast(pl.Int32).fill_null(-1).to_numpy()
    frame = events.frame.with_columns(pl.Series("item", number[events.frame["item"].to_numpy()]))
    gone = frame["item"] < 0
    if tally.count("events_of_untitled_items", int(gone.sum())):
        users = frame["user"].filter(gone).n_unique()
        tally.count("users_of_untitled_items", users)
        tally.note(f"{gone.sum():,} events of {users:,} users left out: their items have no title")
        frame = frame.filter(~gone)
    return frame


def _core(
    frame: pl.DataFrame, titled: pl.DataFrame, core: int, tally: Tally, known: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The core's events, and the catalog's rows of its items and of the first `known`."""
    users = frame["user"].n_unique()
    stay, rounds = core_of(frame["user"].to_numpy(), frame["item"].to_numpy(), core)
    left = frame.filter(pl.Series(stay))
    present, items = _renumbered(left["item"].to_numpy(), titled.height, known)
    gone = (frame.height - left.height, users - left["user"].n_unique(), titled.height - len(present))
    for name, number in zip(("events", "users", "items"), gone, strict=True):
        tally.count(f"{name}_outside_core", number)
    tally.note(
        f"core {core}, over the whole log before the split: {gone[0]:,} events, {gone[1]:,} users and "
        f"{gone[2]:,} items left out in {rounds} rounds"
    )
    return left.with_columns(pl.Series("item", items)), titled[present]


def _renumbered(numbers: IntArray, size: int, known: int = 0) -> tuple[IntArray, IntArray]:
    """The numbers that occur or are below `known`, in order; and all of `numbers`, counted through without gaps."""
    occurs = np.bincount(numbers, minlength=size) > 0
    occurs[:known] = True
    present = np.flatnonzero(occurs)
    new = np.zeros(size, dtype=np.int32)
    new[present] = np.arange(len(present), dtype=np.int32)
    return present, new[numbers]


def _what_was_left_out(tally: Tally) -> str:
    said = [f"{number:,} {name.replace('_', ' ')}" for name, number in tally.counts.items() if number]
    return "was read and left out: " + "; ".join(said) if said else "the file has no rows"
