"""New items for the catalog of a model that is trained already.

Path    items file -> readers -> [data.additions] -> serving.recommender
Takes   the Catalog; `item`, `title` and other columns, as readers.read_items gives them
Gives   a Catalog that goes on with the new items: the old ones keep their numbers, which histories and weights know
"""

import polars as pl

from napo.data.catalog import Catalog
from napo.data.events import numbered
from napo.data.tally import EXAMPLES, Tally
from napo.data.titles import titled_items
from napo.errors import UserError

_ROW = "\0row"  # a column that no file has: a frame without columns would have no rows


def extended(
    catalog: Catalog,
    items: pl.DataFrame,
    *,
    same_titles: bool = False,
    tally: Tally | None = None,
    where: str = "items",
) -> Catalog:
    """The catalog and, behind it, those of the items that it has not yet, in the order of their keys.

    Skipped and counted are items without id or title, items that are there already, and, unless same_titles is set,
    items whose title another item has: the model could not tell the two apart. A column that one side lacks is null.

    Raises UserError for an id that is there under another title, and for a column of another kind.
    """
    tally = tally or Tally()
    nobody = numbered(pl.DataFrame(schema={"user": pl.String, "item": pl.String}), Tally())
    items = titled_items(nobody, items, "drop", tally, where).sort("item")
    known = items.filter(pl.col("item").is_in(catalog.keys))
    _check_titles(known, catalog, where)
    tally.count("items_there_already", known.height, known["item"])
    items = items.filter(~pl.col("item").is_in(catalog.keys))
    if not same_titles:
        taken = pl.col("title").is_in(catalog.titles) | ~pl.col("title").is_first_distinct()
        twins = items.filter(taken)
        tally.count("items_with_a_title_of_another", twins.height, twins["title"])
        items = items.filter(~taken)
    tally.count("items_added", items.height, items["title"])
    if not items.height:
        return catalog
    keys, titles = (*catalog.keys, *items["item"]), (*catalog.titles, *items["title"])
    return Catalog(keys, titles, _rows_below(catalog, items, where))


def _check_titles(known: pl.DataFrame, catalog: Catalog, where: str) -> None:
    named = zip(known["item"], known["title"], strict=True)
    other = [(key, title) for key, title in named if catalog.titles[catalog.index[key]] != title]
    if other:
        said = "; ".join(
            f"{key}: {title!r}, not {catalog.titles[catalog.index[key]]!r}" for key, title in other[:EXAMPLES]
        )
        raise UserError(
            f"{len(other):,} item ids are in the catalog under another title ({said})",
            where=where,
            remedy="give new items new ids; an item is renamed by training again",
        )


def _rows_below(catalog: Catalog, items: pl.DataFrame, where: str) -> pl.DataFrame:
    """The catalog's columns with rows for new items."""
    old, new, added = catalog.columns, items.drop("item", "title"), items.height
    for name in (name for name in old.columns if name in new.columns):
        try:
            new = new.with_columns(pl.col(name).cast(old[name].dtype))
        except pl.exceptions.PolarsError as error:
            raise UserError(
                f"the column {name!r} holds {new[name].dtype}, in the catalog it holds {old[name].dtype}",
                where=where,
                remedy="the same kind of values, or leave the column out",
            ) from error
    if not old.width + new.width:
        return old
    sides = ((old, len(catalog)), (new, added))
    parts = [pl.DataFrame({_ROW: range(rows)}).hstack(frame.get_columns()) for frame, rows in sides]
    return pl.concat(parts, how="diagonal").drop(_ROW)
