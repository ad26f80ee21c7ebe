"""The events of a log as numbers, and the rules by which some are left out: blanks, copies, repeats, the core.

Path    frame as read -> [data.events] -> titles, log
Takes   `user`, `item` (texts or categories), and where known `time`, `rating`, `title`, in file order
Gives   Events; each rule gives those that stay, and tells the Tally how many went
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from napo.arrays import BoolArray, IntArray
from napo.data.keys import Keys, comes_again
from napo.data.settings import Repeats
from napo.data.tally import Tally


@dataclass(frozen=True, eq=False)
class Events:
    """frame: `user`, `item` (Int32, numbers of the keys), `time`, `rating`, in file order.

    users, items: the texts of the numbers. titles: `item` and `title`, one row an item, where the log has titles.
    """

    frame: pl.DataFrame
    users: pl.Series
    items: pl.Series
    titles: pl.DataFrame | None = None

    def taken_items(self) -> pl.Series:
        """The texts of the items that have events."""
        counts = np.bincount(self.frame["item"].to_numpy(), minlength=len(self.items))
        return self.items.filter(pl.Series(counts > 0))

    def of_items(self, items: pl.Series) -> tuple[int, int]:
        """How many events these items have, and how many users they are of."""
        theirs = self.items.is_in(items.implode()).to_numpy()[self.frame["item"].to_numpy()]
        return int(theirs.sum()), self.frame["user"].filter(pl.Series(theirs)).n_unique()

    def only(self, stay: BoolArray) -> "Events":
        return Events(self.frame.filter(pl.Series(stay)), self.users, self.items, self.titles)


def numbered(events: pl.DataFrame, tally: Tally) -> Events:
    """Users and items as numbers. Rows without a user, an item or, in a file with times, a time can't be placed."""
    tally.count("events_read", events.height)
    if "time" not in events.columns:
        tally.note("no times: the order of the file is taken as the order of events")
    users, items = Keys.of(events["user"]), Keys.of(events["item"])
    nothing = {"time": pl.lit(None, dtype=pl.Int64), "rating": pl.lit(None, dtype=pl.Float64)}
    frame = events.select(
        pl.Series("user", users.rows),
        pl.Series("item", items.rows),
        *(pl.col(name).cast(pl.Int64 if name == "time" else pl.Float64) for name in nothing if name in events.columns),
        *(value.alias(name) for name, value in nothing.items() if name not in events.columns),
        *(["title"] if "title" in events.columns else []),
    )
    stay = np.ones(frame.height, dtype=np.bool_)
    for name, rows in (("user", users.rows), ("item", items.rows)):
        tally.count(f"events_without_{name}", int((stay & (rows < 0)).sum()))
        stay &= rows >= 0
    known = frame["time"].is_not_null().to_numpy()
    if known.any():
        untimed = pl.Series(stay & ~known)
        tally.count("events_without_time", int(untimed.sum()))  # no examples: a user's key belongs in no report
        stay &= known
    else:
        tally.count("events_without_time", 0)
    if not stay.all():
        frame = frame.filter(pl.Series(stay))
    titles = None
    if "title" in frame.columns:  # the first that an item is given
        blank = pl.col("title").is_null() | (pl.col("title").str.strip_chars() == "")
        first = (
            frame.select("item", "title")
            .sort(blank, maintain_order=True)
            .unique("item", keep="first", maintain_order=True)
        )
        titles = first.select(items.texts.gather(first["item"]).alias("item"), "title")
        frame = frame.drop("title")
    return Events(frame.select("user", "item", "time", "rating"), users.texts, items.texts, titles)


def once(events: Events, repeats: Repeats, tally: Tally) -> Events:
    """Exact copies out; then one event for each user and item, unless `repeats` is `all`."""
    # only a user and item that come twice need a look, and in most logs they are few
    doubtful = events.frame.with_row_index("_row").filter(pl.Series(comes_again(events.frame)))
    timed = doubtful.height == 0 or doubtful["time"].null_count() == 0
    # without times two equal rows may be two events: with `all` they stay, else the pair rule below takes them
    single = doubtful
    if timed or repeats != "all":
        single = doubtful.unique(["user", "item", "time", "rating"], keep="first", maintain_order=True)
    tally.count("exact_copies", doubtful.height - single.height)
    again = single.filter(pl.struct("user", "item").is_duplicated())
    number = again.height - again.select("user", "item").n_unique()
    tally.count("repeated_events", number, events.items.gather(again.sort("time", "_row")["item"]))
    kept = single
    if number and repeats == "all":
        tally.note(f"{number:,} repeats (the same user and item again): all kept")
    elif number:
        tally.note(f"{number:,} repeats (the same user and item again): the {repeats} event of each is kept")
        kept = single.sort("time", "_row", maintain_order=True).unique(
            ["user", "item"], keep="last" if repeats == "last" else "first"
        )
    if kept.height == doubtful.height:
        return events
    stay = np.ones(events.frame.height, dtype=np.bool_)
    stay[doubtful["_row"].to_numpy()] = False
    stay[kept["_row"].to_numpy()] = True
    return events.only(stay)


def core_of(users: IntArray, items: IntArray, least: int) -> tuple[BoolArray, int]:
    """(events,) whether an event is in the core, and the rounds that it took to find it.

    The core is the largest part of the log in which every user and every item has `least` events or more.
    """
    stay = np.ones(len(users), dtype=np.bool_)
    rounds = 0
    while True:
        enough = stay.copy()
        for ids in (users, items):
            enough &= (np.bincount(ids[stay], minlength=int(ids.max(initial=0)) + 1) >= least)[ids]
        if np.array_equal(enough, stay):
            return stay, rounds
        stay, rounds = enough, rounds + 1
