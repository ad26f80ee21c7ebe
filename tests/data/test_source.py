"""DataSettings and load_source: from the keys of a recipe to a log."""

import csv
import random
from pathlib import Path

import pytest
from pydantic import ValidationError

from napo.data.source import DataSettings, load_source
from napo.data.split import make_split
from napo.errors import UserError


@pytest.fixture
def tiny(tmp_path) -> Path:
    """30 users with 8 events each over 40 items."""
    chance = random.Random(7)
    with (tmp_path / "log.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["user", "item", "rating", "time"])
        for user in range(30):
            for place, item in enumerate(chance.sample(range(40), 8)):
                time = 1_700_000_000 + user * 1000 + place * 60
                rows.writerow([f"u{user:02d}", f"i{item:02d}", chance.choice([3, 4, 5]), time])
    titles = "".join(f"i{item:02d},Title number {item}\n" for item in range(40))
    (tmp_path / "items.csv").write_text("item,title\n" + titles)
    return tmp_path


def test_a_recipes_paths_lie_beside_it_and_its_log_can_be_split(tiny):
    settings = DataSettings(interactions=Path("log.csv"), items=Path("items.csv")).relative_to(tiny)
    log = load_source(settings)
    assert (len(log.user_keys), len(log.catalog), log.frame.height) == (30, 40, 240)
    assert "times: seconds, 2023-11-14 to 2023-11-15" in log.notes
    assert len(make_split(log).cases("test")) == 30


def test_copies_and_repeats_are_counted_and_a_training_item_is_never_a_target(tiny):
    lines = (tiny / "log.csv").read_text().splitlines()
    first = lines[1].split(",")  # u00's first event
    again = [f"{first[0]},{first[1]},1,{int(first[3]) + 3600}"]
    (tiny / "log.csv").write_text("\n".join(lines + [lines[3]] * 10 + again) + "\n")
    settings = DataSettings(interactions=tiny / "log.csv", items=tiny / "items.csv")
    log = load_source(settings)
    assert (log.counts["exact_copies"], log.counts["repeated_events"], log.frame.height) == (10, 1, 240)
    everything = load_source(settings.model_copy(update={"repeats": "all"}))
    assert everything.frame.height == 241
    # u00's last event now is the repeat: no case of the default rule, and counted
    assert make_split(everything).counts["test_targets_seen_before"] == 1


def test_the_four_notations_of_time_give_the_same_log(tiny):
    rows = [line.split(",") for line in (tiny / "log.csv").read_text().splitlines()[1:]]
    from datetime import UTC, datetime, timedelta, timezone

    zone = timezone(timedelta(hours=1))
    notations = {
        "milliseconds": lambda time: str(time * 1000),
        "zoned": lambda time: datetime.fromtimestamp(time, zone).isoformat(),
        "utc": lambda time: datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "no_zone": lambda time: datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S"),
    }
    settings = DataSettings(interactions=tiny / "log.csv", items=tiny / "items.csv")
    digest = load_source(settings).digest
    for name, write in notations.items():
        lines = [",".join([*row[:3], write(int(row[3]))]) for row in rows]
        (tiny / f"{name}.csv").write_text("user,item,rating,time\n" + "\n".join(lines) + "\n")
        assert load_source(settings.model_copy(update={"interactions": tiny / f"{name}.csv"})).digest == digest


def test_an_item_without_a_title_stops_the_run_by_default(tiny):
    lines = (tiny / "items.csv").read_text().replace("i04,Title number 4\n", "i04,\n").splitlines()
    (tiny / "items.csv").write_text("\n".join(line for line in lines if not line.startswith("i03")) + "\n")
    settings = DataSettings(interactions=tiny / "log.csv", items=tiny / "items.csv")
    with pytest.raises(UserError, match=r"1 not in the items file \(i03\); 1 with an empty title \(i04\)") as caught:
        load_source(settings)
    assert caught.value.where == str(tiny / "items.csv")
    log = load_source(settings.model_copy(update={"untitled": "drop"}))
    assert len(log.catalog) == 38
    assert log.counts["events_of_untitled_items"] == 240 - log.frame.height > 0


@pytest.mark.parametrize(
    "keys",
    [{}, {"source": "ml-100k", "interactions": "log.csv"}, {"source": "ml-100k", "items": "items.csv"}, {"sorce": "x"}],
)
def test_settings_name_exactly_one_log(keys):
    with pytest.raises(ValidationError):
        DataSettings(**keys)


def test_a_source_that_was_never_fetched_says_how_to_fetch_it(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPO_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="not here yet") as caught:
        load_source(DataSettings(source="ml-100k"))
    assert caught.value.remedy == "napo data fetch ml-100k"
