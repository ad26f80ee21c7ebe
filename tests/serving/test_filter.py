"""Allow and block lists and caps: the list is the whole ranking, read from the top, less what may not stand in it."""

import numpy as np
import polars as pl
import pytest

from napo import Filter
from napo.data.catalog import Catalog
from napo.errors import UserError
from napo.serving.filter import Cap, Filters, Picks
from napo.serving.where import parts_of
from tests.recommenders import FILMS, GENRES, YEARS, small_recommender

HISTORY = ["Alien", "i20"]


@pytest.fixture(scope="module")
def recommender():
    return small_recommender()


@pytest.fixture(scope="module")
def whole(recommender):
    return [one.item for one in recommender.recommend(HISTORY, k=40)]


def ids(found):
    return [one.item for one in found]


def capped(ranking, values, most, k):
    """By hand: walk down the ranking."""
    used, kept = {}, []
    for item in ranking:
        held = values(item)
        if len(kept) < k and all(used.get(value, 0) < most for value in held):
            kept.append(item)
            for value in held:
                used[value] = used.get(value, 0) + 1
    return kept


def genres(item):
    return (GENRES[item] or "").split("|") if GENRES[item] else []


@pytest.mark.parametrize("most", [1, 2, 5])
@pytest.mark.parametrize("k", [3, 10, 40])
def test_a_capped_list_is_the_ranking_less_what_is_over_the_cap(recommender, whole, most, k):
    found = recommender.recommend(HISTORY, k=k, filter=Filter(caps={"genre": most}))
    assert ids(found) == capped(whole, genres, most, k)


def test_two_caps_hold_together_and_popular_items_are_capped_too(recommender):
    found = recommender.recommend([], k=6, filter=Filter(caps={"GENRE": 2, "Year": 1}))
    by_popularity = [0, 1, 2, 3, *range(4, 40)]
    both = capped(by_popularity, lambda item: [*genres(item), *([YEARS[item]] if YEARS[item] else [])], 2, 40)
    assert ids(found) == both[:6]  # no two of them share a year
    assert found.asked == ("genre", "Year")


def test_only_allowed_items_and_no_blocked_ones_are_listed(recommender, whole):
    allow = Filter(allow=["Crash", "i07", "Title number 31"], block=["i02"])
    assert ids(recommender.recommend(HISTORY, k=40, filter=allow)) == [item for item in whole if item in (3, 7, 31)]
    block = Filter(where="genre=Drama", block=["crash"])
    drama = [item for item in whole if "Drama" in genres(item) and item not in (2, 3)]
    assert ids(recommender.recommend(HISTORY, k=40, filter=block)) == drama


@pytest.mark.parametrize(
    ("filter", "said"),
    [
        (Filter(allow=[]), "no item is left by the allow list"),
        (Filter(allow=["Alien"], block=["alien"]), "no item is left by the allow list and the block list"),
        (Filter(block=["Alein"]), "'Alein' is not a title"),
        (Filter(caps={"genre": 0}), "a cap of 0"),
        (Filter(caps={"genre": True}), "a cap of True"),
        (Filter(caps={"colour": 2}), "no column 'colour'"),
    ],
)
def test_a_filters_mistake_is_told(recommender, filter, said):
    with pytest.raises(UserError, match=said):
        recommender.recommend(HISTORY, filter=filter)


def test_a_list_that_a_cap_keeps_short_says_so(recommender):
    found = recommender.recommend(["Alien"], k=30, filter=Filter(where="genre!=Horror", caps={"genre": 1}))
    assert len(found) < 30
    assert "under the caps" in found.notes[-1]


def test_requests_that_differ_in_everything_are_answered_together_as_alone(recommender):
    from napo.serving.request import Request

    requests = [
        Request(HISTORY, k=3),
        Request(user="ann", k=20, filter="genre=Drama"),
        Request([], k=4, filter=Filter(caps={"genre": 1})),
        Request(["Aliens"], k=8, exclude_seen=False, filter=Filter(caps={"genre": 1}, block=["i07"])),
    ]
    together = recommender.answer([recommender.read(request) for request in requests])
    for request, found in zip(requests, together, strict=True):
        alone = recommender.answer([recommender.read(request)])[0]
        assert (ids(found), found.notes) == (ids(alone), alone.notes)
        assert [one.log_prob for one in found] == pytest.approx([one.log_prob for one in alone], abs=1e-5)


def test_the_same_conditions_are_worked_out_once():
    filters = Filters(FILMS)
    assert filters.read("genre=Drama") is filters.read(["genre=Drama"])
    for number in range(100):
        filters.read(f"Year<{1950 + number}")
    assert len(filters._read) == 64


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["Action|Comedy", "Comedy"], {(0, "Action"), (0, "Comedy"), (1, "Comedy")}),
        (["Action Comedy", "Comedy Drama", "Drama Action"], "six"),  # three values instead of three: names stay whole
        (["Action Comedy", "Comedy", "Action", "Comedy Action"], "parted"),
        (["Jane Doe", "John Roe", None], {(0, "Jane Doe"), (1, "John Roe")}),
        ([["a", "b"], ["b"]], {(0, "a"), (0, "b"), (1, "b")}),
    ],
)
def test_texts_are_parted_into_values_where_that_makes_fewer_of_them(texts, expected):
    found = set(parts_of(pl.Series("x", texts)).iter_rows())
    if expected == "parted":
        expected = {(0, "Action"), (0, "Comedy"), (1, "Comedy"), (2, "Action"), (3, "Comedy"), (3, "Action")}
    if expected == "six":
        expected = set(enumerate(texts))
    assert found == expected


def test_picks_by_hand():
    cap = Cap("genre", 1, item=np.array([0, 1, 1, 2]), value=np.array([0, 0, 1, 1]))
    picks = Picks([cap], wanted=3)
    picks.take(np.array([1, 0]), np.array([-1.0, -2.0]))
    assert (picks.items, picks.left) == ([1], 2)
    assert picks.closed().tolist() == [0, 1, 2]
    picks.take(np.array([3, 2]), np.array([-3.0, -4.0]))  # item 3 has no value: no cap holds it
    assert (picks.items, picks.scores) == ([1, 3], [-1.0, -3.0])


def test_a_catalog_without_columns_can_be_filtered_by_lists():
    filters = Filters(Catalog(("a", "b"), ("A", "B")))
    assert filters.read(Filter(block=["b"])).items.tolist() == [True, False]
