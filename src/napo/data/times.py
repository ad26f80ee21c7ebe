"""What a time column means: seconds, milliseconds, ISO texts or a Parquet date, as milliseconds since 1970 UTC.

Path    readers -> [data.times] -> log
Takes   one column as it was read, and the name of each row's place for errors
Gives   Int64 milliseconds (null where the field was empty), and a sentence that says how they were read
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from napo.data.settings import OFFSET, TimeUnit
from napo.errors import UserError, short

Place = Callable[[int], str]

# A number of today is told by its size: 1.7e9 seconds, 1.7e12 milliseconds, 1.7e15 micro-, 1.7e18 nanoseconds.
_UNITS = (
    ("seconds", 1e11, 1000.0),
    ("milliseconds", 1e14, 1.0),
    ("microseconds", 1e17, 1e-3),
    ("nanoseconds", 1e20, 1e-6),
)
FIRST_CLOCK = 1e8  # seconds, March 1973: below it, numbers are an order (1, 2, 3, ...), not a clock
_LAST_YEAR = 2100
_LATEST = round(datetime(_LAST_YEAR, 1, 1, tzinfo=UTC).timestamp() * 1000)
_FIRST_TEXT = round(datetime(1900, 1, 1, tzinfo=UTC).timestamp() * 1000)
_SAMPLE = 1000


@dataclass(frozen=True)
class HowTimes:
    """What the user said of the times; None: told from them. unit: of numbers. format: of texts, as for strptime.

    zone: of times that name none, such as Europe/Berlin or +01:00; UTC.
    """

    unit: TimeUnit | None = None
    format: str | None = None
    zone: str | None = None


def to_milliseconds(values: pl.Series, place: Place, how: HowTimes | None = None) -> tuple[pl.Series, str]:
    """Read a time column. Raises UserError with the place of the first value that is no time, or of another unit."""
    how = how or HowTimes()
    if values.dtype == pl.Date or isinstance(values.dtype, pl.Datetime):
        kind, zone = values.dtype, getattr(values.dtype, "time_zone", None)
        clock = values.cast(pl.Datetime("us", zone))
        # a date has no hour that a zone could move
        utc, note = (clock, "") if zone or kind == pl.Date else _in_zone(clock, how.zone, place)
        column = _rounded(utc.dt.epoch("us"))
        return column, f"times: {kind}, {_span(column)}{note}"
    if values.dtype != pl.String and not values.dtype.is_numeric():
        raise UserError(f"the time column is of type {values.dtype}", where=place(0), remedy=_REMEDY)
    if how.format is not None:
        return _from_texts(_stripped(values.cast(pl.String)), place, how)
    numbers = values.cast(pl.Float64, strict=False)
    if values.dtype == pl.String and numbers.null_count() > values.null_count():
        values = _stripped(values)
        numbers = values.cast(pl.Float64, strict=False)
    texts = (numbers.is_null() & values.is_not_null()).sum()
    if texts == 0:
        return _from_numbers(numbers, place, how.unit)
    if texts == values.len() - values.null_count():
        return _from_texts(values, place, how)
    # numbers with a few texts among them: the first of the fewer kind is the mistake
    odd = numbers.is_null() if texts * 2 <= values.len() else numbers.is_not_null()
    row = int((odd & values.is_not_null()).arg_true()[0])
    raise UserError(f"{values[row]!r} is not a time like the others of the column", where=place(row), remedy=_REMEDY)


_REMEDY = (
    "seconds or milliseconds since 1970, or ISO 8601 like 2024-03-01T10:00:00Z; one kind in a file. "
    'Other texts: say `time_format: "%d/%m/%Y"`, in the signs of strptime'
)


def _stripped(values: pl.Series) -> pl.Series:
    return values.str.strip_chars().replace("", None)


def _from_numbers(numbers: pl.Series, place: Place, said: TimeUnit | None) -> tuple[pl.Series, str]:
    known = numbers.is_not_null().to_numpy()
    stamps = numbers.fill_null(0.0).to_numpy()
    if not known.any():
        return pl.Series(values=[None] * len(numbers), dtype=pl.Int64), "times: the column is empty"
    if not np.isfinite(stamps).all():
        row = int(np.flatnonzero(~np.isfinite(stamps))[0])
        raise UserError(f"{stamps[row]} is not a time", where=place(row), remedy=_REMEDY)
    size = np.searchsorted([limit for _, limit, _ in _UNITS], np.abs(stamps), side="right").astype(np.int8)
    counts = np.bincount(size[known], minlength=len(_UNITS) + 1)
    unit = int(counts[: len(_UNITS)].argmax()) if said is None else [name for name, *_ in _UNITS].index(said)
    if said is None and (odd := np.flatnonzero(known & (size != unit))).size:
        raise UserError(
            f"{short(f'{stamps[odd[0]]:.0f}', 24)} does not fit the other times, which are {_UNITS[unit][0]}",
            where=place(int(odd[0])),
            remedy=_REMEDY,
        )
    name, _, factor = _UNITS[unit]
    milliseconds = np.round(stamps * factor).astype(np.int64)
    column = pl.Series("time", milliseconds).set(pl.Series(~known), None)
    if said is None and name == "seconds" and np.abs(stamps).max() < FIRST_CLOCK:
        return column, "times: small numbers, taken as an order only"
    odd = np.flatnonzero(known & ((milliseconds < FIRST_CLOCK * 1000) | (milliseconds > _LATEST)))
    if odd.size:
        raise UserError(
            f"{short(f'{stamps[odd[0]]:.0f}', 24)} would be {name} of an impossible year",
            where=place(int(odd[0])),
            remedy="leave the field empty where the time is unknown: such rows are left out and counted",
        )
    return column, f"times: {name}, {_span(column)}"


# (format, whether it names a zone): T or a blank before the hour, seconds that may be left out, Z or +01:00 or +0100
_ISO = (
    *(("%Y-%m-%dT%H:%M:%S%.f%#z", True), ("%Y-%m-%d %H:%M:%S%.f%#z", True), ("%Y-%m-%d %H:%M:%S %#z", True)),
    *(("%Y-%m-%dT%H:%M:%S%.f", False), ("%Y-%m-%d %H:%M:%S%.f", False)),
    *(("%Y-%m-%dT%H:%M", False), ("%Y-%m-%d %H:%M", False), ("%Y-%m-%d", False)),
)
_OTHERS = (
    ("%a %b %d %H:%M:%S %z %Y", True),  # Goodreads
    ("%m %d, %Y", False),  # Amazon's reviewTime
    *(("%d.%m.%Y %H:%M:%S", False), ("%d.%m.%Y %H:%M", False), ("%d.%m.%Y", False)),  # Excel, in much of Europe
)


def _from_texts(values: pl.Series, place: Place, how: HowTimes) -> tuple[pl.Series, str]:
    """Column by column in the common notations; what is left, one by one."""
    formats = (*_ISO, *_OTHERS) if how.format is None else ((how.format, "z" in how.format.replace("%Z", "")),)
    sample = values.drop_nulls().head(_SAMPLE)
    likely = sorted(formats, key=lambda one: _strptime(sample, *one).null_count())  # stable: ISO first
    zoned = pl.Series("time", [None] * len(values), dtype=pl.Datetime("us"))
    naive = zoned.clone()
    used = []
    for format, has_zone in likely:
        missing = values.is_not_null() & zoned.is_null() & naive.is_null()
        if not missing.any():
            break
        found = _strptime(values.set(~missing, None), format, has_zone)
        if found.null_count() < len(found):
            used.append(format)
        if has_zone:
            zoned = zoned.zip_with(zoned.is_not_null(), found)
        else:
            naive = naive.zip_with(naive.is_not_null(), found)
    zoned, naive = _one_by_one(values, zoned, naive, place, how)
    naive, note = _in_zone(naive, how.zone, place)
    column = _rounded(zoned.zip_with(zoned.is_not_null(), naive).dt.epoch("us"))
    odd = (column < _FIRST_TEXT) | (column > _LATEST)
    if odd.any():
        row = int(odd.fill_null(False).arg_true()[0])
        raise UserError(f"{values[row]!r} is of an impossible year", where=place(row), remedy=_REMEDY)
    others = [format for format in used if format not in dict(_ISO)]
    return column, f"times: {', '.join(others) or 'ISO 8601'}, {_span(column)}{note}"


def _strptime(values: pl.Series, format: str, has_zone: bool) -> pl.Series:
    """UTC where the format has a zone, else what the clock showed; null where the format does not fit."""
    found = values.str.strptime(pl.Datetime("us", "UTC" if has_zone else None), format, strict=False)
    return found.dt.replace_time_zone(None).rename("time")


def _one_by_one(
    values: pl.Series, zoned: pl.Series, naive: pl.Series, place: Place, how: HowTimes
) -> tuple[pl.Series, pl.Series]:
    """The values that no format took, in whatever else ISO 8601 allows. Raises UserError with the first no time."""
    left = (values.is_not_null() & zoned.is_null() & naive.is_null()).arg_true().to_list()
    with_zone: dict[int, datetime] = {}
    without: dict[int, datetime] = {}
    for row in left:
        try:
            if how.format is not None:
                raise ValueError(how.format)
            moment = datetime.fromisoformat(values[row])
        except ValueError as error:
            like = f" like `time_format: {how.format}`" if how.format else ""
            raise UserError(f"{values[row]!r} is not a time{like}", where=place(row), remedy=_REMEDY) from error
        if moment.tzinfo is None:
            without[row] = moment
        else:
            with_zone[row] = moment.astimezone(UTC).replace(tzinfo=None)
    return _scattered(zoned, with_zone), _scattered(naive, without)


def _scattered(values: pl.Series, found: dict[int, datetime]) -> pl.Series:
    return values.scatter(list(found), list(found.values())) if found else values


def _in_zone(clock: pl.Series, zone: str | None, place: Place) -> tuple[pl.Series, str]:
    """UTC for what the clock showed in a zone; a sentence that says so, empty where there is nothing to say."""
    count = len(clock) - clock.null_count()
    if count == 0:
        return clock, ""
    if zone is None:
        return clock, f"; {count:,} without a zone, taken as UTC"
    said = f"; {count:,} without a zone, taken as {zone}"
    if (offset := _offset(zone)) is not None:
        return clock - offset, said
    first = clock.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    last = clock.dt.replace_time_zone(zone, ambiguous="latest", non_existent="null")
    if (gone := first.is_null() & clock.is_not_null()).any():
        row = int(gone.arg_true()[0])
        raise UserError(
            f"{clock[row]} does not exist in {zone}: the clock was put forward then",
            where=place(row),
            remedy="name the right `time_zone`",
        )
    if twice := int((first != last).sum()):
        said += f"; {twice:,} in the hour that the clock showed twice, taken as the earlier"
    return first.dt.convert_time_zone("UTC").dt.replace_time_zone(None), said


def _offset(zone: str) -> timedelta | None:
    if (found := OFFSET.fullmatch(zone)) is None:
        return None
    offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
    return -offset if found[1] == "-" else offset


def _rounded(microseconds: pl.Series) -> pl.Series:
    return ((microseconds + 500) // 1000).rename("time")


def _span(milliseconds: pl.Series) -> str:
    first, last = milliseconds.min(), milliseconds.max()
    if not isinstance(first, int) or not isinstance(last, int):
        return "none known"
    return f"{day(first)} to {day(last)}"


def day(milliseconds: int) -> str:
    """`2023-11-14`, in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC).date().isoformat()
