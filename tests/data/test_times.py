"""to_milliseconds: one instant in every notation, and what is no time."""

from datetime import UTC, date, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napo.data.times import HowTimes, to_milliseconds
from napo.errors import UserError

INSTANT = 1_700_000_000_000  # 2023-11-14 22:13:20 UTC


def read(*values: object, how: HowTimes | None = None) -> tuple[list[int | None], str]:
    column, note = to_milliseconds(pl.Series("time", list(values)), lambda row: f"log.csv, line {row + 2}", how)
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


@pytest.mark.parametrize(
    ("value", "how", "instant"),
    [
        ("2023-11-14 23:13:20", HowTimes(zone="Europe/Berlin"), INSTANT),
        ("2023-11-14 23:13", HowTimes(zone="+01:00"), INSTANT - 20_000),
        ("14/11/2023 22:13:20", HowTimes(format="%d/%m/%Y %H:%M:%S"), INSTANT),
        ("14/11/2023 23:13:20 +0100", HowTimes(format="%d/%m/%Y %H:%M:%S %z", zone="Asia/Tokyo"), INSTANT),
        ("14.11.2023 22:13", HowTimes(), INSTANT - 20_000),
        ("Tue Nov 14 14:13:20 -0800 2023", HowTimes(), INSTANT),
        ("2023-11-14T22:13:20.000400Z", HowTimes(), INSTANT),
        ("20231114T221320Z", HowTimes(), INSTANT),
        ("1700000000", HowTimes(unit="seconds"), INSTANT),
        ("170000", HowTimes(unit="seconds"), None),
    ],
)
def test_what_the_user_said_of_times_and_what_publishers_write(value, how, instant):
    if instant is None:
        with pytest.raises(UserError, match="seconds of an impossible year"):
            read(value, how=how)
    else:
        assert read(value, how=how)[0] == [instant]


def test_several_notations_in_one_column_are_read_each_in_its_own():
    values = ["2023-11-14T22:13:20Z", "2023-11-14 22:13:20", "2023-11-14", "2023-11-14T23:13:20+01:00", None]
    assert read(*values)[0] == [INSTANT, INSTANT, INSTANT - 80_000_000, INSTANT, None]


def test_an_hour_that_the_clock_showed_twice_is_said_and_one_that_it_left_out_is_an_error():
    # in Berlin 2:30 came twice on 27 October 2024, first two hours before UTC
    stamps, note = read("2024-10-27 02:30:00", how=HowTimes(zone="Europe/Berlin"))
    assert stamps == [round(datetime(2024, 10, 27, 0, 30, tzinfo=UTC).timestamp() * 1000)]
    assert "1 in the hour that the clock showed twice" in note
    with pytest.raises(UserError, match="does not exist in Europe/Berlin") as caught:
        read("2024-03-31 01:30:00", "2024-03-31 02:30:00", how=HowTimes(zone="Europe/Berlin"))
    assert caught.value.where == "log.csv, line 3"


@pytest.mark.parametrize("text", ["0024-03-01", "2204-03-01T10:00:00"])
def test_a_text_of_an_impossible_year_is_named_with_its_line(text):
    with pytest.raises(UserError, match="impossible year") as caught:
        read("2024-03-01", text)
    assert caught.value.where == "log.csv, line 3"


@given(st.datetimes(datetime(1950, 1, 1), datetime(2090, 1, 1)), st.integers(-14 * 4, 14 * 4), st.sampled_from("T "))
def test_iso_texts_are_what_python_reads(moment, quarters, between):
    zoned = moment.replace(tzinfo=timezone(timedelta(minutes=15 * quarters)))
    for one in (moment.replace(tzinfo=UTC), zoned):
        text = one.isoformat(between).replace("+00:00", "Z")
        expected = (one - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1)
        assert abs(read(text)[0][0] - expected) <= 0.5
