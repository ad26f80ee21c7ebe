"""The catalog's rows: one for each item, with a title a model can learn.

Path    items file, events -> [data.titles] -> log
Takes   Events; the items file's rows, or none where the log has titles of its own or ids are taken
Gives   `item`, `title`, and the other columns; items without a title are named by their id, or missing, as asked
"""

import polars as pl

from napo.data.events import Events
from napo.data.settings import Untitled
from napo.data.tally import EXAMPLES, Tally
from napo.errors import UserError


class UntitledItems(UserError):
    """Items lack titles, and nobody has said what to do then."""


def titled_items(
    events: Events, items: pl.DataFrame | None, untitled: Untitled, tally: Tally, where: str | None
) -> pl.DataFrame:
    """The catalog's rows: `item`, `title`, others. Untitled items are named by id, or missing, as asked."""
    if items is None:
        if events.titles is None and untitled != "id":
            raise UserError(
                "the log has no titles: no items file is given, and the log has no title column",
                where=where,
                remedy="name the items file with `items:`, or say `untitled: id` to take the ids as titles",
            )
        items = events.titles if events.titles is not None else _without_titles(events.taken_items())
    items = items.with_columns(pl.col("item").cast(pl.String), pl.col("title").cast(pl.String))
    blank_key = items.filter(_is_blank("item"))
    if tally.count("items_without_id", blank_key.height, blank_key["title"]):
        items = items.filter(~_is_blank("item"))
    items = _one_row_an_item(items, tally, where)

    unlisted = pl.DataFrame({"item": events.taken_items()}).join(items, on="item", how="anti", maintain_order="left")
    blank = items.filter(_is_blank("title"))
    tally.count("items_not_in_items_file", unlisted.height, unlisted["item"])
    tally.count("items_without_title", blank.height, blank["item"])
    if (lost := unlisted.height + blank.height) and untitled == "stop":
        lost_events, lost_users = events.of_items(pl.concat([unlisted["item"], blank["item"]]))
        kinds = [
            f"{frame.height:,} {words} ({', '.join(frame['item'].head(EXAMPLES))})"
            for frame, words in ((unlisted, "not in the items file"), (blank, "with an empty title"))
            if frame.height
        ]
        raise UntitledItems(
            f"{lost:,} items have no title: {'; '.join(kinds)}; "
            f"they have {lost_events:,} events of {lost_users:,} users",
            where=where,
            remedy="`untitled: drop` leaves their events out, `untitled: id` takes the id as the title",
        )
    if untitled == "id":
        items = pl.concat([items, _without_titles(unlisted["item"])], how="diagonal")
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


def _without_titles(items: pl.Series) -> pl.DataFrame:
    return pl.DataFrame({"item": items}, schema={"item": pl.String}).with_columns(title=pl.lit(None, dtype=pl.String))


def _is_blank(column: str) -> pl.Expr:
    return pl.col(column).is_null() | (pl.col(column).str.strip_chars() == "")
