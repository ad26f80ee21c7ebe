"""A catalog that goes on from an earlier one: who keeps which number, what is new, what is refused."""

import polars as pl
import pytest

from napo.data.catalog import Catalog
from napo.data.converted import write_converted
from napo.data.known_items import KnownItems
from napo.data.log import make_log
from napo.data.settings import DataSettings
from napo.data.source import load_source
from napo.errors import UserError

BEFORE = Catalog(("m", "c", "x"), ("Moon", "Crash", "Xanadu"), pl.DataFrame({"year": [2009, 1996, 1980]}))
EVENTS = pl.DataFrame({"user": ["u", "u", "v"], "item": ["c", "b", "z"]})


def items(*rows, **columns):
    keys, titles = zip(*rows, strict=True)
    return pl.DataFrame({"item": keys, "title": titles, **columns})


def log_of(titles, renamed="stop", **options):
    return make_log(EVENTS, titles, known=KnownItems(BEFORE, renamed), **options)


def test_old_items_keep_their_numbers_and_new_ones_come_behind_by_key():
    given = items(("z", "Zodiac"), ("c", "Crash"), ("b", "Brazil"), ("m", "Moon"), ("x", "Xanadu"))
    log = log_of(given)
    # by key alone the numbers would be b c m x z
    assert log.catalog.keys == ("m", "c", "x", "b", "z")
    assert log.catalog.titles == ("Moon", "Crash", "Xanadu", "Brazil", "Zodiac")
    assert log.frame["item"].to_list() == [1, 3, 4]
    assert log.counts["items_kept_from_before"] == 0


def test_items_that_vanished_stay_with_what_was_known_of_them_and_are_counted():
    log = log_of(items(("z", "Zodiac"), ("c", "Crash"), ("b", "Brazil"), year=[2007, 1997, 1985]))
    assert log.catalog.keys == ("m", "c", "x", "b", "z")
    assert log.catalog.columns["year"].to_list() == [2009, 1997, 1980, 1985, 2007]  # what the new file says is newer
    assert log.counts["items_kept_from_before"] == 2
    assert "2 items of the earlier catalog are not among the items given now: they stay" in log.notes


def test_an_item_without_a_title_now_has_its_earlier_one():
    log = log_of(items(("z", "Zodiac"), ("c", " "), ("b", "Brazil")))
    assert log.catalog.titles[1] == "Crash"


def test_without_an_items_file_the_earlier_titles_serve():
    known = KnownItems(BEFORE)
    log = make_log(EVENTS.filter(pl.col("item") == "c"), None, known=known)
    assert log.catalog.keys == BEFORE.keys
    with pytest.raises(UserError, match=r"2 items have no title: 2 not in the items file \(b, z\)"):
        make_log(EVENTS, None, known=known)
    assert make_log(EVENTS, None, known=known, untitled="id").catalog.titles[3:] == ("b", "z")


@pytest.mark.parametrize(("renamed", "title"), [("old", "Crash"), ("new", "Crash!")])
def test_another_title_stops_or_one_of_the_two_is_taken_as_asked(renamed, title):
    given = items(("z", "Zodiac"), ("c", "Crash!"), ("b", "Brazil"))
    with pytest.raises(UserError, match=r"1 items have another title than before \(c: 'Crash!', before 'Crash'\)"):
        log_of(given)
    log = log_of(given, renamed)
    assert log.catalog.titles[1] == title
    assert log.counts["items_renamed"] == 1
    assert any(f"the {renamed} one is taken" in note for note in log.notes)


def test_the_core_leaves_earlier_items_alone():
    given = items(("z", "Zodiac"), ("c", "Crash"), ("b", "Brazil"))
    events = pl.DataFrame({"user": ["u", "u", "v", "v", "v"], "item": ["c", "b", "c", "b", "z"]})
    log = make_log(events, given, known=KnownItems(BEFORE), core=2)
    assert log.catalog.keys == ("m", "c", "x", "b")  # z has one event
    assert log.frame["item"].to_list() == [1, 3, 1, 3]


def test_a_column_of_another_kind_is_refused_or_widened():
    log = log_of(items(("z", "Zodiac"), ("c", "Crash"), ("b", "Brazil"), year=[2007.5, 1997.0, 1985.0]))
    assert log.catalog.columns["year"].to_list() == [2009, 1997, 1980, 1985, 2007.5]
    with pytest.raises(UserError, match="other kinds of values than before"):
        log_of(items(("z", "Zodiac"), ("c", "Crash"), ("b", "Brazil"), year=[[1], [2], [3]]))


def test_a_converted_log_may_have_more_items_beside_it(tmp_path):
    whole = items(("z", "Zodiac"), ("c", "Crash"), ("b", "Brazil"))
    write_converted(make_log(EVENTS, whole), DataSettings(interactions=tmp_path / "log.csv"), (), tmp_path / "folder")
    BEFORE.save(tmp_path / "catalog.parquet")
    (tmp_path / "more.csv").write_text("item,title\nq,Quiz\n")
    known = {"interactions": tmp_path / "folder", "catalog": tmp_path / "catalog.parquet"}
    log = load_source(DataSettings(**known, items=tmp_path / "more.csv"))
    assert log.catalog.keys == ("m", "c", "x", "b", "q", "z")
    with pytest.raises(UserError, match="a converted log has its own items"):
        load_source(DataSettings(interactions=tmp_path / "folder", items=tmp_path / "more.csv"))


def test_rows_have_no_earlier_catalog(tmp_path):
    with pytest.raises(ValueError, match="`catalog` goes with a log of users"):
        DataSettings(valid=tmp_path, test=tmp_path, items=tmp_path, catalog=tmp_path)
