"""What a time column means: seconds, milliseconds, ISO texts or a Parquet date, as milliseconds since 1970 UTC.

Path    readers -> [data.times] -> log
Takes   one column as it was read, and the name of each row's place for errors
Gives   Int64 milliseconds (null where the field was empty), and a sentence that says how they were read
"""

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import polars as pl

from napo.errors import UserError

Place = Callable[[int], str]

# A number of today is told by its size: 1.7e9 seconds, 1.7e12 milliseconds, 1.7e15 micro-, 1.7e18 nanoseconds.
_UNITS = (
    ("seconds", 1e11, 1000.0),
    ("milliseconds", 1e14, 1.0),
    ("microseconds", 1e17, 1e-3),
    ("nanoseconds", 1e20, 1e-6),
)
_FIRST_CLOCK = 1e8  # seconds, March 1973: below it, numbers are an order (1, 2, 3, ...), not a clock
_LAST_YEAR = 2100


def to_milliseconds(values: pl.Series, place: Place) -> tuple[pl.Series, str]:
    """Read a time column. Raises UserError with the place of the first value that is no time, or of another unit."""
    if values.dtype == pl.Date or isinstance(values.dtype, pl.Datetime):
        stamps = values.dt.epoch("ms")
        return stamps, f"times: {values.dtype}, {_span(stamps)}"
    if values.dtype != pl.String and not values.dtype.is_numeric():
        raise UserError(f"the time column is of type {values.dtype}", where=place(0), remedy=_REMEDY)
    if values.dtype == pl.String:
        values = values.str.strip_chars().replace("", None)
    numbers = values.cast(pl.Float64, strict=False)
    texts = values.filter(numbers.is_null() & values.is_not_null())
    if texts.len() == 0:
        return _from_numbers(numbers, place)
    if values.dtype == pl.String and texts.len() == values.len() - values.null_count():
        return _from_texts(values, place)
    # numbers with a few texts among them: the first of the fewer kind is the mistake
    odd = numbers.is_null() if texts.len() * 2 <= values.len() else numbers.is_not_null()
    row = int((odd & values.is_not_null()).arg_true()[0])
    raise UserError(f"{values[row]!r} is not a time like the others of the column", where=place(row), remedy=_REMEDY)


_REMEDY = "seconds or milliseconds since 1970, or ISO 8601 like 2024-03-01T10:00:00Z; one kind in a file"


def _from_numbers(numbers: pl.Series, place: Place) -> tuple[pl.Series, str]:
    known = numbers.is_not_null().to_numpy()
    stamps = numbers.fill_null(0.0).to_numpy()
    if not known.any():
        return pl.Series(values=[None] * len(numbers), dtype=pl.Int64), "times: the column is empty"
    if not np.isfinite(stamps).all():
        row = int(np.flatnonzero(~np.isfinite(stamps))[0])
        raise UserError(f"{stamps[row]} is not a time", where=place(row), remedy=_REMEDY)
    size = np.searchsorted([limit for _, limit, _ in _UNITS], np.abs(stamps), side="right")
    counts = np.bincount(size[known], minlength=len(_UNITS) + 1)
    unit = int(counts[: len(_UNITS)].argmax())
    if (odd := np.flatnonzero(known & (size != unit))).size:
        raise UserError(
            f"{stamps[odd[0]]:.0f} does not fit the other times, which are {_UNITS[unit][0]}",
            where=place(int(odd[0])),
            remedy=_REMEDY,
        )
    name, _, factor = _UNITS[unit]
    milliseconds = np.round(stamps * factor).astype(np.int64)
    column = pl.Series("time", milliseconds).set(pl.Series(~known), None)
    if name == "seconds" and np.abs(stamps).max() < _FIRST_CLOCK:
        return column, "times: small numbers, taken as an order only"
    latest = datetime(_LAST_YEAR, 1, 1, tzinfo=UTC).timestamp() * 1000
    odd = np.flatnonzero(known & ((milliseconds < _FIRST_CLOCK * 1000) | (milliseconds > latest)))
    if odd.size:
        raise UserError(
            f"{stamps[odd[0]]:.0f} would be {name} of an impossible year",
            where=place(int(odd[0])),
            remedy="leave the field empty where the time is unknown: such rows are left out and counted",
        )
    return column, f"times: {name}, {_span(column)}"


def _from_texts(values: pl.Series, place: Place) -> tuple[pl.Series, str]:
    stamps: list[int | None] = []
    without_zone = 0
    for row, text in enumerate(values):
        if text is None:
            stamps.append(None)
            continue
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise UserError(f"{text!r} is not a time", where=place(row), remedy=_REMEDY) from error
        if moment.tzinfo is None:
            without_zone += 1
            moment = moment.replace(tzinfo=UTC)
        stamps.append(round(moment.timestamp() * 1000))
    column = pl.Series("time", stamps, dtype=pl.Int64)
    zone = f"; {without_zone:,} without a zone, taken as UTC" if without_zone else ""
    return column, f"times: ISO 8601, {_span(column)}{zone}"


def _span(milliseconds: pl.Series) -> str:
    first, last = milliseconds.min(), milliseconds.max()
    if not isinstance(first, int) or not isinstance(last, int):
        return "none known"
    return f"{day(first)} to {day(last)}"


def day(milliseconds: int) -> str:
    """`2023-11-14`, in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC).date().isoformat()
