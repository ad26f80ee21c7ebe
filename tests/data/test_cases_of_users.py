"""What people complained of in other tools, as tests of the data layer: encodings, exports, times, repeats, titles.

Cases 01 to 07 of the list of public bug reports; each stands for a kind of fault.
"""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import polars as pl
import pytest

from napo.cli import main
from napo.data.inspect import summarize
from napo.data.settings import SplitSettings
from napo.data.source import DataSettings, load_source
from napo.data.split import make_split, users_in_words
from napo.errors import UserError
from tests.tiny_world import write_log


@pytest.fixture
def tiny(tmp_path) -> Path:
    """30 users with 8 events each over 40 items."""
    write_log(tmp_path)
    return tmp_path


def settings(folder: Path, **keys) -> DataSettings:
    return DataSettings(**{"interactions": folder / "log.csv", "items": folder / "items.csv", **keys})


def add(folder: Path, *lines: str, file: str = "log.csv") -> None:
    with (folder / file).open("a", encoding="utf-8") as opened:
        opened.writelines(line + "\n" for line in lines)


ACCENTS = "item,title\n1,Café Society (2016)\n2,Amélie (2001)\n3,Heat (1995)\n"


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le", "utf-8-sig"])
@pytest.mark.parametrize("said", [False, True])
def test_01_titles_in_another_encoding_come_out_whole_and_it_is_named(tmp_path, encoding, said):
    (tmp_path / "log.csv").write_text("user,item\nu,1\nu,2\nu,3\n")
    (tmp_path / "items.csv").write_bytes(ACCENTS.encode(encoding))
    log = load_source(settings(tmp_path, encoding=encoding if said else None))
    assert log.catalog.titles == ("Café Society (2016)", "Amélie (2001)", "Heat (1995)")
    if encoding != "utf-8-sig":
        shown = "cp1252" if encoding == "latin-1" and not said else encoding
        assert any(shown in note for note in log.notes)


def test_02_an_excel_export_has_its_columns_and_its_ratings(tmp_path, capsys):
    rows = ["user;item;rating;time", "u1;i1;4,5;2024-03-01 10:00", "u1;i2;3,0;2024-03-02 10:00"]
    rows.append("u2;i1;5,0;2024-03-03 10:00")
    (tmp_path / "log.csv").write_bytes(b"\xef\xbb\xbf" + "".join(f"{row}\r\n" for row in rows).encode())
    with pytest.raises(SystemExit) as ended:
        main(["data", "inspect", str(tmp_path / "log.csv"), "--json"])
    assert ended.value.code == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["events"], shown["ratings"]) == (3, [["3", 1], ["4.5", 1], ["5", 1]])
    assert "log.csv: columns user, item, rating, time" in shown["notes"]
    assert any("semicolons" in note for note in shown["notes"])
    assert any("decimal commas" in note for note in shown["notes"])


def test_03_titles_with_line_breaks_are_whole_in_a_file_of_20000_rows_as_csv_and_as_parquet(tmp_path):
    odd = 'Line one\nline two, with comma and "quote"'
    titles = [odd if row % 7 == 0 else f"Title {row}" for row in range(20_000)]
    keys = [f"i{row}" for row in range(20_000)]
    frame = pl.DataFrame({"item": keys, "title": titles})
    frame.write_csv(tmp_path / "items.csv")
    frame.write_parquet(tmp_path / "items.parquet")
    (tmp_path / "log.csv").write_text("user,item\n" + "".join(f"u{row % 50},i{row}\n" for row in range(500)))
    log = load_source(settings(tmp_path))
    assert len(log.catalog) == 20_000
    title = log.catalog.titles[log.catalog.index["i7"]]
    assert title == 'Line one line two, with comma and "quote"'
    assert log.counts["titles_with_line_breaks"] == 2858  # 0, 7, ..., 19,999
    assert log.digest == load_source(settings(tmp_path, items=tmp_path / "items.parquet")).digest


NOTATIONS = {
    "milliseconds": lambda time: str(time * 1000),
    "zoned": lambda time: datetime.fromtimestamp(time, timezone(timedelta(hours=1))).isoformat(),
    "utc": lambda time: datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    "without a zone": lambda time: datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S"),
}


@pytest.mark.parametrize("notation", NOTATIONS)
def test_04_the_same_times_in_any_notation_give_the_same_log_and_split(tiny, notation):
    plain = load_source(settings(tiny))
    rows = [line.split(",") for line in (tiny / "log.csv").read_text().splitlines()[1:]]
    lines = [",".join([*row[:3], NOTATIONS[notation](int(row[3]))]) for row in rows]
    (tiny / "log.csv").write_text("user,item,rating,time\n" + "\n".join(lines) + "\n")
    log = load_source(settings(tiny))
    assert log.digest == plain.digest
    cut = SplitSettings(name="global_time", min_history=1)
    assert make_split(log, cut).digest == make_split(plain, cut).digest
    assert any("2023-11-14 to 2023-11-15" in note for note in log.notes)
    if notation == "without a zone":
        assert sum("taken as UTC" in note for note in log.notes) == 1


@pytest.mark.parametrize("time", ["1700000000000", "0", "9999999999999999"])
def test_04_a_time_of_another_unit_or_an_impossible_year_is_named_with_its_line(tiny, time):
    add(tiny, f"u00,i00,5,{time}")
    with pytest.raises(UserError) as caught:
        load_source(settings(tiny))
    assert caught.value.where == f"{tiny / 'log.csv'}, line 242"


