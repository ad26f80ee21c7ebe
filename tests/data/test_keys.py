from collections import Counter

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napo.data.keys import Keys, comes_again, met_before

SHARED = 1 << 24  # with item numbers up to one less, all the pairs of an item have the same lower 24 bits


def frame_of(pairs: list[tuple[int, int]]) -> pl.DataFrame:
    return pl.DataFrame(pairs, schema={"user": pl.Int32, "item": pl.Int32}, orient="row")


def test_keys_are_numbered_in_the_order_of_their_text_and_a_blank_is_none():
    keys = Keys.of(pl.Series(["b", "a", None, " ", "b"]))
    assert keys.texts.to_list() == ["a", "b"]
    assert keys.rows.tolist() == [1, 0, -1, -1, 1]


def test_pairs_that_share_their_lower_bits_with_a_repeat_are_no_repeats():
    last = SHARED - 1  # makes a pair's number user * 2**24 + item
    frame = frame_of([(0, 5), (1, 5), (0, 5), (2, 5), (2, last), (3, last)])
    assert comes_again(frame).tolist() == [True, False, True, False, False, False]
    assert met_before(frame).tolist() == [False, False, True, False, False, False]


@pytest.mark.parametrize("pairs", [[], [(0, 0)], [(0, SHARED - 1), (1, SHARED - 1)]])
def test_without_repeats_nothing_comes_again(pairs: list[tuple[int, int]]):
    assert not comes_again(frame_of(pairs)).any()


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 1, SHARED // 2, SHARED - 1])), max_size=12))
def test_what_comes_again_is_what_counting_finds(pairs: list[tuple[int, int]]):
    frame, times = frame_of(pairs), Counter(pairs)
    assert comes_again(frame).tolist() == [times[pair] > 1 for pair in pairs]
    assert met_before(frame).tolist() == [pair in pairs[:place] for place, pair in enumerate(pairs)]
