"""JSON lines: fields as text, the line of every mistake, the quick way and the exact one alike."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napo.data.formats import _records, open_table
from napo.errors import UserError
from tests.data.formats.reading import events, items


def write(path, *lines: str):
    text = "".join(line + "\n" for line in lines)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
def test_a_log_with_numbers_or_texts_as_ids(tmp_path, name):
    path = write(
        tmp_path / name,
        '{"user": 7, "item": "007", "rating": 4.5, "time": 1700000000, "tags": ["x"]}',
        '{"user": "u", "item": 7, "time": 1700000060}',
    )
    assert events(path) == [
        {"user": "7", "item": "007", "rating": 4.5, "time": 1_700_000_000_000},
        {"user": "u", "item": "7", "rating": None, "time": 1_700_000_060_000},
    ]


def test_an_items_fields_are_kept_lists_joined_and_what_is_nested_as_json(tmp_path):
    path = write(
        tmp_path / "items.jsonl",
        '{"id": "1", "title": "Heat", "genres": ["Crime", "Drama"], "year": 1995}',
        '{"id": "2", "title": "Alien", "cast": {"lead": "Weaver"}}',
    )
    assert items(path) == [
        {"item": "1", "title": "Heat", "genres": "Crime|Drama", "year": "1995"},
        {"item": "2", "title": "Alien", "cast": '{"lead": "Weaver"}'},
    ]


@pytest.mark.parametrize("bad", ["{broken", "[1, 2]", '"text"', '{"user": 1} {"user": 2}'])
def test_a_line_that_is_no_record_is_named(tmp_path, bad):
    path = write(tmp_path / "log.jsonl", '{"user": "u", "item": "i"}', "", bad)
    with pytest.raises(UserError, match="the line is no record") as caught:
        events(path)
    assert caught.value.where == f"{path}, line 3"


def test_a_mistake_far_behind_blank_lines_is_named_with_its_line(tmp_path):
    path = write(
        tmp_path / "log.jsonl", '{"user": 1, "item": 1, "rating": 3}', "", '{"user": 1, "item": 2, "rating": "x"}'
    )
    with pytest.raises(UserError, match="'x' in column 'rating' is not a number") as caught:
        events(path)
    assert caught.value.where == f"{path}, line 3"


def test_one_json_list_is_an_error_with_the_way_out(tmp_path):
    path = write(tmp_path / "log.json", '[{"user": 1, "item": 2}]')
    with pytest.raises(UserError, match="one JSON list") as caught:
        events(path)
    assert "jq" in (caught.value.remedy or "")


scalars = st.none() | st.text(max_size=5) | st.integers(-(2**53), 2**53) | st.booleans()


@given(st.lists(st.fixed_dictionaries({"user": scalars}, optional={"item": scalars}), min_size=1, max_size=6))
def test_the_quick_way_and_the_exact_one_read_the_same(tmp_path_factory, rows):
    path = write(tmp_path_factory.mktemp("json") / "log.jsonl", *(json.dumps(row) for row in rows))
    content = _records.utf8(path, None)
    quick = _records._fast(content, ["user", "item"], [])
    exact, _ = _records._load(content, ["user", "item"], [], None)
    assert quick is None or quick.equals(exact)
    assert open_table(path, format="json").load(["user", "item"], [])[0].equals(exact)