def test_04_an_empty_time_is_left_out_and_counted(tiny):
    add(tiny, "u00,i00,5,")
    log = load_source(settings(tiny))
    assert (log.counts["events_without_time"], log.frame.height) == (1, 240)


def test_04_no_history_holds_an_event_later_than_its_target(tiny):
    split = make_split(load_source(settings(tiny)), SplitSettings(name="global_time", min_history=1))
    assert split.times is not None
    for times in split.times:
        assert (times[1:] >= times[:-1]).all()
    latest = max(int(times[:cut].max()) for times, cut in zip(split.times, split.valid_from, strict=True) if cut)
    held = [times[cut:] for times, cut in zip(split.times, split.valid_from, strict=True) if cut < len(times)]
    assert latest < min(int(times.min()) for times in held)


@pytest.mark.parametrize(("repeats", "events"), [("first", 244), ("last", 244), ("all", 249)])
def test_05_copies_go_repeats_follow_one_rule_and_ratings_are_never_summed(tiny, repeats, events):
    rows = (tiny / "log.csv").read_text().splitlines()
    user, item, rating, time = rows[1].split(",")  # u00's first event, again an hour later
    add(tiny, *[rows[9]] * 10, f"{user},{item},{9 - int(rating)},{int(time) + 3600}")
    add(tiny, *(f"w,i0{item},4,{1_700_200_000 + item}" for item in (7, 8, 9)))
    add(tiny, *(f"w,i10,4,{1_700_300_000 + number * 60}" for number in range(5)))
    log = load_source(settings(tiny, repeats=repeats))
    assert (log.counts["exact_copies"], log.counts["repeated_events"], log.frame.height) == (10, 5, events)
    assert log.frame["rating"].max() <= 6  # 3 and 6, 4 and 5, 5 and 4: never 9
    words = {"first": "the first event of each is kept", "last": "the last event of each is kept", "all": "all kept"}
    assert any(words[repeats] in note for note in log.notes)
    split = make_split(log, SplitSettings(min_history=1))
    for part in ("valid", "test"):
        cases = split.cases(part)
        assert not any(target in cases.history(case) for case, target in enumerate(cases.target))
    if repeats == "all":
        assert split.counts["test_targets_seen_before"] + split.counts["valid_targets_seen_before"] > 0
        again = make_split(log, SplitSettings(min_history=1, mask_seen="none"))
        assert again.counts["test_targets_seen_before"] == 0


HTML, LONG = '<span id="x">Deal</span>&amp; more', "word " * 59 + "end"


@pytest.fixture
def untitled(tiny) -> Path:
    titles = {f"i{item:02d}": f"Title number {item}" for item in range(40)}
    titles |= {"i04": "", "i05": "   ", "i06": "nan", "i07": HTML, "i08": LONG, "i99": "Nobody took me"}
    del titles["i03"]
    pl.DataFrame({"item": list(titles), "title": list(titles.values())}).write_csv(
        tiny / "items.csv", quote_style="always"
    )
    return tiny


def test_06_items_without_a_title_stop_the_run_with_counts_and_examples(untitled):
    with pytest.raises(
        UserError, match=r"1 not in the items file \(i03\); 2 with an empty title \(i04, i05\)"
    ) as caught:
        load_source(settings(untitled))
    assert "untitled: drop" in (caught.value.remedy or "")


def test_06_or_their_events_go_and_are_counted_with_their_users(untitled):
    log = load_source(settings(untitled, untitled="drop"))
    assert log.counts["events_of_untitled_items"] == 240 - log.frame.height > 0
    assert log.counts["users_of_untitled_items"] > 0
    titles = {key: log.catalog.titles[item] for key, item in log.catalog.index.items()}
    assert (titles["i06"], titles["i07"], titles["i08"]) == ("nan", HTML, LONG)
    assert (log.counts["titles_with_html"], log.counts["items_without_events"]) == (1, 1)
    assert "i99" in titles  # it can be recommended


def test_06_or_the_id_is_the_title(untitled):
    log = load_source(settings(untitled, untitled="id"))
    assert [log.catalog.titles[log.catalog.index[key]] for key in ("i03", "i04", "i05")] == ["i03", "i04", "i05"]
    assert log.frame.height == 240


def test_07_short_users_and_those_who_come_late_are_counted_and_not_skipped(tiny):
    add(tiny, "u30,i01,5,1700000500", *(f"u31,i{item:02d},5,{1_700_000_600 + item}" for item in (1, 2)))
    add(tiny, *(f"u32,i{item:02d},5,{1_700_500_000 + item}" for item in range(4)))
    log = load_source(settings(tiny))
    for name in ("last_tenth", "leave_one_out"):
        split = make_split(log, SplitSettings(name=name))
        assert users_in_words(split.counts) == "33 users: 30 evaluated, 3 too short"
    split = make_split(log, SplitSettings(name="global_time"))
    counts = split.counts
    kinds = ("evaluated", "too_short", "without_training_events", "without_liked_events", "only_in_training")
    assert sum(counts[f"users_{kind}"] for kind in kinds) == counts["users"] == 33
    late = log.user_keys.index("u32")
    assert set(split.cold_cases("test").user) | set(split.cold_cases("valid").user) >= {late}
    assert "without training events, evaluated apart" in users_in_words(counts)
    assert summarize(log, split).users_in_words == users_in_words(counts)
