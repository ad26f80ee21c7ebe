"""to_milliseconds: one instant in every notation, and what is no time."""

from datetime import UTC, date, datetime, timedelta, timezone

import polars as pl
import pytest

from napo.data.times import to_milliseconds
from napo.errors import UserError

INSTANT = 1_700_000_000_000  # 2023-11-14 22:13:20 UTC


def read(*values: object) -> tuple[list[int | None], str]:
    column, note = to_milliseconds(pl.Series("time", list(values)), lambda row: f"log.csv, line {row + 2}")
    return column.to_list(), note


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("1700000000", "seconds"),
        ("1700000000.0", "seconds"),
        ("1700000000000", "milliseconds"),
        ("1700000000000000", "microseconds"),
        ("2023-11-14T23:13:20+01:00", "ISO 8601"),
        ("2023-11-14T22:13:20Z", "ISO 8601"),
        ("2023-11-14 22:13:20", "1 without a zone, taken as UTC"),
        (1_700_000_000, "seconds"),
        (datetime(2023, 11, 14, 22, 13, 20), "Datetime"),
        (datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC), "Datetime"),
        (datetime(2023, 11, 14, 23, 13, 20, tzinfo=timezone(timedelta(hours=1))), "Datetime"),
    ],
)
def test_one_instant_in_every_notation(value, said):
    stamps, note = read(value)
    assert stamps == [INSTANT]
    assert said in note
    assert "2023-11-14" in note


def test_a_date_is_its_midnight():
    assert read(date(1970, 1, 3))[0] == [2 * 86_400_000]


def test_empty_fields_are_unknown():
    assert read("1700000000", "", " ", None)[0] == [INSTANT, None, None, None]


def test_small_numbers_are_an_order():
    stamps, note = read("1", "2", "10")
    assert stamps == [1000, 2000, 10_000]
    assert "order only" in note


@pytest.mark.parametrize(
    ("values", "line", "what"),
    [
        (["1700000000", "1700000000000", "1700000001"], 3, "does not fit the other times, which are seconds"),
        (["1700000000", "1700000001", "0"], 4, "impossible year"),
        (["1700000000", "9999999999999999", "1700000001"], 3, "does not fit"),
        (["9999999999999999"], 2, "impossible year"),
        (["1700000000", "yesterday", "1700000001"], 3, "'yesterday' is not a time"),
        (["2024-03-01", "2024-13-01"], 3, "'2024-13-01' is not a time"),
        (["2024-03-01", "2024-03-02", "5"], 4, "'5' is not a time like the others"),
        (["1700000000", "inf"], 3, "inf is not a time"),
    ],
)
def test_what_is_no_time_is_named_with_its_line(values, line, what):
    with pytest.raises(UserError, match=what) as caught:
        read(*values)
    assert caught.value.where == f"log.csv, line {line}"


def test_a_column_of_another_type_is_refused():
    with pytest.raises(UserError, match="Boolean"):
        read(True)
