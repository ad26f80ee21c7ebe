"""Which items may be recommended: conditions on the columns of the items file.

Path    the command line, HTTP, Python -> [serving.where] -> serving.filter -> recommender
Takes   texts such as `genre=Comedy`, `genre!=Horror`, `genre in Drama, War`, `year>=1990`; a Catalog
Gives   Allowed: which items meet all the conditions

A value may hold several: "Action|Comedy", "Action, Comedy" and "Action Comedy" are each both. `|`, `;` and `,` part
the values of a column; in a column that has none of these marks, blanks do. A whole value always counts too.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from napo.arrays import BoolArray, FloatArray
from napo.data.catalog import Catalog
from napo.errors import UserError, did_you_mean, nearest

SIGNS = ("!=", "<=", ">=", "=", "<", ">", "in")
_FORM = re.compile(r"\s*(.+?)\s*(!=|<=|>=|==?|<|>|(?<=\s)in(?=\s))\s*(.*?)\s*", re.DOTALL)
_MARKS = r"[|;,]"
_HOW = "such as `genre=Comedy`, `genre!=Horror`, `genre in Drama, War`, `year>=1990`"


@dataclass(frozen=True)
class Condition:
    """One column's values: `=` and `in` want one of them, `!=` none of them, the others compare with a number."""

    column: str
    sign: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        sign = " in " if self.sign == "in" else self.sign
        return f"{self.column}{sign}{', '.join(self.values)}"


Where = str | Condition | Sequence[str | Condition]


@dataclass(frozen=True, eq=False)
class Allowed:
    """items: (items,) whether an item meets all the conditions; at least one does. columns: what was asked about.

    said: the conditions, for messages. notes: what to tell the person.
    """

    items: BoolArray
    columns: tuple[str, ...]
    said: str
    notes: tuple[str, ...]


def read_where(where: Where, catalog: Catalog) -> Allowed:
    """The items that meet every condition; case and outer blanks are forgiven, in columns as in values.

    Raises UserError for a condition that can't be read, an unknown column or value (with the nearest ones), and where
    no item is left.
    """
    given = [where] if isinstance(where, str | Condition) else where
    conditions = [condition if isinstance(condition, Condition) else parse(condition) for condition in given]
    items = np.ones(len(catalog), dtype=np.bool_)
    columns, notes = [], []
    for condition in conditions:
        column = column_named(condition.column, catalog)
        met, note = _met(condition, catalog.columns[column])
        items &= met
        columns.append(column)
        notes += [note] if note else []
    said = " and ".join(map(str, conditions))
    if not items.any():
        what = f"no item has {said}: each condition is met, all together are not"
        raise UserError(what, where="where", remedy="fewer conditions")
    if conditions:
        notes.insert(0, f"{int(items.sum()):,} of the {len(catalog):,} items have {said}")
    return Allowed(items, tuple(dict.fromkeys(columns)), said, tuple(notes))


def parse(text: str) -> Condition:
    """`column sign value`; after `in`, values with commas between them. Raises UserError where it is nothing such."""
    form = _FORM.fullmatch(text) if isinstance(text, str) else None
    if form is None:
        raise UserError(f"{text!r} is no condition", where="where", remedy=_HOW)
    column, sign, value = form.groups()
    values = tuple(part.strip() for part in value.split(",") if part.strip()) if sign == "in" else (value,)
    if not any(values):
        raise UserError(f"{text!r} names no value", where="where", remedy=_HOW)
    return Condition(column, "=" if sign == "==" else sign, values)


def column_named(name: str, catalog: Catalog, where: str = "where") -> str:
    """The catalog's column of that name, case forgiven. Raises UserError with the nearest ones where there is none."""
    known = catalog.columns.columns
    if name in known:
        return name
    if folded := [column for column in known if column.casefold() == name.strip().casefold()]:
        return folded[0]
    if not known:
        raise UserError(
            f"no column {name!r}: the catalog has keys and titles alone",
            where=where,
            remedy="train with an items file that has this column",
        )
    raise UserError(f"no column {name!r} in the catalog", where=where, remedy=did_you_mean(name, known))


def _met(condition: Condition, column: pl.Series) -> tuple[BoolArray, str | None]:
    """(items,) and perhaps a note."""
    if condition.sign not in SIGNS:
        raise UserError(f"{condition.sign!r} compares nothing", where="where", remedy=f"one of {' '.join(SIGNS)}")
    if condition.sign not in ("=", "!=", "in"):
        return _compared(condition, column)
    met = np.zeros(len(column), dtype=np.bool_)
    for value in condition.values:
        met |= _has(value, column, condition)
    return (~met if condition.sign == "!=" else met), None


