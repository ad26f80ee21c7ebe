"""Goodreads (UCSD): shelves and books, packed."""

import gzip
import json

from napo.data.log import Tally
from tests.data.formats.reading import events, items


def packed(path, *records):
    path.write_bytes(gzip.compress("".join(json.dumps(record) + "\n" for record in records).encode()))
    return path


def test_shelves_with_their_dates_and_a_rating_of_0_as_none(tmp_path):
    first = {"user_id": "8842", "book_id": "130580", "is_read": True, "rating": 5, "review_text_incomplete": ""}
    second = first | {"book_id": "7", "rating": 0, "date_added": "Fri Nov 07 11:20:01 -0800 2014"}
    path = packed(
        tmp_path / "goodreads_interactions_comics.json.gz",
        first | {"date_added": "Wed Mar 22 11:37:04 -0700 2017"},
        second,
    )
    tally = Tally()
    # 11:37:04 seven hours west of Greenwich is 18:37:04 UTC
    assert events(path, tally) == [
        {"user": "8842", "item": "130580", "rating": 5.0, "time": 1_490_207_824_000},
        {"user": "8842", "item": "7", "rating": None, "time": 1_415_388_001_000},
    ]
    assert any("a rating of 0 is none" in note for note in tally.notes)


def test_books_keep_authors_and_year(tmp_path):
    book = {"book_id": "5333265", "title": "W.C. Fields: A Life on Film", "publication_year": "1984", "series": []}
    book |= {
        "authors": [{"author_id": "604031", "role": ""}],
        "description": "Long",
        "popular_shelves": [{"count": "3"}],
    }
    assert items(packed(tmp_path / "goodreads_books.json.gz", book)) == [
        {
            "item": "5333265",
            "title": "W.C. Fields: A Life on Film",
            "authors": '[{"author_id": "604031", "role": ""}]',
            "publication_year": "1984",
        }
    ]
