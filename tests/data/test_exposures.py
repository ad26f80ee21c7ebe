"""Exposures: read, matched with the log, and cut where training ends."""

from pathlib import Path

import numpy as np
import pytest

from napo.data.exposures import known_to_training
from napo.data.source import DataSettings, load_source
from napo.data.split import SplitSettings, make_split
from napo.errors import UserError

T0 = 1_700_000_000
HEAD = "user,item,time,position,propensity\n"


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two users who take seven and eight items, one a minute, u1 an hour after u0; of eight items."""
    rows = [f"u0,i{step},{T0 + 60 * step}" for step in range(7)]
    rows += [f"u1,i{step},{T0 + 3600 + 60 * step}" for step in range(8)]
    (tmp_path / "log.csv").write_text("user,item,time\n" + "\n".join(rows) + "\n")
    (tmp_path / "items.csv").write_text("item,title\n" + "".join(f"i{item},Title {item}\n" for item in range(8)))
    return tmp_path


def load(folder: Path, exposures: str):
    (folder / "shown.csv").write_text(exposures)
    return load_source(
        DataSettings(interactions=folder / "log.csv", items=folder / "items.csv", exposures=folder / "shown.csv")
    )


def test_they_get_the_logs_numbers_and_what_is_unknown_is_left_out_and_counted(folder):
    log = load(folder, HEAD + f"u1,i7,{T0},2,0.5\nu0,i3,{T0 + 5},,\nghost,i1,{T0},1,1\nu0,i99,{T0},1,1\nu0,i1,,1,1\n")
    assert log.exposures.select("user", "item", "position", "propensity").rows() == [(0, 3, None, None), (1, 7, 2, 0.5)]
    assert log.exposures["time"].to_list() == [(T0 + 5) * 1000, T0 * 1000]
    counts = {name: number for name, number in log.counts.items() if "exposures" in name}
    assert counts == {
        "exposures_read": 5,
        "exposures_of_unknown_users": 1,
        "exposures_of_unknown_items": 1,
        "exposures_without_time": 1,
        "exposures": 2,
        "users_with_exposures": 2,
    }
    assert log.examples["exposures_of_unknown_items"] == ("i99",)


def test_positions_and_propensities_may_be_missing_altogether(folder):
    log = load(folder, f"user,item,time\nu0,i7,{T0}\n")
    assert log.exposures.select("position", "propensity").rows() == [(None, None)]


def test_training_knows_those_from_before_the_users_first_held_out_event(folder):
    # of u0's seven events the sixth validates, at minute 5
    rows = [f"u0,i7,{T0 + 60 * minute}" for minute in (0, 4, 5, 6)]
    log = load(folder, "user,item,time\n" + "\n".join(rows) + "\n")
    split = make_split(log, SplitSettings(name="leave_one_out"))
    known = known_to_training(log, split)
    assert list(known) == [0]
    assert known[0].times.tolist() == [T0 * 1000, (T0 + 240) * 1000]
    assert known[0].positions.tolist() == [0, 0]
    assert np.isnan(known[0].propensities).all()


def test_training_knows_a_list_only_where_it_knows_what_was_taken_from_it(folder):
    # u0's first held-out event is at minute 5: taken from a list that was shown at minute 4
    rows = [f"u0,i7,{T0 + 60},{T0 + 120}", f"u0,i6,{T0 + 240},{T0 + 300}", f"u0,i7,{T0 + 250},"]
    log = load(folder, "user,item,time,answered\n" + "\n".join(rows) + "\n")
    known = known_to_training(log, make_split(log, SplitSettings(name="leave_one_out")))
    assert known[0].times.tolist() == [(T0 + 60) * 1000, (T0 + 250) * 1000]


def test_under_global_time_training_knows_those_from_before_any_held_out_event(folder):
    rows = [f"u0,i7,{T0 + 60}", f"u0,i7,{T0 + 36_000}"]
    log = load(folder, "user,item,time\n" + "\n".join(rows) + "\n")
    split = make_split(log, SplitSettings(name="global_time", min_history=1))
    assert split.valid_from[0] == 7  # nothing of u0 is held out
    assert known_to_training(log, split)[0].times.tolist() == [(T0 + 60) * 1000]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("user,item\nu0,i1\n", "exposures need times"),
        (f"user,time\nu0,{T0}\n", "no column 'item'"),
        (HEAD + f"u0,i1,{T0},0,1\n", "'0' is no position"),
        (HEAD + f"u0,i1,{T0},1,1\nu0,i1,{T0},1.5,1\n", "'1.5' is no position"),
        (HEAD + f"u0,i1,{T0},top,1\n", "'top' is no position"),
        (HEAD + f"u0,i1,{T0},1,0\n", "'0' is no propensity"),
        (HEAD + f"u0,i1,{T0},1,1.01\n", "'1.01' is no propensity"),
        (f"user,item,time\nx,y,{T0}\n", "no exposure is of a user and an item of the log"),
    ],
)
def test_what_does_not_do_is_a_users_mistake_with_its_place(folder, text, said):
    with pytest.raises(UserError) as caught:
        load(folder, text)
    assert said in caught.value.what
    assert "shown.csv" in caught.value.where
    assert caught.value.remedy


def test_a_log_without_times_has_no_exposures(folder):
    (folder / "log.csv").write_text("user,item\nu0,i1\nu0,i2\n")
    with pytest.raises(UserError, match="exposures need times") as caught:
        load(folder, f"user,item,time\nu0,i1,{T0}\n")
    assert caught.value.where == "data.interactions"