def _has(value: str, column: pl.Series, condition: Condition) -> BoolArray:
    """(items,) whether the column holds the value, whole or as one of several."""
    if column.dtype.is_numeric() and (number := _number(value)) is not None:
        met = (column == number).fill_null(False).to_numpy()
    else:
        held = _held(column)
        wanted = value.strip().casefold()
        same = [text for text in held["text"].unique() if text.casefold() == wanted]
        met = np.zeros(len(column), dtype=np.bool_)
        met[held.filter(pl.col("text").is_in(same))["item"].to_numpy()] = True
    if not met.any():
        raise UserError(f"no item has {column.name}={value}", where=f"where: {condition}", remedy=_near(value, column))
    return np.asarray(met)


def parts_of(column: pl.Series) -> pl.DataFrame:
    """`item`, `text`: a row for each value that an item has, where a text that holds several is these and not itself.

    `|`, `;` and `,` part the values; where none of them stands, blanks do if that makes fewer different values: of
    "Action Comedy" and "Comedy Drama" three, whereas names of persons would only be torn apart.
    """
    if isinstance(column.dtype, pl.List):
        return _held(column).unique(maintain_order=True)
    whole = pl.DataFrame({"item": np.arange(len(column)), "text": column.cast(pl.String)}).drop_nulls()
    marked = whole["text"].str.contains(_MARKS).any()
    parts = whole.with_columns(pl.col("text").str.replace_all(_MARKS if marked else r"\s+", "\x1f").str.split("\x1f"))
    parts = parts.explode("text")
    if not marked and parts["text"].n_unique() >= whole["text"].n_unique():
        parts = whole
    parts = parts.with_columns(pl.col("text").str.strip_chars())
    return parts.filter(pl.col("text") != "").unique(maintain_order=True)


def _held(column: pl.Series) -> pl.DataFrame:
    """`item`, `text`: a row for each value that an item has, whole ones and their parts, outer blanks taken off."""
    if isinstance(column.dtype, pl.List):
        parts = pl.DataFrame({"item": np.arange(len(column)), "text": column}).explode("text")
        return parts.with_columns(pl.col("text").cast(pl.String).str.strip_chars()).drop_nulls()
    whole = pl.DataFrame({"item": np.arange(len(column)), "text": column.cast(pl.String)}).drop_nulls()
    marked = whole["text"].str.contains(_MARKS).any()
    parted = pl.col("text").str.replace_all(_MARKS if marked else r"\s+", "\x1f").str.split("\x1f")
    both = pl.concat([whole, whole.with_columns(parted).explode("text")])
    return both.with_columns(pl.col("text").str.strip_chars()).filter(pl.col("text") != "")


def _compared(condition: Condition, column: pl.Series) -> tuple[BoolArray, str | None]:
    (value,) = condition.values
    bound = _number(value)
    if bound is None:
        raise UserError(
            f"{value!r} is not a number, which `{condition.sign}` compares with",
            where=f"where: {condition}",
            remedy="`=`, `!=` or `in` for texts",
        )
    numbers = _numbers(column)
    if numbers is None or np.isnan(numbers).all():
        raise UserError(
            f"the column {column.name!r} holds no numbers",
            where=f"where: {condition}",
            remedy=f"`=`, `!=` or `in`; {_near('', column)}",
        )
    with np.errstate(invalid="ignore"):
        compare = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}[condition.sign]
        met = compare(numbers, bound)  # False where there is no number
    if not met.any():
        raise UserError(f"no item has {condition}", where=f"where: {condition}", remedy=_near(value, column))
    missing = int(np.isnan(numbers).sum())
    return met, f"{missing:,} items have no number in {column.name!r} and are left out" if missing else None


def _numbers(column: pl.Series) -> FloatArray | None:
    """(items,) NaN where there is no number; None for a column of another kind."""
    if not (column.dtype.is_numeric() or column.dtype == pl.String):
        return None
    text = column.str.strip_chars() if column.dtype == pl.String else column
    return text.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return None if np.isnan(number) else number


def _near(value: str, column: pl.Series) -> str:
    """The remedy for a value that no item has: the nearest ones, or what there is."""
    numbers = _numbers(column)
    if numbers is not None and not np.isnan(numbers).all() and _number(value) is not None:
        return f"{column.name} goes from {np.nanmin(numbers):g} to {np.nanmax(numbers):g}"
    counted = _held(column)["text"].value_counts(sort=True)["text"].to_list()
    if close := nearest(value, counted):
        return f"nearest values: {', '.join(close)}"
    some = ", ".join(counted[:5])
    return f"values are {some}{', ...' if len(counted) > 5 else ''}"
