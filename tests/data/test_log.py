"""make_log: numbers for users and items, repeats, untitled items, and a count for everything left out."""

import polars as pl
import pytest

from napo.data.log import InteractionLog, make_log
from napo.errors import UserError


def events(*rows: tuple) -> pl.DataFrame:
    columns = {"user": pl.String, "item": pl.String, "time": pl.Int64, "rating": pl.Float64}
    return pl.DataFrame(rows, schema=columns, orient="row")


def items(**titles: str | None) -> pl.DataFrame:
    return pl.DataFrame({"item": list(titles), "title": list(titles.values())})


def rows(log: InteractionLog) -> list[tuple]:
    """(user key, item key, time, rating) in the order of the log."""
    return [(log.user_keys[u], log.catalog.keys[i], t, r) for u, i, t, r in log.frame.iter_rows()]


ABC = items(a="A", b="B", c="C")


def test_events_are_sorted_by_user_and_time_and_equal_times_keep_the_order_of_the_file():
    log = make_log(events(("u2", "a", 5, 1), ("u1", "c", 9, 2), ("u1", "b", 9, 3), ("u1", "a", 1, 4)), ABC)
    assert rows(log) == [("u1", "a", 1, 4), ("u1", "c", 9, 2), ("u1", "b", 9, 3), ("u2", "a", 5, 1)]
    assert log.frame.schema == {"user": pl.Int32, "item": pl.Int32, "time": pl.Int64, "rating": pl.Float64}


def test_the_order_of_the_files_changes_nothing():
    read = events(("u2", "a", 5, 1), ("u1", "c", 9, 2), ("u1", "a", 1, 4))
    assert make_log(read, ABC).digest == make_log(read.reverse(), ABC.reverse()).digest


def test_exact_copies_are_removed_and_counted():
    log = make_log(events(*[("u", "a", 5, 4)] * 11, ("u", "b", 6, 4)), ABC)
    assert log.counts["exact_copies"] == 10
    assert log.counts["events"] == 2


@pytest.mark.parametrize(
    ("repeats", "kept"),
    [
        ("first", [("u", "a", 1, 2), ("u", "b", 3, 5)]),
        ("last", [("u", "b", 3, 5), ("u", "a", 7, 4)]),
        ("all", [("u", "a", 1, 2), ("u", "b", 3, 5), ("u", "a", 5, 3), ("u", "a", 7, 4)]),
    ],
)
def test_a_repeated_item_follows_the_option_whatever_the_order_of_the_file_and_is_never_summed(repeats, kept):
    read = events(("u", "a", 7, 4), ("u", "a", 1, 2), ("u", "b", 3, 5), ("u", "a", 5, 3))
    log = make_log(read, ABC, repeats=repeats)
    assert rows(log) == kept
    assert log.counts["repeated_events"] == 2
    assert any("2 repeats" in note for note in log.notes)


def test_rows_without_user_item_or_time_are_left_out_and_counted():
    read = events(("u", "a", 1, 1), ("", "a", 2, 1), ("u", None, 3, 1), ("u", "b", None, 1), ("u", "c", 4, None))
    log = make_log(read, ABC)
    assert [row[1] for row in rows(log)] == ["a", "c"]
    counted = {name: log.counts[f"events_without_{name}"] for name in ("user", "item", "time")}
    assert counted == {"user": 1, "item": 1, "time": 1}


def test_without_times_the_order_of_the_file_is_the_order_and_a_note_says_so():
    log = make_log(pl.DataFrame({"user": ["u"] * 3, "item": ["c", "a", "b"]}), ABC)
    assert [row[1] for row in rows(log)] == ["c", "a", "b"]
    assert not log.has_times
    assert not log.has_ratings
    assert any("order of the file" in note for note in log.notes)


UNTITLED = items(a="A", b="", c="  ", d=None, nan="nan", unused="Nobody took me")
TAKEN = events(*[(user, item, time, 1) for user in ("u", "v") for time, item in enumerate(["a", "b", "c", "nan", "x"])])


def test_items_without_a_title_stop_the_run_with_counts_and_examples():
    with pytest.raises(UserError) as caught:
        make_log(TAKEN, UNTITLED, where="items.csv")
    assert "1 not in the items file (x)" in caught.value.what
    assert "3 with an empty title (b, c, d)" in caught.value.what
    assert "6 events of 2 users" in caught.value.what
    assert "untitled: drop" in (caught.value.remedy or "")


def test_untitled_drop_leaves_their_events_out_and_counts_events_and_users():
    log = make_log(TAKEN, UNTITLED, untitled="drop")
    assert log.catalog.titles == ("A", "nan", "Nobody took me")  # "nan" is a title; an unused item can be recommended
    assert log.counts["events_of_untitled_items"] == 6
    assert log.counts["users_of_untitled_items"] == 2
    assert log.counts["items_without_events"] == 1
    assert log.examples["items_without_title"] == ("b", "c", "d")


def test_untitled_id_takes_the_id_as_the_title():
    log = make_log(TAKEN, UNTITLED, untitled="id")
    assert log.catalog.titles == ("A", "b", "c", "d", "nan", "Nobody took me", "x")
    assert log.counts["events"] == 10


def test_html_is_left_alone_and_said_long_titles_stay_whole_and_a_line_break_becomes_one_blank():
    html, long = '<span id="x">Deal</span>&amp; more', "word " * 59 + "end"
    log = make_log(events(("u", "a", 1, 1)), items(a=html, b=long, c="Line one\r\nline two"))
    assert log.catalog.titles == (html, long, "Line one line two")
    assert (log.counts["titles_with_html"], log.counts["titles_with_line_breaks"]) == (1, 1)


def test_titles_may_come_in_the_log_itself():
    read = pl.DataFrame({"user": ["u", "u", "v"], "item": ["a", "b", "a"], "title": [None, "B", "A"]})
    assert make_log(read).catalog.titles == ("A", "B")


def test_a_log_without_any_titles_is_refused_unless_ids_are_wanted():
    read = pl.DataFrame({"user": ["u"], "item": ["a"]})
    with pytest.raises(UserError, match="no titles"):
        make_log(read)
    assert make_log(read, untitled="id").catalog.titles == ("a",)


def test_one_id_with_two_titles_is_refused_and_equal_rows_are_taken_once():
    with pytest.raises(UserError, match="more than one title: a"):
        make_log(events(("u", "a", 1, 1)), pl.DataFrame({"item": ["a", "a"], "title": ["A", "B"]}))
    log = make_log(events(("u", "a", 1, 1)), pl.DataFrame({"item": ["a", "a"], "title": ["A", "A"]}))
    assert log.counts["item_rows_repeated"] == 1


def test_a_log_of_which_nothing_is_left_says_what_was_left_out():
    with pytest.raises(UserError, match="no events are left") as caught:
        make_log(events(("u", "x", 1, 1)), ABC, untitled="drop")
    assert "1 events of untitled items" in (caught.value.remedy or "")
