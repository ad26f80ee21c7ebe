"""Who took what and when, with whole numbers for users and items, and a count of everything left out.

Path    readers -> [data.log] -> split, inspect
Takes   events as read (texts, in file order) and the items' titles
Gives   InteractionLog: events sorted by user and time, the Catalog, counts, notes for people
"""

from dataclasses import dataclass, field
from functools import cached_property

import polars as pl

from napo.data._digest import digest_of
from napo.data.catalog import Catalog
from napo.data.settings import Repeats, Untitled
from napo.errors import UserError

EXAMPLES = 3  # names shown beside each count


@dataclass(frozen=True, eq=False)
class InteractionLog:
    """Events of users with items.

    frame: `user` Int32, `item` Int32, `time` Int64 milliseconds since 1970 UTC (null where the file has no times),
    `rating` Float64 (null where unknown); sorted by user, then time, then place in the file.
    Users and items are numbered in the order of their keys as text, so the order of the file changes nothing.
    counts: what was read, and what was left out and why; examples: up to three names for a count; notes: sentences.
    """

    frame: pl.DataFrame
    user_keys: tuple[str, ...]
    catalog: Catalog
    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

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


class Tally:
    """Counts, examples and notes as they come up while a log is made."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.examples: dict[str, tuple[str, ...]] = {}
        self.notes: list[str] = []

    def count(self, name: str, number: int, examples: pl.Series | None = None) -> int:
        """Add a count, with its first example names; give the number back."""
        self.counts[name] = self.counts.get(name, 0) + number
        if number and examples is not None:
            names = examples.drop_nulls().unique(maintain_order=True).head(EXAMPLES)
            self.examples[name] = tuple(str(value) for value in names)
        return number

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)


def make_log(
    events: pl.DataFrame,
    items: pl.DataFrame | None = None,
    *,
    repeats: Repeats = "first",
    untitled: Untitled = "stop",
    tally: Tally | None = None,
    where: str | None = None,
) -> InteractionLog:
    """A log from events (`user`, `item`, and where known `time` in milliseconds and `rating`) in file order.

    items: `item`, `title`, and any other columns; an item that nobody took stays in the catalog and can be recommended.
    Exact copies of an event are removed. The same user and item again at another time follow `repeats`; with `first`,
    the default, an event is always a first meeting, so no target can have been seen before; ratings are never summed.
    untitled: what to do with items without a title: stop with an error, drop their events, or take the id as title.
    """
    tally = tally or Tally()
    events = _complete(events, tally)
    tally.count("events_read", events.height)
    events = _without_blanks(events, tally)
    events = _once(events, repeats, tally)
    titled = titled_items(events, items, untitled, tally, where)
    events = _without_untitled(events, titled, tally)
    if events.height == 0:
        raise UserError("no events are left", where=where, remedy=_what_was_left_out(tally))

    titled = titled.sort("item")
    catalog = Catalog(tuple(titled["item"]), tuple(titled["title"]), titled.drop("item", "title"))
    user_keys = tuple(events["user"].unique().sort())
    users = pl.DataFrame({"user": user_keys, "dense": range(len(user_keys))}, schema_overrides={"dense": pl.Int32})
    numbers = pl.DataFrame(
        {"item": catalog.keys, "dense_item": range(len(catalog))}, schema={"item": pl.String, "dense_item": pl.Int32}
    )
    frame = (
        events.join(users, on="user", how="left", maintain_order="left")
        .join(numbers, on="item", how="left", maintain_order="left")
        .select(pl.col("dense").alias("user"), pl.col("dense_item").alias("item"), "time", "rating")
        .sort("user", "time", maintain_order=True)
    )
    tally.count("users", len(user_keys))
    tally.count("items", len(catalog))
    tally.count("events", frame.height)
    tally.count("items_without_events", len(catalog) - frame["item"].n_unique())
    tally.count("titles_shared_by_items", catalog.twins)
    return InteractionLog(frame, user_keys, catalog, tally.counts, tally.examples, tuple(tally.notes))


def _complete(events: pl.DataFrame, tally: Tally) -> pl.DataFrame:
    if "time" not in events.columns:
        events = events.with_columns(time=pl.lit(None, dtype=pl.Int64))
        tally.note("no times: the order of the file is taken as the order of events")
    if "rating" not in events.columns:
        events = events.with_columns(rating=pl.lit(None, dtype=pl.Float64))
    return events.select(
        pl.col("user").cast(pl.String),
        pl.col("item").cast(pl.String),
        pl.col("time").cast(pl.Int64),
        pl.col("rating").cast(pl.Float64),
        *(["title"] if "title" in events.columns else []),
    )


def _without_blanks(events: pl.DataFrame, tally: Tally) -> pl.DataFrame:
    """Rows without a user or an item, and, in a file with times, rows without a time, can't be placed."""
    for column in ("user", "item"):
        blank = events.filter(_is_blank(column))
        if tally.count(f"events_without_{column}", blank.height):
            events = events.filter(~_is_blank(column))
    if 0 < (missing := events["time"].null_count()) < events.height:
        tally.count("events_without_time", missing, events.filter(pl.col("time").is_null())["user"])
        events = events.filter(pl.col("time").is_not_null())
    else:
        tally.count("events_without_time", 0)
    return events


