"""A log or an item list read whole, for the tests of the formats."""

from pathlib import Path

import polars as pl

from napo.data.formats import open_table
from napo.data.log import Tally
from napo.data.readers import Columns, read_events, read_items


def events(path: Path, tally: Tally | None = None) -> list[dict]:
    """The events of a file, ids as text."""
    frame = read_events(open_table(path), Columns(), tally or Tally())
    return frame.with_columns(pl.col("user", "item").cast(pl.String)).to_dicts()


def items(path: Path) -> list[dict]:
    """The items of a file, without the columns that are empty for them."""
    rows = read_items(open_table(path), Columns(), Tally()).to_dicts()
    return [{name: value for name, value in row.items() if value is not None} for row in rows]
