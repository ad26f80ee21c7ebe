"""summarize, render, draw_popularity: the figures of a log."""

import io
import json

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from napo.data.inspect import draw_popularity, render, share_of_tenths, summarize
from napo.data.log import make_log
from napo.data.split import make_split

DAY = 86_400_000
ROWS = [("a", f"i{item}", item * DAY, float(4 + item % 2)) for item in range(6)] + [("b", "i0", DAY, 5.0)] * 2


@pytest.fixture(scope="module")
def log():
    schema = {"user": pl.String, "item": pl.String, "time": pl.Int64, "rating": pl.Float64}
    items = pl.DataFrame({"item": [f"i{item}" for item in range(10)], "title": [f"Title {item}" for item in range(10)]})
    return make_log(pl.DataFrame(ROWS, schema=schema, orient="row"), items)


def test_figures_by_hand(log):
    summary = summarize(log, make_split(log))
    # 7 events (one copy removed) of 2 users over 10 items
    assert (summary.users, summary.items, summary.events) == (2, 10, 7)
    assert summary.density == pytest.approx(7 / 20)
    assert (summary.first_day, summary.last_day) == ("1970-01-01", "1970-01-06")
    assert summary.ratings == (("4", 3), ("5", 4))
    assert (summary.events_per_user["least"], summary.events_per_user["half"]) == (1.0, 3.5)
    assert summary.popularity == pytest.approx((2 / 7, *[1 / 7] * 5, 0, 0, 0, 0))
    assert summary.users_in_words == "2 users: 1 evaluated, 1 too short"
    assert summary.counts["exact_copies"] == 1


def test_shares_of_tenths_add_up_to_one_also_where_items_are_few():
    assert share_of_tenths(np.array([1, 3])) == (0.75, 0.25, 0, 0, 0, 0, 0, 0, 0, 0)


def test_many_different_ratings_are_put_into_ten_bins():
    frame = pl.DataFrame({"user": ["u"] * 100, "item": [f"i{i}" for i in range(100)], "rating": np.arange(100) / 10})
    summary = summarize(make_log(frame, untitled="id"))
    assert [events for _, events in summary.ratings] == [10] * 10
    assert summary.first_day is None


def test_the_summary_is_json_and_is_shown_with_everything_left_out(log):
    summary = summarize(log, make_split(log))
    assert json.loads(json.dumps(summary.to_json()))["events"] == 7
    console = Console(file=io.StringIO(), width=120)
    console.print(render(summary))
    shown = console.file.getvalue()
    for words in ("2 users: 1 evaluated, 1 too short", "exact copies", "1970-01-01 to 1970-01-06", "35.00%"):
        assert words in shown


def test_names_that_look_like_markup_are_shown_as_they_are():
    frame = pl.DataFrame({"user": ["u"] * 3, "item": ["[red]", "[red]", "b"], "time": [1, 2, 3]})
    console = Console(file=io.StringIO(), width=120)
    console.print(render(summarize(make_log(frame, untitled="id"))))
    assert "[red]" in console.file.getvalue()


def test_the_picture_is_a_png(log, tmp_path):
    draw_popularity(log, tmp_path / "popularity.png")
    assert (tmp_path / "popularity.png").read_bytes().startswith(b"\x89PNG")
