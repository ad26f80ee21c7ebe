"""load_windows: rows of ids and of titles, what is left out and named, and mistakes that name their line."""

import gzip

import pytest

from napo.data.windows import load_windows
from napo.errors import UserError, UserErrors
from tests.data.row_files import ids, settings_of, titled, write, write_items


def test_rows_of_ids_become_windows_with_the_next_item_last(tmp_path):
    write_items(tmp_path)
    write(tmp_path / "train.jsonl.gz", ids(([], 0), ([0, 1, 2], 3)))
    write(tmp_path / "valid.jsonl", ids(([4, 5, 6], 7)))
    write(tmp_path / "test.jsonl", ids(([9, 8, 7], 6)))
    read = load_windows(settings_of(tmp_path))
    assert [window.key for window in read.windows] == ["train:1", "train:2", "valid:1", "test:1"]
    assert [window.items.tolist() for window in read.windows] == [[0], [0, 1, 2, 3], [4, 5, 6, 7], [9, 8, 7, 6]]
    assert not read.have_users
    assert (read.counts["train_rows"], read.counts["items"]) == (2, 10)


def test_users_and_text_ids_are_kept(tmp_path):
    write(tmp_path / "items.tsv", "item_id\ttitle\n007\tAir\nB9\tMoby\n")
    write(tmp_path / "valid.jsonl", ids((["007"], "B9", "ann")))
    write(tmp_path / "test.jsonl", ids((["B9"], "007", "bob")))
    read = load_windows(settings_of(tmp_path))
    assert [window.user for window in read.windows] == ["ann", "bob"]
    assert [read.catalog.titles[item] for item in read.windows[0].items] == ["Air", "Moby"]


def test_an_id_that_the_items_file_does_not_have_stops_or_goes_or_is_its_own_title(tmp_path):
    write_items(tmp_path)
    write(tmp_path / "valid.jsonl", ids(([0, 77, 1], 2), ([0, 1], 99)))
    write(tmp_path / "test.jsonl", ids(([0, 1, 2], 3)))
    with pytest.raises(UserError, match="2 items have no title: 2 not in the items file"):
        load_windows(settings_of(tmp_path))
    dropped = load_windows(settings_of(tmp_path, untitled="drop"))
    assert [window.items.tolist() for window in dropped.windows] == [[0, 1, 2], [0, 1, 2, 3]]
    assert dropped.counts["history_items_not_in_catalog"] == 1
    assert dropped.counts["valid_rows_whose_next_is_not_in_catalog"] == 1
    named = load_windows(settings_of(tmp_path, untitled="id"))
    assert [named.catalog.titles[item] for item in named.windows[1].items] == ["Air", "Moby", "99"]


def test_titles_are_found_and_what_is_not_is_counted_and_named(tmp_path):
    write_items(tmp_path)
    whole = ["Moby", "Air", " Zero  7 ", "Björk"]
    write(
        tmp_path / "valid.json.gz",
        titled(
            ("Air::A::B::Ends:::Ke$ha", "Moby", whole), ("Air::Plus 44::Moby", "Björk", ["Björk", "Plus 44", "Air"])
        ),
    )
    write(tmp_path / "test.json", titled(("Air::Moby", "Plus 44", ["Plus 44", "Air"]), ("Air", "Moby", whole)))
    read = load_windows(settings_of(tmp_path))
    first, second, third = read.windows
    assert first.history == (0, 4, 5, 3)  # A::B and Ends: are titles; "Ends:" and "Ke$ha" are joined by the last two
    assert first.listed == (1, 0, 6, 2)
    assert (second.history, second.next, second.listed) == ((0, 1), 2, None)  # its list is not whole
    assert third.key == "test:2"
    assert read.counts["test_rows_whose_next_is_not_in_catalog"] == 1
    assert read.counts["titles_not_in_catalog"] == 1
    assert read.examples["titles_not_in_catalog"] == ("Plus 44",)
    assert (read.counts["released_lists"], read.counts["released_lists_with_unknown_titles"]) == (4, 2)
    assert any("1 titles in 4 places are those of no item ('Plus 44')" in note for note in read.notes)


