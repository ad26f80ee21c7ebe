"""What a log has that an earlier run did not know, counted by hand."""

import numpy as np
import polars as pl

from napo.data.catalog import Catalog
from napo.data.histories import Histories
from napo.data.known_items import KnownItems
from napo.data.log import make_log
from napo.data.news import news_of

BEFORE = Catalog(("m", "c", "x"), ("Moon", "Crash", "Xanadu"))


def ids(*items):
    return np.array(items, dtype=np.int64)


def histories(**liked):
    kept = tuple(ids(*items) for items in liked.values())
    return Histories(tuple(liked), kept, tuple(np.unique(items) for items in kept), ids(1, 1, 1))


def log_of(*events, repeats="first"):
    rows = [(user, item, place, rating) for place, (user, item, rating) in enumerate(events)]
    frame = pl.DataFrame(rows, schema=["user", "item", "time", "rating"], orient="row")
    return make_log(frame, None, known=KnownItems(BEFORE), untitled="id", repeats=repeats)


def test_events_are_new_by_user_and_item_and_strangers_and_items_are_counted():
    log = log_of(("ann", "m", 5), ("ann", "z", 5), ("ann", "c", 5), ("bob", "c", 5), ("eve", "x", 5))
    news = news_of(log, histories(ann=[0, 1], bob=[1], gone=[2]), None)
    assert [mine.tolist() for mine in news.is_new] == [[False, True, False], [False], [True]]
    assert news.begins.tolist() == [1, 1, 0]
    assert news.counts() == {
        "new_users": 1,
        "new_items": 1,
        "new_interactions": 2,
        "interactions_known_before": 3,
    }


def test_what_is_not_liked_does_not_count():
    log = log_of(("ann", "m", 5), ("ann", "c", 2), ("ann", "x", 4))
    assert [mine.tolist() for mine in news_of(log, histories(ann=[0]), 4).is_new] == [[False, True]]


def test_a_repeat_is_new_where_it_was_known_fewer_times():
    log = log_of(("ann", "m", 5), ("ann", "m", 5), ("ann", "m", 5), repeats="all")
    assert [mine.tolist() for mine in news_of(log, histories(ann=[0, 0]), None).is_new] == [[False, False, True]]


def test_the_same_log_holds_nothing_new():
    log = log_of(("ann", "m", 5), ("bob", "c", 5))
    news = news_of(log, histories(ann=[0], bob=[1]), None)
    assert (news.interactions, news.users, news.items) == (0, 0, 0)
