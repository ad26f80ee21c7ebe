"""Goodreads (UCSD): shelves as JSON lines with `user_id`, `book_id`, `rating`, `date_added`; and the books.

Path    file -> [data.formats.goodreads] -> readers

A rating of 0 says that the reader gave none: it is read as unknown.
"""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from napo.data.formats._base import Head, OpenFile, Place, Told
from napo.data.formats._records import fields_of, open_records

_SHELVES = {"user": "user_id", "item": "book_id", "rating": "rating", "time": "date_added", "title": None}
_KEPT = (
    *("authors", "publisher", "publication_year", "language_code", "num_pages", "format", "average_rating"),
    *("ratings_count", "is_ebook", "isbn13", "series"),
)


def matches(head: Head) -> bool:
    fields = fields_of(head)
    return "book_id" in fields and ("user_id" in fields or "title" in fields)


def open_file(head: Head, told: Told) -> OpenFile:
    if "user_id" not in fields_of(head):
        return open_records(
            head.path, told, format="goodreads", means={"item": "book_id", "title": "title"}, kept=_KEPT
        )
    file = open_records(head.path, told, format="goodreads", means=_SHELVES)

    def load(wanted: Sequence[str] | None, keys: Sequence[str]) -> tuple[pl.DataFrame, Place]:
        frame, place = file.load(wanted, keys)
        if "rating" in frame.columns:
            frame = frame.with_columns(
                pl.when(pl.col("rating").cast(pl.Float64, strict=False).ne_missing(0)).then("rating")
            )
        return frame, place

    note = f"{head.path.name}: a rating of 0 is none, and read as unknown"
    return replace(file, load=load, notes=(*file.notes, note))