def test_the_digest_tells_rows_and_lists_apart(tmp_path):
    digests = set()
    for number, (history, listed) in enumerate(
        [("Air::Moby", ["Björk", "Air"]), ("Moby::Air", ["Björk", "Air"]), ("Air::Moby", ["Air", "Björk"])]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        write_items(folder)
        for part in ("valid", "test"):
            write(folder / f"{part}.json", titled((history, "Björk", listed)))
        digests.add(load_windows(settings_of(folder)).digest)
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ('{"history": [1], "next": 2}\n{"history": 1, "next": 2}', "line 2", "no `history`"),
        ('{"history": [1], "next": 2}\nnext', "line 2", "no valid JSON"),
        ('{"history": [1, 2.5], "next": 2}', "line 1", "2.5 is no id"),
        ('{"history": [true], "next": 2}', "line 1", "True is no id"),
        ('{"history": [1], "next": 2, "user": 1.5}', "line 1", "1.5 is no id"),
        ('[{"historyList": "Air", "trueSelection": 3}]', "row 1", "needs texts"),
        ('[{"historyList": "Air", "itemList": ["Moby"], "trueSelection": "Air"}]', "row 1", "'Air', 0 times"),
        ("[1,", "line 1", "no valid JSON"),
        ("", "test.json", "no rows"),
    ],
)
def test_a_row_that_does_not_fit_is_named_by_its_line(tmp_path, text, line, says):
    write_items(tmp_path)
    write(tmp_path / "valid.jsonl", ids(([0], 1)))
    write(tmp_path / "test.json", text)
    with pytest.raises(UserError, match=says) as stopped:
        load_windows(settings_of(tmp_path))
    assert "test.json" in stopped.value.where
    assert line in stopped.value.where


def test_several_mistakes_of_a_file_come_together(tmp_path):
    write_items(tmp_path)
    write(tmp_path / "valid.jsonl", ids(([0], 1)))
    write(tmp_path / "test.jsonl", '{"history": 1}\n{"history": [1], "next": null}')
    with pytest.raises(UserErrors) as stopped:
        load_windows(settings_of(tmp_path))
    assert len(stopped.value.errors) == 2


def test_users_for_some_rows_alone_are_refused(tmp_path):
    write_items(tmp_path)
    write(tmp_path / "valid.jsonl", ids(([0], 1, "ann")))
    write(tmp_path / "test.jsonl", ids(([0], 1)))
    with pytest.raises(UserError, match="some rows carry a `user`"):
        load_windows(settings_of(tmp_path))


TITLED = titled(("Air::Moby", "Björk", ["Björk", "Air", "Moby"]))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_rows_are_read_in_the_encodings_that_logs_are_and_a_guess_is_said(tmp_path, encoding):
    write_items(tmp_path)
    text = TITLED.replace("\\u00f6", "ö")
    assert "ö" in text
    (tmp_path / "valid.json").write_bytes(text.encode(encoding))
    write(tmp_path / "test.json", TITLED)
    read = load_windows(settings_of(tmp_path))
    assert read.windows[0].next == 2
    assert any("valid.json: not UTF-8" in note for note in read.notes) == (encoding == "cp1252")


def test_rows_are_unpacked_by_what_they_are_not_by_their_name(tmp_path):
    write_items(tmp_path)
    (tmp_path / "valid.json").write_bytes(gzip.compress(TITLED.encode()))
    write(tmp_path / "test.json", TITLED)
    assert len(load_windows(settings_of(tmp_path)).windows) == 2
    (tmp_path / "valid.json").write_bytes(gzip.compress(TITLED.encode())[:-9])
    with pytest.raises(UserError, match="the gzip file is damaged") as stopped:
        load_windows(settings_of(tmp_path))
    assert stopped.value.where.endswith("valid.json")
