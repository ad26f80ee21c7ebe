import polars as pl
import pytest

from napo.data.catalog import Catalog
from napo.data.item_groups import item_groups
from napo.errors import UserError

CATALOG = Catalog(
    ("i0", "i1", "i2", "i3"),
    ("A", "B", "C", "D"),
    pl.DataFrame({"genres": ["Drama War", "War", None, " Drama  War "], "year": [1990, 1991, 1990, None]}),
)


def test_an_item_of_two_groups_belongs_half_to_each():
    groups = item_groups(CATALOG, "genres", " ")
    assert groups.labels == ("Drama", "War")
    assert groups.membership.tolist() == [[0.5, 0.5], [0, 1], [0, 0], [0.5, 0.5]]


def test_without_a_separator_a_cell_is_one_value():
    assert item_groups(CATALOG, "genres").labels == ("Drama  War", "Drama War", "War")


def test_numbers_are_groups_too():
    groups = item_groups(CATALOG, "year")
    assert groups.labels == ("1990", "1991")
    assert groups.membership.sum(axis=1).tolist() == [1, 1, 1, 0]


def test_a_mistyped_column_gets_the_nearest_name():
    with pytest.raises(UserError, match="no column 'genre'") as wrong:
        item_groups(CATALOG, "genre")
    assert "`genres`" in str(wrong.value)


def test_an_items_file_without_columns_says_so():
    with pytest.raises(UserError, match="no column 'genre'") as wrong:
        item_groups(Catalog(("i0",), ("A",)), "genre")
    assert "data.items" in str(wrong.value)


def test_a_column_without_any_value_is_a_mistake():
    empty = Catalog(("i0",), ("A",), pl.DataFrame({"genres": [None]}, schema={"genres": pl.String}))
    with pytest.raises(UserError, match="nothing stands in column 'genres'"):
        item_groups(empty, "genres")
