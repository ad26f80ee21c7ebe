"""Logs and item lists from files of any format: which column is what, and what its fields say.

Path    files -> formats -> [data.readers] -> log
Takes   an opened file, Columns (which column is what), and where needed the decimal mark and how times are written
Gives   frames with our column names: `user`, `item`, `time`, `rating`; `item`, `title`, and the others as they are

Ids are text exactly as written: "007" stays "007".
"""

from typing import Literal

import polars as pl

from napo.data.formats import OpenFile, Place
from napo.data.settings import Columns as Columns
from napo.data.tally import Tally
from napo.data.times import HowTimes, to_milliseconds
from napo.errors import UserError, nearest

Decimal = Literal[".", ","]

# What other data sets call these columns; matched without case, in this order.
_ALSO = {
    "user": ("user_id", "userid", "user_key", "reviewerid", "uid"),
    "item": (
        *("item_id", "itemid", "item_key", "movie_id", "movieid", "parent_asin", "asin", "product_id", "book_id"),
        *("iid",),
    ),
    "rating": ("score", "stars", "overall"),
    "time": ("timestamp", "datetime", "date", "unixreviewtime"),
    "title": ("movie_title", "item_title", "name", "item_name", "product_title"),
}
TEXT_FORMATS = ("csv", "recbole")  # with a separator, which may be another one than was thought
_DECIMAL_COMMA = r"^\s*[-+]?\d+(?:,\d+)?\s*$"


def read_events(
    file: OpenFile, columns: Columns, tally: Tally, *, decimal: Decimal | None = None, times: HowTimes | None = None
) -> pl.DataFrame:
    """`user`, `item`, and where the file has them `time` (milliseconds), `rating` and `title`, in file order."""
    names = {
        "user": column_of(file, columns, "user"),
        "item": column_of(file, columns, "item"),
        "rating": column_of(file, columns, "rating", optional=True),
        "time": column_of(file, columns, "time", optional=True),
        "title": column_of(file, columns, "title", optional=True, given=False),
    }
    found = {ours: theirs for ours, theirs in names.items() if theirs is not None}
    for note in file.notes:
        tally.note(note)
    used = ", ".join(ours if ours == theirs else f"{ours} = {theirs}" for ours, theirs in found.items())
    rest = [name for name in file.columns if name not in found.values()]
    tally.note(f"{file.path.name}: columns {used}" + (f"; not used: {', '.join(rest)}" if rest else ""))
    wanted = list(dict.fromkeys(found.values()))
    frame, place = file.load(wanted, [found["user"], found["item"]])
    frame = frame.select(pl.col(theirs).alias(ours) for ours, theirs in found.items())
    frame = frame.with_columns(_as_key(file, frame, name) for name in ("user", "item"))
    if "title" in found:
        frame = frame.with_columns(pl.col("title").cast(pl.String))
    if "rating" in found:
        ratings, commas = _as_rating(frame["rating"], place, found["rating"], decimal)
        if commas:
            tally.note(f"{file.path.name}: {commas}")
        frame = frame.with_columns(ratings.alias("rating"))
    if "time" in found:
        stamps, note = to_milliseconds(frame["time"], place, times or HowTimes())
        tally.note(note)
        frame = frame.with_columns(stamps.alias("time"))
    return frame


def read_items(file: OpenFile, columns: Columns, tally: Tally, *, need_title: bool = True) -> pl.DataFrame:
    """`item`, `title` and the other columns. RecBole keeps a film's year apart: it goes back into the title."""
    item = column_of(file, columns, "item", given=False, also="id")
    title = column_of(file, columns, "title", optional=not need_title)
    for note in file.notes:
        tally.note(note)
    wanted = None
    if file.kept is not None:
        wanted = list(dict.fromkeys(name for name in (item, title, *file.kept) if name in file.columns))
        if rest := [name for name in file.columns if name not in wanted]:
            tally.note(f"{file.path.name}: not kept: {', '.join(rest)}")
    table, _ = file.load(wanted, ())
    frame = table.rename(
        {name: f"{name}_" for name in ("item", "title") if name in table.columns and name not in (item, title)}
    )
    frame = frame.rename({str(item): "item"} | ({title: "title"} if title else {}))
    if title is None:
        frame = frame.with_columns(title=pl.lit(None, dtype=pl.String))
    frame = frame.with_columns(_as_key(file, frame, "item").cast(pl.String), pl.col("title").cast(pl.String))
    if file.recbole and "release_year" in frame.columns:
        year = pl.col("release_year").str.strip_chars()
        known = year.is_not_null() & (year != "") & pl.col("title").is_not_null()
        frame = frame.with_columns(title=pl.when(known).then(pl.format("{} ({})", "title", year)).otherwise("title"))
        tally.note(f"{file.path.name}: the release year is made part of the title")
    return frame.select("item", "title", pl.exclude("item", "title"))


