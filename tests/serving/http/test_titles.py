"""Titles found by what somebody types."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napo.serving.http.titles import TitleIndex, folded

TITLES = ["Amélie (2001)", "Heat (1995)", "Cold Heat", "Heathers (1989)", "Alien (1979)", "Aliens (1986)"]
INDEX = TitleIndex(TITLES, np.array([1, 2, 3, 9, 5, 4]))


def found(query, limit=3):
    return [TITLES[item] for item in INDEX.search(query, limit)]


def test_beginnings_come_first_the_more_popular_before_then_words():
    assert found("heat") == ["Heathers (1989)", "Heat (1995)", "Cold Heat"]


def test_case_accents_and_slips_do_not_matter():
    assert found("AMELIE", 1) == ["Amélie (2001)"]
    assert found("Alein (1979)", 1) == ["Alien (1979)"]
    assert INDEX.suggest("Aliens (1968)")[0] == "Aliens (1986)"


def test_every_letter_is_folded_for_good():
    letters = [chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    assert [letter for letter in letters if folded(folded(letter)) != folded(letter)] == []
    assert folded("\N{MATHEMATICAL BOLD CAPITAL A}") == "a"


def test_a_slip_is_nearer_than_another_title_with_a_word_in_common():
    titles = ["Sling Blade (1996)", "Blade Runner (1982)", "Blade (1998)"]
    index = TitleIndex(titles, np.array([9, 2, 1]))
    assert titles[index.search("blade runer", 2)[0]] == "Blade Runner (1982)"
    assert index.suggest("Bladde (1998)")[0] == "Blade (1998)"


def test_nothing_is_like_nothing():
    assert found("") == []
    assert found("   ") == []
    assert found("qzx") == []
    assert TitleIndex([], np.array([], dtype=np.int64)).search("a", 5) == []


@given(st.text(max_size=300), st.integers(1, 10))
def test_any_text_finds_at_most_so_many_items_each_once(query, limit):
    items = INDEX.search(query, limit)
    assert len(items) == len(set(items)) <= limit
    assert folded(folded(query)) == folded(query)


@given(st.sampled_from(TITLES))
def test_a_whole_title_is_found_first(title):
    assert found(title, 1) == [title] or folded(found(title, 1)[0]).startswith(folded(title))
