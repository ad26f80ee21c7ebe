"""Titles and keys as a person types them."""

import pytest

from napo.data.catalog import Catalog
from napo.errors import UserError, UserErrors
from napo.serving.history import read_items, typed_titles
from tests.recommenders import FILMS


@pytest.mark.parametrize("text", ["Title number 7", "title NUMBER 7", "  Title number 7 ", "i07", " i07 "])
def test_a_title_or_a_key_is_found_with_case_and_outer_blanks_forgiven(text):
    assert read_items([text], FILMS).items.tolist() == [7]


def test_a_title_wins_over_another_items_key():
    assert read_items(["i30"], FILMS).items.tolist() == [5]


def test_of_equal_titles_the_first_is_shown_and_all_count_as_seen():
    named = read_items(["Alien", "crash"], FILMS)
    assert named.items.tolist() == [0, 2]
    assert named.seen.tolist() == [0, 2, 3]
    assert named.notes == ("'Crash' is the title of several items: all of them count as seen",)


def test_a_key_names_its_item_alone():
    named = read_items(["i03"], FILMS)
    assert (named.items.tolist(), named.seen.tolist(), named.notes) == ([3], [3], ())


def test_titles_that_differ_by_case_alone_are_told_apart_by_writing_them_out():
    films = Catalog(("a", "b"), ("ALIEN", "Alien"))
    assert read_items(["Alien"], films).seen.tolist() == [1]
    assert read_items(["alien"], films).seen.tolist() == [0, 1]


def test_repeats_stay():
    named = read_items(["Alien"] * 10, FILMS)
    assert (named.items.tolist(), named.seen.tolist()) == ([0] * 10, [0])


def test_a_typo_is_answered_with_its_place_and_the_nearest_titles():
    with pytest.raises(UserError, match="'Titel number 31' is not a title") as caught:
        read_items(["Alien", "Titel number 31"], FILMS)
    assert caught.value.where == "history, item 2"
    assert "Title number 31" in caught.value.remedy


def test_typos_come_all_at_once_but_no_more_than_five():
    with pytest.raises(UserErrors) as caught:
        read_items(["Alein", "Alien", "Alines"], FILMS)
    assert [error.where for error in caught.value.errors] == ["history, item 1", "history, item 3"]
    with pytest.raises(UserErrors) as caught:
        read_items(["no"] * 50, FILMS)
    assert len(caught.value.errors) == 5


@pytest.mark.parametrize("history", ["Alien", [7], [""]])
def test_one_text_a_number_and_nothing_are_no_titles(history):
    with pytest.raises(UserError):
        read_items(history, FILMS)


def test_an_empty_history_names_nothing():
    named = read_items([], FILMS)
    assert (len(named.items), len(named.seen)) == (0, 0)


def test_typed_titles_are_parted_at_semicolons_unless_the_whole_is_one():
    assert typed_titles(["Alien; Aliens ;; "], FILMS) == ["Alien", "Aliens"]
    assert typed_titles(["me; myself", "Alien"], FILMS) == ["me; myself", "Alien"]
    assert typed_titles([""], FILMS) == []
