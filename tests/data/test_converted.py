"""A converted log: the same log again, its counts and notes too, and nothing but what was written."""

import json
from pathlib import Path

import polars as pl
import pytest

from napo.data.converted import is_converted, read_converted, write_converted
from napo.data.source import DataSettings, files_of, load_source
from napo.data.split import make_split
from napo.errors import UserError
from tests.tiny_world import write_log


@pytest.fixture
def settings(tmp_path) -> DataSettings:
    """30 users of 8 events over 40 items, one line twice and one event repeated; the items have a year."""
    write_log(tmp_path)
    log = tmp_path / "log.csv"
    lines = log.read_text().splitlines()
    user, item, _, time = lines[1].split(",")
    log.write_text("\n".join([*lines, lines[5], f"{user},{item},1,{int(time) + 3600}"]) + "\n")
    items = (tmp_path / "items.csv").read_text().splitlines()
    (tmp_path / "items.csv").write_text("\n".join([f"{items[0]},year", *(f"{line},1999" for line in items[1:])]))
    return DataSettings(interactions=log, items=tmp_path / "items.csv")


def convert(settings: DataSettings, out: Path):
    log = load_source(settings)
    write_converted(log, settings, [path for path in files_of(settings) if path], out)
    return log


def test_a_folder_gives_the_same_log_with_the_counts_of_its_making(settings, tmp_path):
    log = convert(settings, tmp_path / "out")
    again = load_source(DataSettings(interactions=tmp_path / "out"))
    assert again.digest == log.digest
    assert again.frame.equals(log.frame)
    assert again.catalog.columns.equals(log.catalog.columns)
    assert again.counts == log.counts
    assert (again.counts["events_read"], again.counts["exact_copies"], again.counts["repeated_events"]) == (242, 1, 1)
    assert again.notes[:-1] == log.notes
    assert again.notes[-1] == "out: made by `napo data convert` with repeats first, untitled stop"
    assert make_split(again).digest == make_split(log).digest


def test_the_files_can_be_read_by_anybody_and_the_manifest_says_what_was_done(settings, tmp_path):
    convert(settings, tmp_path / "out")
    events = pl.read_parquet(tmp_path / "out" / "log.parquet")
    assert events.schema == {
        "user": pl.String,
        "item": pl.String,
        "time": pl.Datetime("ms", "UTC"),
        "rating": pl.Float64,
    }
    assert pl.read_parquet(tmp_path / "out" / "items.parquet").columns == ["item", "title", "year"]
    said = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert said["rules"]["repeats"] == "first"
    assert set(said["made_from"]) == {"log.csv", "items.csv"}
    assert str(tmp_path) not in json.dumps(said)


def test_repeats_that_were_kept_may_go_later_but_those_that_went_do_not_come_back(settings, tmp_path):
    convert(settings.model_copy(update={"repeats": "all"}), tmp_path / "all")
    assert load_source(DataSettings(interactions=tmp_path / "all")).frame.height == 241
    last = load_source(DataSettings(interactions=tmp_path / "all", repeats="last"))
    assert (last.frame.height, last.counts["repeated_events"], last.counts["exact_copies"]) == (240, 1, 1)
    convert(settings, tmp_path / "first")
    with pytest.raises(UserError, match="made with first"):
        load_source(DataSettings(interactions=tmp_path / "first", repeats="all"))


def test_a_core_of_a_folder_is_the_core_of_its_log(settings, tmp_path):
    convert(settings, tmp_path / "out")
    core = load_source(DataSettings(interactions=tmp_path / "out", core=5))
    assert core.digest == load_source(settings.model_copy(update={"core": 5})).digest
    assert core.counts["events"] + core.counts["events_outside_core"] == 240


def test_a_log_without_times_and_ratings_has_neither_column(tmp_path):
    (tmp_path / "log.csv").write_text("user,item\nu,b\nu,a\n")
    log = convert(DataSettings(interactions=tmp_path / "log.csv", untitled="id"), tmp_path / "out")
    assert pl.read_parquet(tmp_path / "out" / "log.parquet").columns == ["user", "item"]
    assert load_source(DataSettings(interactions=tmp_path / "out")).digest == log.digest


def test_a_file_that_was_meddled_with_is_refused(settings, tmp_path):
    convert(settings, tmp_path / "out")
    path = tmp_path / "out" / "log.parquet"
    pl.read_parquet(path).head(100).write_parquet(path)
    with pytest.raises(UserError, match=r"log\.parquet is not the file that was written"):
        read_converted(tmp_path / "out", DataSettings(interactions=tmp_path / "out"))


def test_a_folder_of_something_else_is_neither_read_nor_written_over(settings, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="something else"):
        convert(settings, tmp_path / "other")
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["thesis.txt"]
    with pytest.raises(UserError, match="holds no converted log"):
        load_source(DataSettings(interactions=tmp_path / "other"))
    convert(settings, tmp_path / "out")
    with pytest.raises(UserError, match="has its own items"):
        load_source(DataSettings(interactions=tmp_path / "out", items=tmp_path / "items.csv"))
    convert(settings, tmp_path / "out")  # over an earlier one
    assert is_converted(tmp_path / "out")
