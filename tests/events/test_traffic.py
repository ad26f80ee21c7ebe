"""From events to what training reads."""

from pathlib import Path

import polars as pl
import pytest

from napo.data.source import DataSettings, load_source
from napo.errors import UserError
from napo.events import Event
from napo.events.traffic import Base, traffic_of, write_traffic
from tests.tiny_world import write_log

T0 = 1_720_000_000_000  # after all events of tiny_world's log


def event(user: str, item: str, kind: str, time: int, request: str | None = None, **more) -> Event:
    return Event(user, item, kind, T0 + time, request, **more)


SHOWN = [event("u", item, "shown", 1, "r1", position=place, propensity=0.5) for place, item in enumerate("abc", 1)]


def test_what_was_shown_and_taken_from_the_same_list_is_no_rejection():
    traffic = traffic_of([*SHOWN, event("u", "b", "took", 2, "r1"), event("u", "c", "took", 9, "r2")])
    assert traffic.taken.rows() == [("u", "b", T0 + 2), ("u", "c", T0 + 9)]
    # c was taken later, from another list: in this one it was not
    assert traffic.shown["item"].to_list() == ["a", "c"]
    assert traffic.shown.select("position", "propensity", "answered").rows() == [(1, 0.5, T0 + 2), (3, 0.5, T0 + 2)]
    assert traffic.counts == {
        "events_of_the_store": 5, "taken": 2, "shown": 3, "shown_and_taken": 1, "skipped": 0
    }  # fmt: skip


def test_shown_and_skipped_in_one_list_are_one_rejection_that_keeps_its_place():
    traffic = traffic_of([*SHOWN, event("u", "a", "skipped", 5, "r1")])
    first = traffic.shown.row(0, named=True)
    assert (first["item"], first["skipped"], first["position"], first["time"]) == ("a", True, 1, T0 + 1)
    assert traffic.shown.height == 3
    assert traffic.counts["skipped"] == 1


def test_without_a_request_each_event_is_a_list_of_its_own():
    traffic = traffic_of([event("u", "a", "shown", 1), event("u", "a", "shown", 2), event("u", "a", "took", 3)])
    assert traffic.shown["time"].to_list() == [T0 + 1, T0 + 2]


def test_the_folder_holds_a_log_that_is_read_with_its_exposures(tmp_path):
    events = [*SHOWN, *(event("u", item, "took", 10 + place, "r1") for place, item in enumerate("bde"))]
    titles = pl.DataFrame({"item": list("abcde"), "title": [f"Title {item}" for item in "abcde"]})
    made = write_traffic(events, tmp_path / "out", items=titles)
    log = load_source(DataSettings(interactions=tmp_path / "out", exposures=tmp_path / "out" / "exposures.parquet"))
    assert log.digest == made.digest
    assert log.catalog.titles == tuple(f"Title {item}" for item in "abcde")
    assert log.exposures.select("item", "time", "position", "propensity").rows() == [
        (0, T0 + 1, 1, 0.5),
        (2, T0 + 1, 3, 0.5),
    ]
    assert log.counts["shown_and_taken"] == 1


def test_the_log_of_the_run_goes_first_and_its_catalog_stays(tmp_path):
    write_log(tmp_path)
    settings = DataSettings(interactions=tmp_path / "log.csv", items=tmp_path / "items.csv")
    old = load_source(settings)
    kept = set(old.catalog.keys) - {old.catalog.keys[item] for item in old.frame.filter(pl.col("user") == 0)["item"]}
    new, *_ = sorted(kept)
    events = [
        event("u00", new, "took", 1, "r"),
        event("u00", new, "took", 2, "r"),  # again
        event("newcomer", "i01", "took", 3, "r"),
        event("u00", "i99", "took", 4, "r"),  # of no item that the run knows
        event("u00", "i02", "shown", 4, "r", position=7),
    ]
    log = write_traffic(events, tmp_path / "out", base=Base(old, settings, rating=4.0))
    assert log.catalog.digest == old.catalog.digest
    assert log.frame.height == old.frame.height + 2
    assert log.user_keys == ("newcomer", *old.user_keys)
    newest = log.frame.filter(pl.col("user") == 1).row(-1, named=True)
    assert (log.catalog.keys[newest["item"]], newest["time"], newest["rating"]) == (new, T0 + 1, 4.0)
    assert log.counts["items_not_in_items_file"] == 1
    # traffic after that goes on from it, exposures too
    exposures = tmp_path / "out" / "exposures.parquet"
    settings = DataSettings(interactions=tmp_path / "out", exposures=exposures)
    later = [event("u00", "i03", "shown", 9, "s"), event("u01", new, "took", 9, "s")]
    write_traffic(later, tmp_path / "next", base=Base(load_source(settings), settings, 4.0))
    both = pl.read_parquet(tmp_path / "next" / "exposures.parquet")
    assert both.select("user", "item", "position").rows() == [("u00", "i02", 7), ("u00", "i03", None)]


@pytest.mark.parametrize("events", [[], SHOWN])
def test_without_anything_taken_there_is_no_log(events, tmp_path):
    with pytest.raises(UserError, match="no event says that an item was taken"):
        write_traffic(events, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_whose_log_has_no_times_can_not_be_gone_on_from(tmp_path):
    write_log(tmp_path)
    text = Path(tmp_path / "log.csv").read_text().splitlines()
    (tmp_path / "log.csv").write_text("\n".join(line.rpartition(",")[0] for line in text) + "\n")
    settings = DataSettings(interactions=tmp_path / "log.csv", items=tmp_path / "items.csv")
    with pytest.raises(UserError, match="no times") as caught:
        write_traffic([event("u", "i01", "took", 1)], tmp_path / "out", base=Base(load_source(settings), settings))
    assert caught.value.where == "--run"
