"""A log whose catalog goes on from an earlier one: items that were there keep their numbers, new ones come behind.

Path    data.catalog of a recipe -> [data.known_items] -> data.log
Takes   the earlier Catalog; the items' rows as read
Gives   the catalog's rows: the earlier items first, in their order, then the new ones by key

What no longer stands in the items file stays: histories and weights know it. Its row is the earlier one.
"""

from dataclasses import dataclass

import polars as pl

from napo.data.catalog import Catalog
from napo.data.settings import DataSettings, Renamed
from napo.data.tally import EXAMPLES, Tally
from napo.errors import UserError

_PLACE = "\0place"  # a column that no file has


@dataclass(frozen=True, eq=False)
class KnownItems:
    """renamed: what to do where an item has another title now: `stop`, or take the `old` or the `new` one."""

    catalog: Catalog
    renamed: Renamed = "stop"

    @classmethod
    def of(cls, settings: DataSettings) -> "KnownItems | None":
        """Those that the settings name; None: the catalog is the log's own."""
        return None if settings.catalog is None else cls(Catalog.load(settings.catalog), settings.renamed)

    def __len__(self) -> int:
        return len(self.catalog)

    @property
    def rows(self) -> pl.DataFrame:
        """`item`, `title` and the other columns of the earlier catalog."""
        named = {"item": pl.Series(self.catalog.keys, dtype=pl.String)}
        named["title"] = pl.Series(self.catalog.titles, dtype=pl.String)
        return pl.concat([pl.DataFrame(named), self.catalog.columns], how="horizontal")

    def with_missing(self, items: pl.DataFrame | None, tally: Tally, where: str | None) -> pl.DataFrame:
        """The items file's rows and those of earlier items that it lacks, or has without a title.

        items: None: there is no file. Raises UserError where a column holds values of another kind than before.
        """
        if items is None:
            return self.rows
        nameless = pl.col("title").is_null() | (pl.col("title").str.strip_chars() == "")
        items = items.with_columns(pl.col("item").cast(pl.String), pl.col("title").cast(pl.String))
        items = items.filter(~(pl.col("item").is_in(self.catalog.keys).fill_null(False) & nameless))
        gone = self.rows.join(items, on="item", how="anti", maintain_order="left")
        if tally.count("items_kept_from_before", gone.height, gone["title"]):
            tally.note(f"{gone.height:,} items of the earlier catalog are not among the items given now: they stay")
        return joined(items, gone, where)

    def first(self, titled: pl.DataFrame, tally: Tally, where: str | None) -> pl.DataFrame:
        """The catalog's rows in the order of their numbers. Raises UserError for other titles, where that stops."""
        places = pl.DataFrame({"item": self.catalog.keys, _PLACE: range(len(self)), "_before": self.catalog.titles})
        found = titled.join(places, on="item", how="left", maintain_order="left")
        other = found.filter(pl.col("title") != pl.col("_before"))
        if tally.count("items_renamed", other.height, other["item"]):
            named = zip(other["item"], other["title"], other["_before"], strict=True)
            said = "; ".join(f"{key}: {new!r}, before {old!r}" for key, new, old in list(named)[:EXAMPLES])
            if self.renamed == "stop":
                raise UserError(
                    f"{other.height:,} items have another title than before ({said})",
                    where=where,
                    remedy="a new item has a new id; else `data.renamed=old` keeps their titles, `new` takes these",
                )
            tally.note(
                f"{other.height:,} items have another title than before: the {self.renamed} one is taken ({said})"
            )
            if self.renamed == "old":
                found = found.with_columns(title=pl.coalesce("_before", "title"))
        return found.sort(_PLACE, "item", nulls_last=True).drop(_PLACE, "_before")


def joined(items: pl.DataFrame, more: pl.DataFrame, where: str | None) -> pl.DataFrame:
    """Rows below rows; a column that one side lacks is null there."""
    try:
        return pl.concat([items, more], how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        raise UserError(
            f"the columns of the items hold other kinds of values than before: {error}",
            where=where,
            remedy="the same kind of values, or leave the column out",
        ) from error
