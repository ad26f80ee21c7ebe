"""read_text_table: encodings, separators, quotes, and the line of every mistake."""

import pytest

from napo.data._text import read_text_table
from napo.errors import UserError


def write(tmp_path, content: bytes | str, name: str = "items.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


ACCENTS = "item,title\n1,Café Society (2016)\n2,Amélie (2001)\n3,Heat (1995)\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_marked_encodings_are_detected(tmp_path, encoding):
    table = read_text_table(write(tmp_path, ACCENTS.encode(encoding)))
    assert table.frame.columns == ["item", "title"]
    assert table.frame["title"].to_list() == ["Café Society (2016)", "Amélie (2001)", "Heat (1995)"]


def test_latin_1_is_an_error_with_line_byte_and_remedy_and_is_read_when_named(tmp_path):
    path = write(tmp_path, ACCENTS.encode("latin-1"))
    with pytest.raises(UserError, match="byte 0xe9 is not UTF-8") as caught:
        read_text_table(path)
    assert caught.value.where == f"{path}, line 2"
    assert "encoding: latin-1" in (caught.value.remedy or "")
    assert read_text_table(path, encoding="latin-1").frame["title"][1] == "Amélie (2001)"


def test_a_mark_is_stronger_than_the_encoding_that_was_said(tmp_path):
    table = read_text_table(write(tmp_path, ACCENTS.encode("utf-8-sig")), encoding="latin-1")
    assert table.frame.columns == ["item", "title"]
    assert table.frame["title"][1] == "Amélie (2001)"


def test_utf_16_without_a_mark_and_an_unknown_encoding_are_errors(tmp_path):
    path = write(tmp_path, ACCENTS.encode("utf-16-le"))
    with pytest.raises(UserError, match="zero bytes"):
        read_text_table(path)
    with pytest.raises(UserError, match="unknown encoding 'utf-9'"):
        read_text_table(path, encoding="utf-9")


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_the_separator_is_told_from_the_header(tmp_path, mark):
    table = read_text_table(write(tmp_path, f"user{mark}item\r\n007{mark}1\r\n"))
    assert table.frame.to_dicts() == [{"user": "007", "item": "1"}]
    assert table.separator == mark


def test_line_breaks_and_separators_inside_quotes_stay_in_their_field(tmp_path):
    odd = '"Line one\nline two, with comma and ""quote"""'
    rows = [f"i{row},{odd if row % 7 == 0 else f'Title {row}'}" for row in range(20_000)]
    table = read_text_table(write(tmp_path, "item,title\n" + "\n".join(rows) + "\n"))
    assert table.frame.height == 20_000
    assert table.frame["title"][7] == 'Line one\nline two, with comma and "quote"'
    # rows 0 and 7 take two lines each: row 8 begins on line 2 + 8 + 2
    assert table.line(8) == 12


def test_empty_fields_are_null_and_blank_lines_are_no_rows(tmp_path):
    table = read_text_table(write(tmp_path, "a,b\n1,\n\n,2\n"))
    assert table.frame.rows() == [("1", None), (None, "2")]
    assert table.line(1) == 4


@pytest.mark.parametrize("bad", ["1,2,3", "1"])
def test_a_row_of_another_width_is_named_with_its_line(tmp_path, bad):
    path = write(tmp_path, f"a,b\n1,2\n{bad}\n")
    with pytest.raises(UserError, match=f"{len(bad.split(','))} columns where the header has 2") as caught:
        read_text_table(path)
    assert caught.value.where == f"{path}, line 3"


def test_widths_that_only_add_up_are_still_found(tmp_path):
    with pytest.raises(UserError, match="3 columns where the header has 2"):
        read_text_table(write(tmp_path, "a,b\n1,2,3\n4\n"))


def test_an_open_quote_is_named_with_the_line_where_it_begins(tmp_path):
    path = write(tmp_path, 'a,b\n1,2\n3,"open\n4,5\n')
    with pytest.raises(UserError, match="quotes do not fit") as caught:
        read_text_table(path)
    assert caught.value.where == f"{path}, line 3"


@pytest.mark.parametrize(("content", "what"), [("", "is empty"), ("a,b\n", "no rows"), ("a,a\n1,2\n", "twice: a")])
def test_files_without_content_or_with_a_double_header_are_errors(tmp_path, content, what):
    with pytest.raises(UserError, match=what):
        read_text_table(write(tmp_path, content))
