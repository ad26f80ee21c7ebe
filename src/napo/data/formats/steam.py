"""Steam as UCSD gives it out: one Python dict literal a line, under names that end in `.json`.

Path    file -> [data.formats.steam] -> readers

* `steam_reviews`: a review a line: `username`, `product_id`, `date`.
* `australian_user_reviews`, `australian_users_items`: a user a line, whose `reviews` or `items` are the rows; reviews
  have a day such as "Posted June 24, 2014." (without a year it is unknown: a row without a time).
* `steam_games`: the games: `id`, `title` (or `app_name`), genres, tags, developer, publisher, release date.
"""

import re
from collections.abc import Iterator
from datetime import date

from napo.data.formats._base import Head, OpenFile, Told
from napo.data.formats._records import Record, fields_of, open_records

_REVIEWS = {"user": "username", "item": "product_id", "time": "date", "rating": None, "title": None}
_NESTED = {"user": "user_id", "item": "item_id", "time": "posted", "rating": None}
_KEPT = ("genres", "tags", "specs", "developer", "publisher", "release_date", "price")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_POSTED = re.compile(r"Posted (\w+) (\d{1,2}), (\d{4})\.?")


def matches(head: Head) -> bool:
    fields = fields_of(head)
    return (
        {"username", "product_id"} <= fields
        or ("user_id" in fields and bool({"reviews", "items"} & fields))
        or ("id" in fields and "app_name" in fields)
    )


def open_file(head: Head, told: Told) -> OpenFile:
    fields = fields_of(head)
    if "app_name" in fields:
        means = {"item": "id", "title": "title"}
        return open_records(head.path, told, format="steam", unfold=_game, means=means, kept=_KEPT)
    if "username" in fields:
        return open_records(head.path, told, format="steam", means=_REVIEWS)
    if "reviews" in fields:
        return open_records(head.path, told, format="steam", unfold=_reviews, means={**_NESTED, "title": None})
    return open_records(
        head.path, told, format="steam", unfold=_owned, means={**_NESTED, "time": None, "title": "item_name"}
    )


def _game(record: Record) -> Iterator[Record]:
    """A few games have their name in one field only."""
    yield {**record, "title": record.get("title") or record.get("app_name")}


def _reviews(record: Record) -> Iterator[Record]:
    for review in record.get("reviews") or ():
        yield {"user_id": record.get("user_id"), **review, "posted": _day(str(review.get("posted", "")))}


def _owned(record: Record) -> Iterator[Record]:
    for owned in record.get("items") or ():
        yield {"user_id": record.get("user_id"), **owned}


def _day(text: str) -> str | None:
    found = _POSTED.fullmatch(text.strip())
    if found is None or found[1] not in _MONTHS:
        return None
    return date(int(found[3]), _MONTHS.index(found[1]) + 1, int(found[2])).isoformat()