def _once(events: pl.DataFrame, repeats: Repeats, tally: Tally) -> pl.DataFrame:
    """Exact copies out; then one event for each user and item, unless `repeats` is `all`."""
    # without times two equal rows may be two events: with `all` they stay, else the pair rule below takes them
    if events["time"].null_count() == 0 or repeats != "all":
        single = events.unique(["user", "item", "time", "rating"], keep="first", maintain_order=True)
    else:
        single = events
    tally.count("exact_copies", events.height - single.height)
    ordered = single.with_row_index("_row").sort("time", "_row", maintain_order=True)
    again = ordered.filter(pl.struct("user", "item").is_duplicated())
    number = again.height - again.select("user", "item").n_unique()
    tally.count("repeated_events", number, again["item"])
    if number == 0:
        return single
    if repeats == "all":
        tally.note(f"{number:,} repeats (the same user and item again): all kept")
        return single
    kept = ordered.unique(["user", "item"], keep=repeats, maintain_order=True).sort("_row").drop("_row")
    tally.note(f"{number:,} repeats (the same user and item again): the {repeats} event of each is kept")
    return kept


def titled_items(
    events: pl.DataFrame, items: pl.DataFrame | None, untitled: Untitled, tally: Tally, where: str | None
) -> pl.DataFrame:
    """The catalog's rows: `item`, `title`, others. Untitled items are named by id, or missing, as asked."""
    if items is None and "title" not in events.columns and untitled != "id":
        raise UserError(
            "the log has no titles: no items file is given, and the log has no title column",
            where=where,
            remedy="name the items file with `items:`, or say `untitled: id` to take the ids as titles",
        )
    if items is None:
        columns = ["item", "title"] if "title" in events.columns else ["item"]
        items = events.select(columns)
        if "title" in columns:  # the first title that an item is given
            items = items.sort(_is_blank("title"), maintain_order=True).unique(
                "item", keep="first", maintain_order=True
            )
        else:
            items = items.unique("item", maintain_order=True).with_columns(title=pl.lit(None, dtype=pl.String))
    items = items.with_columns(pl.col("item").cast(pl.String), pl.col("title").cast(pl.String))
    blank_key = items.filter(_is_blank("item"))
    if tally.count("items_without_id", blank_key.height, blank_key["title"]):
        items = items.filter(~_is_blank("item"))
    items = _one_row_an_item(items, tally, where)

    unlisted = (
        events.select("item").unique(maintain_order=True).join(items, on="item", how="anti", maintain_order="left")
    )
    blank = items.filter(_is_blank("title"))
    tally.count("items_not_in_items_file", unlisted.height, unlisted["item"])
    tally.count("items_without_title", blank.height, blank["item"])
    if (lost := unlisted.height + blank.height) and untitled == "stop":
        taken = events.join(pl.concat([unlisted.select("item"), blank.select("item")]), on="item", how="semi")
        kinds = [
            f"{frame.height:,} {words} ({', '.join(frame['item'].head(EXAMPLES))})"
            for frame, words in ((unlisted, "not in the items file"), (blank, "with an empty title"))
            if frame.height
        ]
        raise UserError(
            f"{lost:,} items have no title: {'; '.join(kinds)}; "
            f"they have {taken.height:,} events of {taken['user'].n_unique():,} users",
            where=where,
            remedy="`untitled: drop` leaves their events out, `untitled: id` takes the id as the title",
        )
    if untitled == "id":
        extra = unlisted.select("item").with_columns(title=pl.lit(None, dtype=pl.String))
        items = pl.concat([items, extra], how="diagonal")
        items = items.with_columns(title=pl.when(_is_blank("title")).then("item").otherwise("title"))
        if lost:
            tally.note(f"{lost:,} items without a title are named by their id")
    else:
        items = items.filter(~_is_blank("title"))
    return _tidy(items, tally)


