"""A server's traffic trains the next preference stage: run, events, log with exposures, run."""

import json

import polars as pl
import pytest
import yaml

from napo.events import Event
from napo.events.store import FILE, EventStore
from tests.commands import napo_in
from tests.tiny_world import tiny_keys

USERS, LISTS, SHOWN, COUNT = 30, 5, 4, 3
MINUTE = 60_000
START = 1_720_000_000_000  # after all events of the first log


def lists_of(user: int, taken: list[int]) -> list[Event]:
    """Five lists of four items that the user had not, of which the second is taken a minute later."""
    free = [item for item in range(40) if item not in taken]
    events = []
    for number in range(LISTS):
        items, request = free[SHOWN * number : SHOWN * (number + 1)], f"u{user}-{number}"
        time = START + 10 * number * MINUTE
        for place, item in enumerate(items, start=1):
            said = {"time": time, "request": request, "position": place, "propensity": 0.2 * place}
            events.append(Event(f"u{user:02d}", f"i{item:02d}", "shown", key=f"{request}-{place}", **said))
        took = {"time": time + MINUTE, "request": request, "key": f"{request}-took"}
        events.append(Event(f"u{user:02d}", f"i{items[1]:02d}", "took", **took))
    return events


@pytest.mark.slow
def test_what_a_server_showed_trains_the_next_stage_of_the_model_that_it_served(tmp_path):
    napo, keys = napo_in(tmp_path), tiny_keys(tmp_path)
    keys["sft"]["epochs"] = keys["preference"]["epochs"] = 0.5
    (tmp_path / "first.yaml").write_text(yaml.safe_dump({**keys, "auxiliary": None}))
    assert napo("train", "first.yaml", "--out", "runs/first").code == 0

    log = pl.read_csv(tmp_path / "log.csv")
    with EventStore.open(tmp_path / "runs" / "first" / FILE) as store:
        for user in range(USERS):
            items = log.filter(pl.col("user") == f"u{user:02d}")["item"]
            store.append(lists_of(user, [int(item[1:]) for item in items]))
    ran = napo("data", "from-events", f"runs/first/{FILE}", "--run", "runs/first", "--out", "traffic")
    assert (ran.code, ran.out) == (0, "traffic\n")
    assert "data: {interactions: traffic, exposures: traffic/exposures.parquet}" in ran.err
    exposures = pl.read_parquet(tmp_path / "traffic" / "exposures.parquet")
    assert exposures.height == USERS * LISTS * (SHOWN - 1)

    second = {
        "data": {"interactions": "traffic", "exposures": "traffic/exposures.parquet"},
        "model": {"name": "./runs/first/model"},
        "sft": None,
        "auxiliary": None,
        "preference": keys["preference"],
        "objective": {"name": "sdpo"},
        "negatives": {"name": "exposed", "count": COUNT, "weights": "inverse_propensity"},
    }
    (tmp_path / "second.yaml").write_text(yaml.safe_dump(second))
    ran = napo("train", "second.yaml", "--out", "runs/second")
    assert ran.code == 0, ran.err
    # 13 events a user: 11 train, one validates, one tests; the lists of these two are unknown to training, and the
    # three before them have nine items that nobody took, enough for any draw
    said = json.loads((tmp_path / "runs" / "second" / "preference" / "negatives.json").read_text())
    assert said == {"rejected": USERS * 11 * COUNT, "rejected_fallen_back": 0}
    assert "negatives exposed: 0 of 990 rejected items" in ran.err
    read = json.loads((tmp_path / "runs" / "second" / "run.json").read_text())["read"]
    assert (read["exposures"], read["shown_and_taken"]) == (USERS * LISTS * (SHOWN - 1), USERS * LISTS)


def test_a_recipe_with_exposed_negatives_and_no_exposures_is_told_what_is_missing(tmp_path):
    keys = tiny_keys(tmp_path) | {"objective": {"name": "sdpo"}, "negatives": {"name": "exposed"}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(keys))
    ran = napo_in(tmp_path)("train", "recipe.yaml", "--out", "run")
    assert ran.code == 2
    assert "draws from what users were shown" in ran.err
    assert "data.exposures: FILE" in ran.err
    assert not (tmp_path / "run").exists()


def test_a_store_that_is_not_there_is_not_made(tmp_path):
    ran = napo_in(tmp_path)("data", "from-events", "events.db", "--out", "traffic")
    assert ran.code == 2
    assert "there is no event store events.db" in ran.err
    assert list(tmp_path.iterdir()) == []
