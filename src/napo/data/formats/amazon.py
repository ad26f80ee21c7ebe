"""Amazon reviews (UCSD), 2014 to 2023: review and metadata files as JSON lines, and `ratings only` as CSV.

Path    file -> [data.formats.amazon] -> readers

* 2014 and 2018: `reviewerID`, `asin`, `overall`, `unixReviewTime`; metadata with `asin`, `title` (2014: as Python
  literals).
* 2023: `user_id`, `parent_asin`, `rating`, `timestamp`; metadata with `parent_asin`, `title`. An item is its
  `parent_asin`, as the metadata knows no other. The `title` of a review is the review's, not the item's.
* Ratings only, without a header: user, item, rating, time in 2014; item, user, rating, time in 2018. Which it is, is
  told by what the fields look like: an item is a `B` and nine more, or an ISBN.
"""

import re
from dataclasses import replace

from napo.data.formats._base import Head, OpenFile, Told
from napo.data.formats._delimited import open_delimited
from napo.data.formats._records import fields_of, open_records
from napo.errors import UserError

_OLD = {"user": "reviewerID", "item": "asin", "rating": "overall", "time": "unixReviewTime", "title": None}
_NEW = {"user": "user_id", "item": "parent_asin", "rating": "rating", "time": "timestamp", "title": None}
_KEPT = (
    *("brand", "store", "main_category", "main_cat", "category", "categories", "price", "date"),
    *("average_rating", "rating_number"),
)
_RATING_ONLY = re.compile(r"[0-9A-Z]{10,},[0-9A-Z]{10,},[1-5](\.0)?,\d{9,10}")
_ASIN = re.compile(r"B[0-9A-Z]{9}|\d{9}[\dX]")


def matches(head: Head) -> bool:
    if not head.lines:
        return False
    if _RATING_ONLY.fullmatch(head.lines[0]):
        return True
    fields = fields_of(head)
    return {"reviewerID", "asin"} <= fields or {"parent_asin", "user_id"} <= fields or _is_metadata(fields)


def open_file(head: Head, told: Told) -> OpenFile:
    if head.lines and _RATING_ONLY.fullmatch(head.lines[0]):
        return open_delimited(head.path, replace(told, header=told.header or _order(head)), format="amazon")
    fields = fields_of(head)
    if _is_metadata(fields):
        item = "parent_asin" if "parent_asin" in fields else "asin"
        return open_records(head.path, told, format="amazon", means={"item": item, "title": "title"}, kept=_KEPT)
    return open_records(head.path, told, format="amazon", means=_OLD if "reviewerID" in fields else _NEW)


def _is_metadata(fields: set[str]) -> bool:
    no_review = not {"reviewerID", "user_id"} & fields
    signs = {
        "imUrl",
        "imageURL",
        "categories",
        "category",
        "main_cat",
        "main_category",
        "salesRank",
        "also_buy",
        "title",
    }
    return no_review and bool({"asin", "parent_asin"} & fields) and bool(signs & fields)


def _order(head: Head) -> tuple[str, ...]:
    """The columns of a file of ratings only."""
    rows = [line.split(",") for line in head.lines]
    first, second = (sum(bool(_ASIN.fullmatch(row[column])) for row in rows if len(row) == 4) for column in (0, 1))
    if first == second:
        raise UserError(
            "neither of the first two columns looks like items more than the other",
            where=f"{head.path}, line 1",
            remedy="say `header: [user, item, rating, time]`, or with user and item the other way round",
        )
    return ("item", "user", "rating", "time") if first > second else ("user", "item", "rating", "time")
