"""What a list looks like as JSON and on a terminal."""

import datetime
import io
import json

from rich.console import Console

from napo.serving.answer import Recommendation, Recommendations

COLUMNS = {
    "genre": ["Horror", "Sci-Fi"],
    "seen on": datetime.date(1979, 5, 25),
    "score": float("nan"),
    "price": 9.5,
    "[b]": None,
}
FOUND = Recommendations((Recommendation(0, "a", "[Rec]", -1.25, True, COLUMNS),), ("a note",), asked=("genre",))


def printed(table):
    console = Console(file=io.StringIO(), width=120)
    console.print(table)
    return console.file.getvalue()


def test_columns_of_any_kind_can_be_said_in_json():
    (item,) = json.loads(json.dumps(FOUND.to_json(), allow_nan=False))["items"]
    kept = {"genre": ["Horror", "Sci-Fi"], "seen on": "1979-05-25", "score": None, "price": 9.5, "[b]": None}
    assert item == {
        "rank": 1, "item": 0, "key": "a", "title": "[Rec]", "log_prob": -1.25, "tied": True, "columns": kept,
        "popularity": 0,
    }  # fmt: skip


def test_the_table_shows_what_the_filter_asked_about_and_what_else_is_wanted():
    assert "Horror, Sci-Fi" in printed(FOUND.table())
    assert "1979" not in printed(FOUND.table())
    wanted = printed(FOUND.table(["seen on", "[b]", "genre"]))
    assert "1979-05-25" in wanted
    assert "[b]" in wanted
    assert wanted.count("genre") == 1
