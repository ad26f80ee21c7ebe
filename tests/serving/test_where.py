"""Conditions on the items file's columns, as a person types them."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napo.data.catalog import Catalog
from napo.errors import UserError
from napo.serving.where import Condition, parse, read_where
from tests.recommenders import FILMS


def films(**columns):
    count = len(next(iter(columns.values())))
    names = tuple(f"i{number}" for number in range(count))
    return Catalog(names, names, pl.DataFrame(columns))


def met(where, catalog=FILMS):
    return np.flatnonzero(read_where(where, catalog).items).tolist()


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("genre=Comedy", ("genre", "=", ("Comedy",))),
        (" genre == Film Noir ", ("genre", "=", ("Film Noir",))),
        ("genre!=Horror", ("genre", "!=", ("Horror",))),
        ("genre in Drama, War,", ("genre", "in", ("Drama", "War"))),
        ("year>=1990", ("year", ">=", ("1990",))),
        ("year < 1990", ("year", "<", ("1990",))),
        ("place=born in Rome", ("place", "=", ("born in Rome",))),
        ("release year<=1990", ("release year", "<=", ("1990",))),
        ("origin=a=b", ("origin", "=", ("a=b",))),
        ("origin in Rome", ("origin", "in", ("Rome",))),
    ],
)
def test_a_condition_is_read_at_its_first_sign(text, condition):
    assert parse(text) == Condition(*condition)


@pytest.mark.parametrize("text", ["", "genre", "=Comedy", "genre=", "genre in ,", "genre in", 7])
def test_what_is_no_condition_is_answered_with_examples(text):
    with pytest.raises(UserError) as caught:
        parse(text)
    assert "`genre=Comedy`" in caught.value.remedy


def test_a_value_among_several_is_found_with_case_and_blanks_forgiven():
    assert met("genre= sci-fi") == [0, 1]
    assert met("GENRE=horror|sci-fi") == [0]
    assert 4 not in met("genre=Drama")  # it has no genre
    assert {2, 3} <= set(met("genre=Drama"))


def test_blanks_part_values_only_where_no_other_mark_does():
    assert met("genre=film noir")[:2] == [8, 11]
    with pytest.raises(UserError, match="no item has genre=noir"):
        met("genre=noir")  # the column has bars: "Film Noir" is one value
    movielens = films(genre=["Action Comedy", "Comedy", "Drama Film-Noir", None])
    assert met("genre=comedy", movielens) == [0, 1]
    assert met("genre=Action Comedy", movielens) == [0]


@pytest.mark.parametrize("several", ["Action, Comedy", "Action;Comedy", "Action| Comedy", "Action Comedy"])
def test_each_way_to_write_two_genres(several):
    catalog = films(genre=[several, "Drama"])
    assert met("genre=Action", catalog) == met("genre=Comedy", catalog) == [0]


def test_unequal_takes_what_has_no_value_too():
    without = met("genre!=Comedy")
    assert 4 in without
    assert sorted([*without, *met("genre=Comedy")]) == list(range(40))


def test_in_takes_any_and_several_conditions_are_all_to_hold():
    assert met("genre in Horror, Action") == [0, 1]
    assert met(["genre in Horror, Action", "year<1980"]) == [0]
    assert met([Condition("genre", "=", ("Crime",)), "genre=Drama"]) == [3]
    assert met(()) == list(range(40))


def test_numbers_are_compared_as_numbers_and_what_is_none_is_left_out_and_counted():
    found = read_where("year>1990", FILMS)
    assert np.flatnonzero(found.items).tolist() == [2, 3]
    assert found.notes == ("2 of the 40 items have year>1990", "2 items have no number in 'Year' and are left out")
    assert met("price<9", films(price=["10", "9", "8.5", " 8 "])) == [2, 3]
    assert met("price=8", films(price=[8.0, 9.5, None])) == [0]
    assert met("price!=8", films(price=[8.0, 9.5, None])) == [1, 2]


def test_the_columns_that_were_asked_about_are_named_as_the_catalog_writes_them():
    assert read_where(["year>1900", "GENRE=War", "year<1930"], FILMS).columns == ("Year", "genre")


def test_lists_of_a_parquet_file_are_several_values():
    catalog = films(genre=[["Action", "War"], [], None, ["Film Noir"]])
    assert met("genre=war", catalog) == [0]
    assert met("genre=film noir", catalog) == [3]
    assert met("genre!=war", catalog) == [1, 2, 3]


@pytest.mark.parametrize(
    ("where", "said", "remedy"),
    [
        ("gnere=Comedy", "no column 'gnere'", "`genre`"),
        ("colour=red", "no column 'colour'", "one of: Year, genre"),
        ("genre=Comdy", "no item has genre=Comdy", "nearest values: Comedy"),
        ("genre!=Comdy", "no item has genre=Comdy", "Comedy"),
        ("genre in Drama, Hororr", "no item has genre=Hororr", "Horror"),
        ("year>2010", "no item has year>2010", "from 1906 to 2004"),
        ("year>soon", "'soon' is not a number", ""),
        ("genre<7", "holds no numbers", "values are"),
        (["genre=War", "genre=Horror"], "no item has genre=War and genre=Horror", ""),
        (Condition("genre", "~", ("War",)), "'~' compares nothing", "!="),
    ],
)
def test_a_mistake_is_told_with_what_there_is(where, said, remedy):
    with pytest.raises(UserError) as caught:
        read_where(where, FILMS)
    assert said in caught.value.what
    assert remedy in (caught.value.remedy or "")


def test_a_catalog_without_columns_says_so():
    with pytest.raises(UserError, match="keys and titles alone"):
        read_where("genre=War", Catalog(("a",), ("A",)))


@given(
    values=st.lists(st.none() | st.integers(-3, 3), min_size=1, max_size=8),
    bound=st.integers(-3, 3),
    sign=st.sampled_from(["<", "<=", ">", ">=", "=", "!="]),
)
def test_numbers_compare_as_python_compares_them(values, bound, sign):
    compare = {"<": "__lt__", "<=": "__le__", ">": "__gt__", ">=": "__ge__", "=": "__eq__", "!=": "__ne__"}[sign]
    expected = [
        item for item, value in enumerate(values) if (sign == "!=" if value is None else getattr(value, compare)(bound))
    ]
    known = sign not in ("=", "!=") or bound in values
    for column in (values, [None if value is None else str(value) for value in values]):
        catalog = films(n=pl.Series(column, dtype=pl.String if isinstance(column[0], str) else None))
        if expected and known:
            assert met(f"n{sign}{bound}", catalog) == expected
        else:
            with pytest.raises(UserError):
                met(f"n{sign}{bound}", catalog)
