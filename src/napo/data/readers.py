"""Logs and item lists from files: CSV, TSV, Parquet, and RecBole's atomic files.

Path    files -> [data.readers] -> log
Takes   a path, Columns (which column is what), and where needed encoding and separator
Gives   frames with our column names: `user`, `item`, `time`, `rating`; `item`, `title`, and the others as they are

Ids are text exactly as written: "007" stays "007".
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from napo.data._text import read_text_table
from napo.data.log import Tally
from napo.data.settings import Columns as Columns
from napo.data.times import to_milliseconds
from napo.errors import UserError, nearest

# What other data sets call these columns; matched without case, in this order.
_ALSO = {
    "user": ("user_id", "userid", "user_key", "reviewerid", "uid"),
    "item": ("item_id", "itemid", "item_key", "movie_id", "movieid", "parent_asin", "asin", "product_id", "iid"),
    "rating": ("score", "stars", "overall"),
    "time": ("timestamp", "datetime", "date", "unixreviewtime"),
    "title": ("movie_title", "item_title", "name", "item_name", "product_title"),
}
_RECBOLE = re.compile(r"(.+):(token|token_seq|float|float_seq)")
_DECIMAL_COMMA = r"^\s*[-+]?\d+(?:,\d+)?\s*$"


@dataclass(frozen=True, eq=False)
class FileTable:
    """A file's columns as read; `place(row)` says where a row stands; recbole: the header had `name:type`."""

    path: Path
    frame: pl.DataFrame
    place: Callable[[int], str]
    recbole: bool = False
    notes: tuple[str, ...] = ()


def read_table(path: Path, *, encoding: str | None = None, separator: str | None = None) -> FileTable:
    """Read any of the formats. Text columns stay text; Parquet columns keep their type."""
    if not path.is_file():
        raise UserError(f"there is no file {path}", where=str(path), remedy=_files_like(path))
    if path.suffix.lower() in (".parquet", ".pq"):
        return _read_parquet(path)
    atomic = path.suffix in (".inter", ".item", ".user")
    # RecBole writes titles with stray quotes in them, and never quotes a field
    table = read_text_table(path, encoding=encoding, separator="\t" if atomic else separator, quoted=not atomic)
    typed = [_RECBOLE.fullmatch(name) for name in table.frame.columns]
    recbole = all(typed)
    frame = table.frame
    if recbole:
        frame = frame.rename({match[0]: match[1] for match in typed if match})
    return FileTable(path, frame, lambda row: f"{path}, line {table.line(row)}", recbole, table.notes)


def read_events(table: FileTable, columns: Columns, tally: Tally) -> pl.DataFrame:
    """`user`, `item`, and where the file has them `time` (milliseconds), `rating` and `title`, in file order."""
    names = {
        "user": _column(table, columns, "user"),
        "item": _column(table, columns, "item"),
        "rating": _column(table, columns, "rating", optional=True),
        "time": _column(table, columns, "time", optional=True),
        "title": _column(table, columns, "title", optional=True, given=False),
    }
    found = {ours: theirs for ours, theirs in names.items() if theirs is not None}
    for note in table.notes:
        tally.note(note)
    used = ", ".join(ours if ours == theirs else f"{ours} = {theirs}" for ours, theirs in found.items())
    rest = [name for name in table.frame.columns if name not in found.values()]
    tally.note(f"{table.path.name}: columns {used}" + (f"; not used: {', '.join(rest)}" if rest else ""))
    frame = table.frame.select(pl.col(theirs).alias(ours) for ours, theirs in found.items())
    frame = frame.with_columns(_as_key(table, frame, name) for name in ("user", "item"))
    if "title" in found:
        frame = frame.with_columns(pl.col("title").cast(pl.String))
    if "rating" in found:
        frame = frame.with_columns(_as_rating(frame["rating"], table, found["rating"]).alias("rating"))
    if "time" in found:
        times, note = to_milliseconds(frame["time"], table.place)
        tally.note(note)
        frame = frame.with_columns(times.alias("time"))
    return frame


