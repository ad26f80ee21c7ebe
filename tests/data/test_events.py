"""core_of, and the numbers that events are checked by."""

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from napo.data.events import core_of, numbered
from napo.data.keys import Keys, comes_again, met_before
from napo.data.log import Tally, make_log


def test_a_core_is_found_in_rounds_as_one_leaving_takes_others_along():
    # item 2 has one event; without it user 2 has one; without that item 1 has one
    users = np.array([0, 0, 1, 1, 2, 2, 0, 1])
    items = np.array([0, 3, 0, 3, 1, 2, 1, 0])
    stay, rounds = core_of(users, items, 2)
    assert stay.tolist() == [True, True, True, True, False, False, False, True]
    assert rounds == 3


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=40), st.integers(2, 4))
def test_in_a_core_everybody_has_enough_and_nobody_outside_could_join(pairs, least):
    users, items = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    stay, _ = core_of(users, items, least)
    for ids in (users, items):
        counts = np.bincount(ids[stay], minlength=7)
        assert ((counts == 0) | (counts >= least)).all()
    # the slow way: take away one that has too few, until there is none
    left = list(pairs)
    while short := [
        pair for pair in left if any(sum(other[side] == pair[side] for other in left) < least for side in (0, 1))
    ]:
        left.remove(short[0])
    assert sorted(left) == sorted(pair for pair, kept in zip(pairs, stay, strict=True) if kept)


def test_a_log_of_the_core_has_its_users_and_items_only_and_says_who_went():
    rows = [("u1", "a"), ("u1", "b"), ("u2", "a"), ("u2", "b"), ("u3", "a"), ("u3", "c")]
    events = pl.DataFrame(rows, schema=["user", "item"], orient="row")
    titles = pl.DataFrame({"item": ["a", "b", "c", "d"], "title": ["A", "B", "C", "D"]})
    log = make_log(events, titles, core=2)
    assert (log.user_keys, log.catalog.keys) == (("u1", "u2"), ("a", "b"))
    assert {name: log.counts[f"{name}_outside_core"] for name in ("events", "users", "items")} == {
        "events": 2,
        "users": 1,
        "items": 2,
    }
    assert any("core 2, over the whole log before the split" in note for note in log.notes)


def test_keys_are_numbered_in_the_order_of_their_text_whatever_they_are_kept_as():
    column = pl.Series(["b", "a", None, "b", "  ", "A", "b "])
    for keys in (Keys.of(column), Keys.of(column.cast(pl.Categorical(pl.Categories.random())))):
        assert keys.texts.to_list() == ["A", "a", "b", "b "]
        assert keys.rows.tolist() == [2, 1, -1, 2, -1, 0, 3]


def test_an_id_that_another_column_of_the_same_kind_holds_is_no_key_of_this_one():
    shared = pl.Categorical(pl.Categories.random())
    frame = pl.DataFrame({"user": ["x", "y"], "item": ["y", "z"]}, schema={"user": shared, "item": shared})
    events = numbered(frame, Tally())
    assert (events.users.to_list(), events.items.to_list()) == (["x", "y"], ["y", "z"])
    assert events.frame["item"].to_list() == [0, 1]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=20))
def test_an_event_was_met_before_where_its_pair_stands_further_up(pairs):
    frame = pl.DataFrame(pairs, schema={"user": pl.Int32, "item": pl.Int32}, orient="row")
    assert met_before(frame).tolist() == [pair in pairs[:row] for row, pair in enumerate(pairs)]
    assert comes_again(frame).tolist() == [pairs.count(pair) > 1 for pair in pairs]
