"""Catalog: keys, titles, the search for a typed title, and the file."""

import polars as pl
import pytest

from napo.data.catalog import Catalog
from napo.errors import UserError

FILMS = Catalog(
    ("007", "7", "8", "9"),
    ("Crash (1996)", "Alien (1979)", "Crash (1996)", "Aliens (1986)"),
    pl.DataFrame({"year": [1996, 1979, 1996, 1986], "title": ["a", "b", "c", "d"]}),
)


def test_find_forgives_case_and_outer_blanks_and_gives_all_items_of_one_title():
    assert FILMS.find("  crash (1996) ") == [0, 2]
    assert FILMS.find("ALIEN (1979)") == [1]


def test_find_of_a_typo_names_the_nearest_titles():
    with pytest.raises(UserError, match="'Alein") as caught:
        FILMS.find("Alein (1979)", where="--history, item 1")
    assert caught.value.where == "--history, item 1"
    assert "Alien (1979)" in (caught.value.remedy or "")


def test_keys_stay_as_written_and_equal_titles_share_a_group():
    assert FILMS.index == {"007": 0, "7": 1, "8": 2, "9": 3}
    assert FILMS.title_groups.tolist() == [0, 1, 0, 2]
    assert FILMS.twins == 1


def test_a_saved_catalog_comes_back_whole(tmp_path):
    FILMS.save(tmp_path / "catalog.parquet")
    back = Catalog.load(tmp_path / "catalog.parquet")
    assert (back.keys, back.titles, back.digest) == (FILMS.keys, FILMS.titles, FILMS.digest)
    assert back.columns.equals(FILMS.columns)  # a column called "title" of its own does no harm


def test_a_file_that_is_no_catalog_is_a_user_error(tmp_path):
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "other.parquet")
    for name in ("other.parquet", "missing.parquet"):
        with pytest.raises(UserError, match="no catalog"):
            Catalog.load(tmp_path / name)