def column_of(
    file: OpenFile, columns: Columns, name: str, *, optional: bool = False, given: bool = True, also: str = ""
) -> str | None:
    """What the file calls our column `name`. A default may go by other names, or by the one that the format settles.

    given: a name that the user gave must be in this file; False where it may be meant for the other file.
    """
    wanted, present = getattr(columns, name), file.columns
    said = name in columns.model_fields_set
    if wanted in present and (said or name not in file.means):
        return str(wanted)
    if not (said and given):
        settled = file.means.get(name)
        if settled in present or (name in file.means and settled is None and optional):
            return settled
        folded = {column.casefold(): column for column in reversed(present)}
        for known in (name, *_ALSO[name], also):
            if known and known in folded:  # a column without a name is nobody's
                return folded[known]
        if optional:
            return None
    close = nearest(wanted, present)
    hint = f"; nearest: {', '.join(close)}" if close else ""
    remedy = f"name it: `columns: {{{name}: ...}}` under `data:`, or `--column {name}=...`"
    if file.header is not None:
        remedy = f"call it so in the query: `SELECT ... AS {name}`; or {remedy}"
    elif len(present) == 1 and file.format in TEXT_FORMATS:
        hint = "; the header is a single column: is `separator:` right, and is the first line a header?"
    elif file.format == "csv" and not close:
        remedy += "; if the first line is no header, name all columns: `header: [user, item, rating, time]`"
    raise UserError(
        f"no column {wanted!r} for the {name}: the file has {', '.join(present)}{hint}",
        where=file.header or f"{file.path}, line 1",
        remedy=remedy,
    )


def _as_key(file: OpenFile, frame: pl.DataFrame, name: str) -> pl.Expr:
    kind = frame[name].dtype
    if isinstance(kind, pl.Categorical):
        return pl.col(name)
    if not (kind == pl.String or kind.is_integer()):
        raise UserError(
            f"the {name} ids are of type {kind}",
            where=str(file.path),
            remedy="ids must be text or whole numbers",
        )
    return pl.col(name).cast(pl.String)


def _as_rating(values: pl.Series, place: Place, column: str, decimal: Decimal | None) -> tuple[pl.Series, str | None]:
    """Numbers, and a note where commas were read as decimal marks."""
    if values.dtype.is_nested():
        remedy = "a column of numbers; `columns: {rating: ...}` under `data:` names another one"
        raise UserError(f"the ratings in column {column!r} are of type {values.dtype}", where=place(0), remedy=remedy)
    note = None
    texts = values
    numbers = values.cast(pl.Float64, strict=False)
    if values.dtype == pl.String and (decimal == "," or numbers.null_count() > values.null_count()):
        values = texts = values.str.strip_chars().replace("", None)
        # 4,5 is four and a half where every value reads so (Excel in half of Europe); never forty-five
        if decimal == "," or (decimal is None and _all_with_commas(texts)):
            note = "decimal commas in the ratings"
            # 1.234,5: where commas are for decimals, a point is no part of a number
            values = texts.str.replace_all(".", "?", literal=True).str.replace(",", ".", literal=True)
        numbers = values.cast(pl.Float64, strict=False)
    wrong = (numbers.is_null() & values.is_not_null()) | ~numbers.is_finite().fill_null(True)
    if wrong.any():
        rows = wrong.arg_true()
        others = f", nor are {len(rows) - 1:,} others" if len(rows) > 1 else ""
        raise UserError(
            f"{texts[int(rows[0])]!r} in column {column!r} is not a number{others}",
            where=place(int(rows[0])),
            remedy="leave the field empty where the rating is unknown; for commas as decimal marks say `decimal: ','`",
        )
    return numbers, note


def _all_with_commas(texts: pl.Series) -> bool:
    return bool(texts.str.contains(",", literal=True).any() and texts.drop_nulls().str.contains(_DECIMAL_COMMA).all())
