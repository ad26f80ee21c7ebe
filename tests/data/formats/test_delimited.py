"""open_delimited: encodings, separators, quotes, and the line of every mistake."""

import csv
import gzip

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napo.data.formats._base import Told
from napo.data.formats._delimited import open_delimited
from napo.errors import UserError


class Table:
    """All of a file. line: of a row, from 1."""

    def __init__(self, path, **told) -> None:
        self.file = open_delimited(path, Told(**told))
        self.frame, self._place = self.file.load(None, ())

    def line(self, row: int) -> int:
        return int(self._place(row).rpartition("line ")[2])


def write(tmp_path, content: bytes | str, name: str = "items.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


ACCENTS = "item,title\n1,Café Society (2016)\n2,Amélie (2001)\n3,Heat (1995)\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_marked_encodings_are_detected(tmp_path, encoding):
    table = Table(write(tmp_path, ACCENTS.encode(encoding)))
    assert table.frame.columns == ["item", "title"]
    assert table.frame["title"].to_list() == ["Café Society (2016)", "Amélie (2001)", "Heat (1995)"]


def test_latin_1_is_told_by_letters_that_stand_alone_and_said(tmp_path):
    path = write(tmp_path, ACCENTS.encode("latin-1"))
    table = Table(path)
    assert table.frame["title"].to_list() == ["Café Society (2016)", "Amélie (2001)", "Heat (1995)"]
    assert (
        "items.csv: not UTF-8; read as cp1252 (Latin-1), such as Café, Amélie; else say `encoding:`" in table.file.notes
    )
    assert Table(path, encoding="latin-1").frame.equals(table.frame)


@pytest.mark.parametrize("encoding", ["cp1251", "koi8-r", "shift-jis", "gbk"])
def test_letters_in_runs_are_not_taken_for_latin_1_but_named_with_line_and_byte(tmp_path, encoding):
    title = {"cp1251": "Солярис", "koi8-r": "Солярис", "shift-jis": "千と千尋の神隠し", "gbk": "卧虎藏龙"}[encoding]
    path = write(tmp_path, f"item,title\n1,Heat\n2,{title}\n".encode(encoding))
    with pytest.raises(UserError, match="is not UTF-8") as caught:
        Table(path)
    assert caught.value.where == f"{path}, line 3"
    assert "encoding: latin-1" in (caught.value.remedy or "")
    assert Table(path, encoding=encoding).frame["title"][1] == title


def test_utf_8_that_was_said_and_is_not_is_an_error(tmp_path):
    with pytest.raises(UserError, match="byte 0xe9 is not UTF-8") as caught:
        Table(write(tmp_path, ACCENTS.encode("latin-1")), encoding="utf-8")
    assert (caught.value.where or "").endswith("line 2")


def test_a_mark_is_stronger_than_the_encoding_that_was_said(tmp_path):
    table = Table(write(tmp_path, ACCENTS.encode("utf-8-sig")), encoding="latin-1")
    assert table.frame.columns == ["item", "title"]
    assert table.frame["title"][1] == "Amélie (2001)"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_told_by_its_zeros(tmp_path, encoding):
    table = Table(write(tmp_path, ACCENTS.encode(encoding)))
    assert table.frame["title"][1] == "Amélie (2001)"
    assert any(encoding in note for note in table.file.notes)


def test_other_zeros_and_an_unknown_encoding_are_errors(tmp_path):
    with pytest.raises(UserError, match="zero bytes"):
        Table(write(tmp_path, b"PK\3\4\0\0\0\0 an archive, perhaps"))
    with pytest.raises(UserError, match="unknown encoding 'utf-9'"):
        Table(write(tmp_path, ACCENTS), encoding="utf-9")


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_the_separator_is_told_from_the_header(tmp_path, mark):
    table = Table(write(tmp_path, f"user{mark}item\r\n007{mark}1\r\n"))
    assert table.frame.to_dicts() == [{"user": "007", "item": "1"}]
    assert table.line(0) == 2


def test_line_breaks_and_separators_inside_quotes_stay_in_their_field(tmp_path):
    odd = '"Line one\nline two, with comma and ""quote"""'
    rows = [f"i{row},{odd if row % 7 == 0 else f'Title {row}'}" for row in range(20_000)]
    table = Table(write(tmp_path, "item,title\n" + "\n".join(rows) + "\n"))
    assert table.frame.height == 20_000
    assert table.frame["title"][7] == 'Line one\nline two, with comma and "quote"'
    # rows 0 and 7 take two lines each: row 8 begins on line 2 + 8 + 2
    assert table.line(8) == 12


def test_empty_fields_are_null_and_blank_lines_are_no_rows(tmp_path):
    table = Table(write(tmp_path, "a,b\n1,\n\n,2\n"))
    assert table.frame.rows() == [("1", None), (None, "2")]
    assert table.line(1) == 4


@pytest.mark.parametrize("bad", ["1,2,3", "1"])
def test_a_row_of_another_width_is_named_with_its_line(tmp_path, bad):
    path = write(tmp_path, f"a,b\n1,2\n{bad}\n")
    with pytest.raises(UserError, match=f"{len(bad.split(','))} columns where the header has 2") as caught:
        Table(path)
    assert caught.value.where == f"{path}, line 3"


def test_widths_that_only_add_up_are_still_found(tmp_path):
    with pytest.raises(UserError, match="3 columns where the header has 2"):
        Table(write(tmp_path, "a,b\n1,2,3\n4\n"))


def test_an_open_quote_is_named_with_the_line_where_it_begins(tmp_path):
    path = write(tmp_path, 'a,b\n1,2\n3,"open\n4,5\n')
    with pytest.raises(UserError, match="quotes do not fit") as caught:
        Table(path)
    assert caught.value.where == f"{path}, line 3"


@pytest.mark.parametrize(("content", "what"), [("", "is empty"), ("a,b\n", "no rows"), ("a,a\n1,2\n", "twice: a")])
def test_files_without_content_or_with_a_double_header_are_errors(tmp_path, content, what):
    with pytest.raises(UserError, match=what):
        Table(write(tmp_path, content))


@pytest.mark.parametrize("quote", [False, True])
def test_a_letter_across_the_border_of_two_parts_stays_whole(tmp_path, monkeypatch, quote):
    monkeypatch.setattr("napo.data.formats._encoding._PART", 5)
    text = ACCENTS.replace("Heat (1995)", '"Heat, 1995"') if quote else ACCENTS
    table = Table(write(tmp_path, text))
    assert table.frame["title"][0] == "Café Society (2016)"
    assert table.frame.height == 3


def test_a_blank_line_across_the_border_of_two_parts_is_seen(tmp_path, monkeypatch):
    for size in (3, 4, 5, 6, 7, 8):
        monkeypatch.setattr("napo.data.formats._encoding._PART", size)
        table = Table(write(tmp_path, "a,b\n1,2\n\n3,4\n"))
        assert [table.line(row) for row in range(2)] == [2, 4]


def test_a_separator_of_several_signs_and_a_header_that_the_file_lacks(tmp_path):
    table = Table(write(tmp_path, "u1::i1\nu2::i2\n"), separator="::", header=("user", "item"))
    assert table.frame.to_dicts() == [{"user": "u1", "item": "i1"}, {"user": "u2", "item": "i2"}]
    assert [table.line(row) for row in range(2)] == [1, 2]


def test_a_macintoshs_returns_end_lines(tmp_path):
    assert Table(write(tmp_path, "a,b\r1,2\r3,4\r")).frame.rows() == [("1", "2"), ("3", "4")]


def test_a_packed_file_is_unpacked_and_a_damaged_one_is_named(tmp_path):
    packed = gzip.compress(ACCENTS.encode())
    path = write(tmp_path, packed, "items.csv.gz")
    assert Table(path).frame.height == 3
    with pytest.raises(UserError, match="gzip file is damaged") as caught:
        Table(write(tmp_path, packed[:-12], "items.csv.gz"))
    assert caught.value.where == str(path)


def test_only_the_columns_that_are_wanted_are_loaded_keys_as_categories(tmp_path):
    file = open_delimited(write(tmp_path, "a,b,c\n1,2,3\n1,,4\n"), Told())
    frame, _ = file.load(["c", "a"], ["a"])
    assert frame.schema == {"c": pl.String, "a": frame.schema["a"]}
    assert isinstance(frame.schema["a"], pl.Categorical)
    assert frame["a"].cast(pl.String).to_list() == ["1", "1"]


@given(
    st.lists(
        st.lists(st.text('ab,;"\n\r é', max_size=4), min_size=2, max_size=2),
        min_size=1,
        max_size=8,
    )
)
def test_what_the_csv_module_writes_is_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "log.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *rows])
    expected = [tuple(text or None for text in row) for row in rows]
    assert Table(path).frame.rows() == expected
