"""A server's events as what training reads: what was taken is the log, what was shown and not taken is rejected.

Path    events.store -> [events.traffic] -> `log.parquet`, `items.parquet`, `exposures.parquet` -> data.source
Takes   events; the log and the catalog that they go on from, or the items' titles
Gives   a folder as `napo data convert` writes it, with the exposures beside the log

An item that was shown in a list and taken from that same list is no rejection. One that was taken later, from another
list, was one then: training leaves out what its user has taken by the time that training may know of. Each rejection
keeps when something was last taken from its list: what a list lacks would tell what was taken, so training knows a list
only where it knows all that was taken from it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import polars as pl

from napo.data.converted import write_converted
from napo.data.log import InteractionLog, make_log
from napo.data.settings import DataSettings
from napo.data.tally import Tally
from napo.errors import UserError
from napo.events.event import Event

_BLOCK = 50_000  # events that are held as Python objects at a time
_SCHEMA = {
    "user": pl.String,
    "item": pl.String,
    "kind": pl.String,
    "time": pl.Int64,
    "request": pl.String,
    "position": pl.Int64,
    "propensity": pl.Float64,
}
_LIST = ("user", "item", "request")


@dataclass(frozen=True, eq=False)
class Traffic:
    """taken: `user`, `item`, `time` (milliseconds). counts: what became of the events.

    shown: what was not taken, with `position`, `propensity`, `request`, whether the user `skipped` it, and when
    something was last taken from the list (`answered`, or null).
    """

    taken: pl.DataFrame
    shown: pl.DataFrame
    counts: dict[str, int]


def traffic_of(events: Iterable[Event]) -> Traffic:
    """Tell what was taken from what was shown only. One list shows an item once, however many events say so."""
    frame = _frame(events)
    taken = frame.filter(pl.col("kind") == "took")
    shown = (
        frame.filter(pl.col("kind") != "took")
        # without a request every event is a list of its own
        .with_columns(_own=pl.when(pl.col("request").is_null()).then(pl.int_range(pl.len())))
        .group_by(*_LIST, "_own", maintain_order=True)
        .agg(
            pl.col("time").min(),
            pl.col("position", "propensity").drop_nulls().first(),
            (pl.col("kind") == "skipped").any().alias("skipped"),
        )
        .drop("_own")
    )
    # null requests match nothing
    answers = taken.group_by("user", "request").agg(pl.col("time").max().alias("answered"))
    rejected = shown.join(taken, on=_LIST, how="anti", maintain_order="left").join(
        answers, on=["user", "request"], how="left", maintain_order="left"
    )
    counts = {
        "events_of_the_store": frame.height,
        "taken": taken.height,
        "shown": shown.height,
        "shown_and_taken": shown.height - rejected.height,
        "skipped": int(rejected["skipped"].sum()),
    }
    return Traffic(taken.select("user", "item", "time"), rejected, counts)


@dataclass(frozen=True, eq=False)
class Base:
    """The log that a server's model was trained on, how it was read, the rating that a taken item gets beside it."""

    log: InteractionLog
    settings: DataSettings
    rating: float | None = None


def write_traffic(
    events: Iterable[Event], out: Path, *, base: Base | None = None, items: pl.DataFrame | None = None
) -> InteractionLog:
    """Write the folder, and give the log in it: what was taken, after the events of `base` where that is given.

    base: its catalog is the catalog, and events of other items are left out and counted; its exposures stay.
    items: `item`, `title`, ... where there is no base; None: ids are titles.
    Raises UserError where nothing was taken, and for a base without times.
    """
    traffic, tally = traffic_of(events), Tally()
    for name, number in traffic.counts.items():
        tally.count(name, number)
    rules = DataSettings(interactions=Path("events"), untitled="drop" if items is not None else "id")
    taken, shown = traffic.taken, traffic.shown
    if base is not None:
        rules, items = base.settings, _items_of(base.log)
        taken, shown = _after(base, taken, shown)
    if traffic.taken.height == 0:
        raise UserError("no event says that an item was taken", remedy="post events of kind `took` to the server")
    log = make_log(
        taken,
        items,
        repeats=rules.repeats or "first",
        untitled="drop" if items is not None else "id",
        tally=tally,
        where=str(out),
    )
    write_converted(
        log, rules, (), out, exposures=shown.with_columns(pl.col("time", "answered").cast(pl.Datetime("ms", "UTC")))
    )
    return log


def _after(base: Base, taken: pl.DataFrame, shown: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What was taken and shown, after what the base holds of both."""
    if not base.log.has_times:
        raise UserError(
            "the run's log has no times, so nobody can say which events came first",
            where="--run",
            remedy="leave --run out, and give the titles with --items",
        )
    if base.log.has_ratings and base.rating is not None:
        taken = taken.with_columns(rating=pl.lit(base.rating))
    before = _named(base.log, base.log.frame)
    if base.log.exposures is not None:
        shown = pl.concat([_named(base.log, base.log.exposures), shown], how="diagonal_relaxed")
    return pl.concat([before, taken], how="diagonal_relaxed"), shown


def _frame(events: Iterable[Event]) -> pl.DataFrame:
    blocks, left = [pl.DataFrame(schema=_SCHEMA)], iter(events)
    while block := list(islice(left, _BLOCK)):
        blocks.append(pl.DataFrame({name: [getattr(one, name) for one in block] for name in _SCHEMA}, schema=_SCHEMA))
    return pl.concat(blocks)


def _named(log: InteractionLog, frame: pl.DataFrame) -> pl.DataFrame:
    """The rows with the keys of users and items in the place of their numbers."""
    users, items = (pl.Series(keys, dtype=pl.String) for keys in (log.user_keys, log.catalog.keys))
    return frame.with_columns(users.gather(frame["user"]).alias("user"), items.gather(frame["item"]).alias("item"))


def _items_of(log: InteractionLog) -> pl.DataFrame:
    titled = pl.DataFrame({"item": log.catalog.keys, "title": log.catalog.titles})
    return pl.concat([titled, log.catalog.columns], how="horizontal")
