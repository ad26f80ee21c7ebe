"""MovieLens as GroupLens gives it out: `u.data` and `u.item` (100K), `ratings.dat` and `movies.dat` (1M, 10M).

Path    file -> [data.formats.movielens] -> readers

The later `ratings.csv` and `movies.csv` are CSV with a header. None of these files says what its columns are, and the
item files are Latin-1. Genres are words joined by |, as in the publisher's own later files.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from napo.data.formats._base import Head, OpenFile, Place, Told, opened
from napo.data.formats._delimited import open_delimited

GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"),
    *("Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
_RATINGS = ("user", "item", "rating", "time")
_ITEM = ("item", "title", "release_date", "video_release_date", "imdb_url")
_MOVIES = ("item", "title", "genres")
_FOUR_NUMBERS = re.compile(r"\d+(\t|::)\d+\1\d+(\.\d+)?\1\d{8,10}")


def matches(head: Head) -> bool:
    if not head.lines:
        return False
    return head.name in ("u.data", "u.item") or bool(
        _FOUR_NUMBERS.fullmatch(head.lines[0]) or re.match(r"\d+::.+::", head.lines[0]) or _is_item(head.lines[0])
    )


def open_file(head: Head, told: Told) -> OpenFile:
    first = head.lines[0] if head.lines else ""
    if _is_item(first) or head.name == "u.item":
        # the last field is called genres once the flags are read, see _with_genres
        header = (*_ITEM, *GENRES)
        told = replace(told, separator="|", header=header, encoding=told.encoding or _latin(head))
        return _with_genres(open_delimited(head.path, told, format="movielens", quoted=False))
    separator = "::" if "::" in first else "\t"
    is_ratings = bool(_FOUR_NUMBERS.fullmatch(first)) or head.name == "u.data"
    if not is_ratings:
        told = replace(told, encoding=told.encoding or _latin(head))
    told = replace(told, separator=separator, header=_RATINGS if is_ratings else _MOVIES)
    return open_delimited(head.path, told, format="movielens", quoted=False)


def _is_item(line: str) -> bool:
    return len(line.split("|")) == len(_ITEM) + len(GENRES)


def _latin(head: Head) -> str | None:
    """The publisher's item files are Latin-1; a copy that somebody turned into UTF-8 is told by its bytes."""
    with opened(head.path) as file:
        content = file.read()
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"
    return None


def _with_genres(file: OpenFile) -> OpenFile:
    def load(wanted: Sequence[str] | None, keys: Sequence[str]) -> tuple[pl.DataFrame, Place]:
        frame, place = file.load(None, keys)
        # a list whose flags are 0 is an empty text
        words = [pl.when(pl.col(genre) == "1").then(pl.lit(genre)) for genre in GENRES]
        joined = pl.concat_list(words).list.drop_nulls().list.join("|")
        frame = frame.select(*_ITEM, joined.replace("", None).alias("genres"))
        return (frame if wanted is None else frame.select(wanted)), place

    return replace(file, columns=(*_ITEM, "genres"), load=load)
