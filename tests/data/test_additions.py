"""A catalog that gets new items: what is added, what is skipped, what is refused."""

import polars as pl
import pytest

from napo.data.additions import extended
from napo.data.catalog import Catalog
from napo.data.log import Tally
from napo.errors import UserError

FILMS = Catalog(("a", "b"), ("Alien", "Crash"), pl.DataFrame({"genre": ["Horror", "Drama"], "year": [1979, 1996]}))


def listed(*rows, **columns):
    keys, titles = zip(*rows, strict=True)
    return pl.DataFrame({"item": keys, "title": titles, **columns}, schema_overrides={"title": pl.String})


def counts(items, **options):
    tally = Tally()
    catalog = extended(FILMS, items, tally=tally, **options)
    return catalog, {name: number for name, number in tally.counts.items() if number}


def test_new_items_go_behind_the_old_ones_whatever_the_order_of_the_file():
    for rows in ([("d", "Heat"), ("c", "Fargo")], [("c", "Fargo"), ("d", "Heat")]):
        catalog, counted = counts(listed(*rows))
        assert catalog.keys == ("a", "b", "c", "d")
        assert catalog.titles == ("Alien", "Crash", "Fargo", "Heat")
        assert counted == {"items_added": 2}


def test_columns_that_one_side_lacks_are_empty_and_kinds_are_kept():
    catalog, _ = counts(listed(("c", "Fargo"), year=["1996"], mood=["dark"]))
    assert catalog.row(0) == {"genre": "Horror", "year": 1979, "mood": None}
    assert catalog.row(2) == {"genre": None, "year": 1996, "mood": "dark"}
    plain = extended(Catalog(("a",), ("Alien",)), listed(("c", "Fargo"), mood=["dark"]))
    assert plain.columns["mood"].to_list() == [None, "dark"]
    assert extended(Catalog(("a",), ("Alien",)), listed(("c", "Fargo"))).columns.width == 0


def test_what_is_there_already_is_skipped_and_counted():
    catalog, counted = counts(listed(("a", "Alien"), ("c", "Crash"), ("d", "Heat"), ("e", "Heat"), ("d", "Heat")))
    assert catalog.keys == ("a", "b", "d")
    assert counted == {
        "item_rows_repeated": 1, "items_there_already": 1, "items_with_a_title_of_another": 2, "items_added": 1,
    }  # fmt: skip


def test_equal_titles_can_be_wanted():
    catalog, counted = counts(listed(("c", "Crash"), ("d", "Heat"), ("e", "Heat")), same_titles=True)
    assert catalog.titles == ("Alien", "Crash", "Crash", "Heat", "Heat")
    assert counted == {"items_added": 3}


def test_items_without_id_or_title_are_skipped_and_counted():
    catalog, counted = counts(listed((None, "Heat"), ("c", None), ("d", "  "), ("e", "Big\nFish")))
    assert catalog.titles[2:] == ("Big Fish",)
    assert counted == {
        "items_without_id": 1, "items_without_title": 2, "titles_with_line_breaks": 1, "items_added": 1,
    }  # fmt: skip


def test_where_nothing_is_new_the_catalog_stays():
    catalog, counted = counts(listed(("a", "Alien")))
    assert catalog is FILMS
    assert counted == {"items_there_already": 1}


@pytest.mark.parametrize(
    ("items", "said"),
    [
        (listed(("a", "Aliens")), "1 item ids are in the catalog under another title (a: 'Aliens', not 'Alien')"),
        (listed(("c", "Heat"), ("c", "Fargo")), "more than one title: c"),
        (listed(("c", "Heat"), year=["soon"]), "the column 'year' holds String, in the catalog it holds Int64"),
    ],
)
def test_what_can_not_be_right_is_refused(items, said):
    with pytest.raises(UserError) as caught:
        extended(FILMS, items, where="new.csv")
    assert said in caught.value.what
    assert caught.value.where == "new.csv"
