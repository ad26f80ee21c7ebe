"""open_table: which format a file is in, told by name and beginning."""

from typing import get_args

import pytest

from napo.data.formats import _ORDER, Told, open_table
from napo.data.settings import Format
from napo.errors import UserError
from napo.plugins import built_in

BEGINNINGS = {
    "csv": ("ratings.csv", "userId,movieId,rating,timestamp\n1,307,3.5,1256677221\n"),
    "recbole": ("x.inter", "user_id:token\titem_id:token\n1\t2\n"),
    "movielens": ("ratings.dat", "1::1193::5::978300760\n"),
    "json": ("log.jsonl", '{"user": "u", "item": "i"}\n'),
    "amazon": ("Beauty_5.json", '{"reviewerID": "A1", "asin": "B000000001", "overall": 5.0}\n'),
    "steam": ("steam_reviews.json", "{u'username': u'a', u'product_id': u'10', u'date': u'2017-12-17'}\n"),
    "goodreads": ("shelves.json", '{"user_id": "a", "book_id": "1", "rating": 5, "date_added": ""}\n'),
}


@pytest.mark.parametrize("format", BEGINNINGS)
def test_a_format_is_told_whatever_the_name_says(tmp_path, format):
    name, content = BEGINNINGS[format]
    for file in (name, "data.txt"):
        (tmp_path / file).write_text(content)
        opened = open_table(tmp_path / file)
        assert opened.format == format
        assert opened.notes[0].startswith(f"{file}: {format}, ")


def test_every_format_can_be_named_and_is_asked_in_turn():
    assert set(_ORDER) == set(get_args(Format)) == set(built_in("data.formats"))


def test_the_format_that_is_named_is_used(tmp_path):
    (tmp_path / "log.txt").write_text('{"user": "u", "item": "i"}\n')
    assert open_table(tmp_path / "log.txt", format="csv").format == "csv"


def test_a_file_whose_columns_are_named_is_a_plain_one(tmp_path):
    (tmp_path / "u.data").write_text("196,242,3,881250949\n")
    opened = open_table(tmp_path / "u.data", Told(header=("user", "item", "rating", "time")))
    assert (opened.format, opened.columns) == ("csv", ("user", "item", "rating", "time"))


def test_a_missing_file_names_those_that_look_like_it(tmp_path):
    (tmp_path / "log.csv").write_text("user,item\nu,a\n")
    with pytest.raises(UserError, match="there is no file") as caught:
        open_table(tmp_path / "logs.csv")
    assert "log.csv" in (caught.value.remedy or "")