def _one_row_an_item(items: pl.DataFrame, tally: Tally, where: str | None) -> pl.DataFrame:
    """Equal rows once; one id with two titles is a mistake that only the user can settle."""
    single = items.unique("item", keep="first", maintain_order=True)
    if (copies := items.height - single.height) == 0:
        return items
    torn = items.group_by("item", maintain_order=True).agg(pl.col("title").n_unique()).filter(pl.col("title") > 1)
    if torn.height:
        raise UserError(
            f"{torn.height:,} item ids have more than one title: {', '.join(torn['item'].head(EXAMPLES))}",
            where=where,
            remedy="keep one row for each item id",
        )
    tally.count("item_rows_repeated", copies)
    return single


def _tidy(items: pl.DataFrame, tally: Tally) -> pl.DataFrame:
    """Line breaks become one blank, as a prompt is made of lines; HTML is left alone, but said."""
    broken = items.filter(pl.col("title").str.contains(r"[\r\n]"))
    if tally.count("titles_with_line_breaks", broken.height, broken["item"]):
        tally.note(f"{broken.height:,} titles held a line break; it is now one blank")
        items = items.with_columns(pl.col("title").str.replace_all(r"\s*[\r\n]+\s*", " ").str.strip_chars())
    html = items.filter(pl.col("title").str.contains(r"<[a-zA-Z/][^>]*>|&(?:[a-zA-Z]+|#\d+);"))
    if tally.count("titles_with_html", html.height, html["item"]):
        tally.note(
            f"{html.height:,} titles look like HTML (items {', '.join(html['item'].head(EXAMPLES))}); left as is"
        )
    return items


def _without_untitled(events: pl.DataFrame, titled: pl.DataFrame, tally: Tally) -> pl.DataFrame:
    kept = events.join(titled.select("item"), on="item", how="semi", maintain_order="left")
    if tally.count("events_of_untitled_items", events.height - kept.height):
        users = events.join(titled.select("item"), on="item", how="anti")["user"].n_unique()
        tally.count("users_of_untitled_items", users)
        tally.note(f"{events.height - kept.height:,} events of {users:,} users left out: their items have no title")
    return kept.select("user", "item", "time", "rating")


def _is_blank(column: str) -> pl.Expr:
    return pl.col(column).is_null() | (pl.col(column).str.strip_chars() == "")


def _what_was_left_out(tally: Tally) -> str:
    said = [f"{number:,} {name.replace('_', ' ')}" for name, number in tally.counts.items() if number]
    return "was read and left out: " + "; ".join(said) if said else "the file has no rows"
