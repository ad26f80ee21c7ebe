"""Steam as UCSD gives it out: Python literals, of which none is ever run."""

import pytest

from napo.data.log import Tally
from napo.errors import UserError
from tests.data.formats.reading import events, items


def test_reviews(tmp_path):
    line = "{u'username': u'Chaos \"X\"', u'hours': 0.1, u'product_id': u'725280',"
    line += " u'date': u'2017-12-17', u'text': u'\\xe9'}\n"
    (tmp_path / "steam_reviews.json").write_text(line * 2)
    tally = Tally()
    assert events(tmp_path / "steam_reviews.json", tally)[1] == {
        "user": 'Chaos "X"',
        "item": "725280",
        "time": 1_513_468_800_000,
    }
    assert any(
        "columns user = username, item = product_id, time = date; not used: hours, text" in n for n in tally.notes
    )


def test_a_users_reviews_are_rows_and_a_day_without_a_year_is_no_time(tmp_path):
    reviews = "[{'item_id': '1250', 'posted': 'Posted November 5, 2011.', 'recommend': True}, {'item_id': '22200', "
    reviews += "'posted': 'Posted July 15.', 'recommend': True}]"
    (tmp_path / "australian_user_reviews.json").write_text(
        f"{{'user_id': 'a', 'user_url': 'x', 'reviews': {reviews}}}\n"
    )
    assert events(tmp_path / "australian_user_reviews.json") == [
        {"user": "a", "item": "1250", "time": 1_320_451_200_000},
        {"user": "a", "item": "22200", "time": None},
    ]


def test_a_users_games_are_rows_with_their_names(tmp_path):
    owned = "[{'item_id': '10', 'item_name': 'Counter-Strike', 'playtime_forever': 6}]"
    (tmp_path / "owned.json").write_text(f"{{'user_id': 'a', 'items_count': 1, 'items': {owned}}}\n")
    assert events(tmp_path / "owned.json") == [{"user": "a", "item": "10", "title": "Counter-Strike"}]


def test_games_keep_genres_and_year_and_go_by_their_other_name_where_the_first_is_missing(tmp_path):
    first = "{u'app_name': u'Lost Summoner Kitty', u'title': u'Lost Summoner Kitty', u'id': u'761140', u'url': u'x',"
    first += " u'genres': [u'Action', u'Casual'], u'release_date': u'2018-01-04', u'price': 4.99}"
    (tmp_path / "steam_games.json").write_text(first + "\n{u'app_name': u'Log Challenge', u'id': u'773570'}\n")
    assert items(tmp_path / "steam_games.json") == [
        {"item": "761140", "title": "Lost Summoner Kitty", "genres": "Action|Casual", "release_date": "2018-01-04"}
        | {"price": "4.99"},
        {"item": "773570", "title": "Log Challenge"},
    ]


def test_code_in_a_line_is_an_error_and_is_not_run(tmp_path):
    trap = tmp_path / "trap"
    good = "{u'username': u'a', u'product_id': u'1', u'date': u'2017-12-17'}\n"
    bad = f"{{u'username': open({str(trap)!r}, 'w'), u'product_id': u'1', u'date': u'2017-12-17'}}\n"
    (tmp_path / "steam_reviews.json").write_text(good + bad)
    with pytest.raises(UserError, match="the line is no record") as caught:
        events(tmp_path / "steam_reviews.json")
    assert caught.value.where == f"{tmp_path / 'steam_reviews.json'}, line 2"
    assert not trap.exists()