def read_items(table: FileTable, columns: Columns, tally: Tally, *, need_title: bool = True) -> pl.DataFrame:
    """`item`, `title` and the other columns. RecBole keeps a film's year apart: it goes back into the title."""
    item = _column(table, columns, "item", given=False, also="id")
    title = _column(table, columns, "title", optional=not need_title)
    for note in table.notes:
        tally.note(note)
    frame = table.frame.rename(
        {name: f"{name}_" for name in ("item", "title") if name in table.frame.columns and name not in (item, title)}
    )
    frame = frame.rename({str(item): "item"} | ({title: "title"} if title else {}))
    if title is None:
        frame = frame.with_columns(title=pl.lit(None, dtype=pl.String))
    frame = frame.with_columns(_as_key(table, frame, "item"), pl.col("title").cast(pl.String))
    if table.recbole and "release_year" in frame.columns:
        year = pl.col("release_year").str.strip_chars()
        known = year.is_not_null() & (year != "") & pl.col("title").is_not_null()
        frame = frame.with_columns(title=pl.when(known).then(pl.format("{} ({})", "title", year)).otherwise("title"))
        tally.note(f"{table.path.name}: the release year is made part of the title")
    return frame.select("item", "title", pl.exclude("item", "title"))


def _read_parquet(path: Path) -> FileTable:
    try:
        frame = pl.read_parquet(path, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError(f"the Parquet file can't be read: {error}", where=str(path)) from error
    if frame.height == 0:
        raise UserError("the file has no rows", where=str(path))
    return FileTable(path, frame, lambda row: f"{path}, row {row + 1}")


def _column(
    table: FileTable, columns: Columns, name: str, *, optional: bool = False, given: bool = True, also: str = ""
) -> str | None:
    """What the file calls our column `name`. A default may go by other names.

    given: a name that the user gave must be in this file; False where it may be meant for the other file.
    """
    wanted, present = getattr(columns, name), table.frame.columns
    if wanted in present:
        return str(wanted)
    if not given or name not in columns.model_fields_set:
        folded = {column.casefold(): column for column in reversed(present)}
        for known in (name, *_ALSO[name], also):
            if known in folded:
                return folded[known]
        if optional:
            return None
    close = nearest(wanted, present)
    hint = f"; nearest: {', '.join(close)}" if close else ""
    if len(present) == 1:
        hint = "; the header is a single column: is `separator:` right, and is the first line a header?"
    raise UserError(
        f"no column {wanted!r} for the {name}: the file has {', '.join(present)}{hint}",
        where=f"{table.path}, line 1",
        remedy=f"name it: `columns: {{{name}: ...}}` under `data:`",
    )


def _as_key(table: FileTable, frame: pl.DataFrame, name: str) -> pl.Expr:
    if not (frame[name].dtype == pl.String or frame[name].dtype.is_integer() or frame[name].dtype == pl.Categorical):
        raise UserError(
            f"the {name} ids are of type {frame[name].dtype}",
            where=str(table.path),
            remedy="ids must be text or whole numbers",
        )
    return pl.col(name).cast(pl.String)


def _as_rating(values: pl.Series, table: FileTable, column: str) -> pl.Series:
    if values.dtype == pl.String:
        values = values.str.strip_chars().replace("", None)
        # 4,5 is four and a half where every value reads so (Excel in half of Europe); never forty-five
        if values.str.contains(",").any() and values.drop_nulls().str.contains(_DECIMAL_COMMA).all():
            values = values.str.replace(",", ".", literal=True)
    numbers = values.cast(pl.Float64, strict=False)
    wrong = (
        (numbers.is_null() & values.is_not_null())
        | numbers.is_nan().fill_null(False)
        | numbers.is_infinite().fill_null(False)
    )
    if wrong.any():
        rows = wrong.arg_true()
        raise UserError(
            f"{values[int(rows[0])]!r} in column {column!r} is not a number, nor are {len(rows) - 1:,} others"
            if len(rows) > 1
            else f"{values[int(rows[0])]!r} in column {column!r} is not a number",
            where=table.place(int(rows[0])),
            remedy="leave the field empty where the rating is unknown",
        )
    return numbers


def _files_like(path: Path) -> str | None:
    if not path.parent.is_dir():
        return f"there is no folder {path.parent} either"
    close = nearest(path.name, (other.name for other in path.parent.iterdir()))
    return f"did you mean {', '.join(close)}" if close else None
