"""What a model remembers of the log: made from a split, written and read."""

import numpy as np
import polars as pl
import pytest

from napo.data.catalog import Catalog
from napo.data.histories import POPULARITY, USERS, Histories
from napo.data.split import Split
from napo.errors import UserError

SPLIT = Split(
    name="last_tenth",
    catalog=Catalog(("a", "b", "c"), ("A", "B", "C")),
    user_keys=("u", "v"),
    sequences=(np.array([2, 0, 1]), np.array([], dtype=np.int64)),
    known=(np.array([0, 1, 2]), np.array([1])),
    valid_from=np.array([1, 0]),
    test_from=np.array([2, 0]),
)


def test_held_out_events_are_remembered_but_do_not_count_as_popularity():
    histories = Histories.of(SPLIT)
    assert histories.liked[0].tolist() == [2, 0, 1]
    assert histories.popularity.tolist() == [0, 0, 1]  # training is the first event alone


def test_saved_histories_come_back_whole(tmp_path):
    Histories.of(SPLIT).save(tmp_path)
    back = Histories.load(tmp_path, items=3)
    assert back.user_keys == ("u", "v")
    assert back.index == {"u": 0, "v": 1}
    assert [items.tolist() for items in back.liked] == [[2, 0, 1], []]
    assert [items.tolist() for items in back.known] == [[0, 1, 2], [1]]
    assert back.popularity.tolist() == [0, 0, 1]


def test_histories_of_another_catalog_are_refused(tmp_path):
    Histories.of(SPLIT).save(tmp_path)
    with pytest.raises(UserError, match="of 3 items, the model's has 2"):
        Histories.load(tmp_path, items=2)


def test_a_missing_a_broken_and_a_foreign_file_are_user_errors(tmp_path):
    Histories.of(SPLIT).save(tmp_path)
    (tmp_path / POPULARITY).unlink()
    with pytest.raises(UserError, match=r"popularity\.parquet is missing"):
        Histories.load(tmp_path, items=3)
    (tmp_path / POPULARITY).write_bytes(b"PAR1 no more")
    with pytest.raises(UserError, match=r"popularity\.parquet can't be read"):
        Histories.load(tmp_path, items=3)
    pl.DataFrame({"other": [1]}).write_parquet(tmp_path / USERS)
    pl.DataFrame({"events": [0, 0, 1]}).write_parquet(tmp_path / POPULARITY)
    with pytest.raises(UserError, match="no histories"):
        Histories.load(tmp_path, items=3)
