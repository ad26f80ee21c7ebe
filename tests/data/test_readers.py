"""read_events, read_items: which column is what, and ids exactly as written."""

import polars as pl
import pytest

from napo.data.formats import open_table
from napo.data.log import Tally
from napo.data.readers import Columns, read_events, read_items
from napo.errors import UserError


def events(path, content: str, columns: Columns | None = None) -> pl.DataFrame:
    path.write_text(content, encoding="utf-8")
    frame = read_events(open_table(path), columns or Columns(), Tally())
    return frame.with_columns(pl.col("user", "item").cast(pl.String))


def test_a_csv_with_our_names(tmp_path):
    frame = events(tmp_path / "log.csv", "user,item,rating,time\nu1,007,4.5,1700000000\nu1,7,3,1700000060\n")
    assert frame.rows() == [("u1", "007", 4.5, 1_700_000_000_000), ("u1", "7", 3.0, 1_700_000_060_000)]


def test_an_excel_export_with_mark_semicolons_and_decimal_commas(tmp_path):
    content = "\ufeffuser;item;rating;time\r\nu1;i1;4,5;2024-03-01 10:00\r\nu1;i2;3,0;2024-03-02 10:00\r\n"
    frame = events(tmp_path / "log.csv", content)
    assert frame.columns == ["user", "item", "rating", "time"]
    assert frame["rating"].to_list() == [4.5, 3.0]


def test_recbole_files_are_read_as_they_are_and_the_year_goes_back_into_the_title(tmp_path):
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    frame = events(tmp_path / "x.inter", header + "196\t0242\t3\t881250949\n")
    assert frame.rows() == [("196", "0242", 3.0, 881_250_949_000)]
    (tmp_path / "x.item").write_text(
        'item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n1\t"Toy" Story\t1995\tComedy\n'
        "2\tunknown\t\t\n"
    )
    items = read_items(open_table(tmp_path / "x.item"), Columns(), Tally())
    assert items.columns == ["item", "title", "release_year", "class"]
    assert items["title"].to_list() == ['"Toy" Story (1995)', "unknown"]


def test_parquet_ids_of_whole_numbers_become_text(tmp_path):
    frame = pl.DataFrame({"userId": [3], "movieId": [12], "timestamp": [1_700_000_000], "rating": [4]})
    frame.write_parquet(tmp_path / "log.parquet")
    read = read_events(open_table(tmp_path / "log.parquet"), Columns(), Tally())
    assert read.rows() == [("3", "12", 4.0, 1_700_000_000_000)]


def test_columns_of_any_name_can_be_mapped_and_the_tally_says_which_were_used(tmp_path):
    (tmp_path / "log.csv").write_text("who,what,when,x\nu,a,5,0\n")
    tally = Tally()
    table = open_table(tmp_path / "log.csv")
    frame = read_events(table, Columns(user="who", item="what", time="when"), tally)
    frame = frame.with_columns(pl.col("user", "item").cast(pl.String))
    assert frame.rows() == [("u", "a", 5000)]
    assert tally.notes[0] == "log.csv: csv, UTF-8, columns separated by commas"
    assert tally.notes[1] == "log.csv: columns user = who, item = what, time = when; not used: x"


def test_a_missing_column_names_the_file_its_columns_and_the_key(tmp_path):
    with pytest.raises(UserError, match="no column 'user' for the user: the file has usr, item") as caught:
        events(tmp_path / "log.csv", "usr,item\nu,a\n")
    assert "log.csv, line 1" in (caught.value.where or "")
    assert "columns: {user: ...}" in (caught.value.remedy or "")


def test_a_mapped_column_must_be_there_even_if_it_is_optional(tmp_path):
    with pytest.raises(UserError, match=r"no column 'tme'.*nearest: time"):
        events(tmp_path / "log.csv", "user,item,time\nu,a,1\n", Columns(time="tme"))


def test_a_title_that_only_the_items_file_has_and_an_id_that_only_the_log_has_may_be_mapped(tmp_path):
    columns = Columns(item="film", title="label")
    assert events(tmp_path / "log.csv", "user,film\nu,007\n", columns).rows() == [("u", "007")]
    (tmp_path / "items.csv").write_text("id,label\n007,Goldfinger\n")
    assert read_items(open_table(tmp_path / "items.csv"), columns, Tally()).rows() == [("007", "Goldfinger")]


def test_a_single_column_hints_at_the_separator(tmp_path):
    with pytest.raises(UserError, match="separator"):
        events(tmp_path / "log.csv", "user:item\nu:a\n")


@pytest.mark.parametrize("bad", ["four", "nan", "1.2.3"])
def test_a_rating_that_is_no_number_is_named_with_its_line(tmp_path, bad):
    with pytest.raises(UserError, match=f"'{bad}' in column 'rating'") as caught:
        events(tmp_path / "log.csv", f"user,item,rating\nu,a,4\nu,b,{bad}\n")
    assert caught.value.where == f"{tmp_path / 'log.csv'}, line 3"


def test_an_unknown_time_is_named_with_its_line(tmp_path):
    with pytest.raises(UserError, match="'soon' is not a time") as caught:
        events(tmp_path / "log.csv", "user,item,time\nu,a,2024-01-01\nu,b,soon\n")
    assert caught.value.where == f"{tmp_path / 'log.csv'}, line 3"


def test_a_missing_file_names_those_that_look_like_it(tmp_path):
    (tmp_path / "log.csv").write_text("user,item\nu,a\n")
    with pytest.raises(UserError, match="there is no file") as caught:
        open_table(tmp_path / "logs.csv")
    assert "log.csv" in (caught.value.remedy or "")


def test_an_items_file_may_hold_columns_called_like_ours(tmp_path):
    (tmp_path / "items.csv").write_text("asin,name,title\nx1,Lamp,Mr\n")
    items = read_items(open_table(tmp_path / "items.csv"), Columns(item="asin", title="name"), Tally())
    assert items.to_dicts() == [{"item": "x1", "title": "Lamp", "title_": "Mr"}]


def test_float_ids_in_parquet_are_refused(tmp_path):
    pl.DataFrame({"user": [1.5], "item": ["a"]}).write_parquet(tmp_path / "log.parquet")
    with pytest.raises(UserError, match="user ids are of type Float64"):
        read_events(open_table(tmp_path / "log.parquet"), Columns(), Tally())
