import json

import polars as pl
import pytest

from napo.data.export import export_cases
from napo.data.prepare import prepare
from napo.errors import UserError
from tests.tiny_world import tiny_recipe


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare(tiny_recipe(tmp_path_factory.mktemp("data")))


def test_the_tables_hold_the_split_and_no_test_target(prepared, tmp_path):
    rows = export_cases(prepared, tmp_path / "out", full_cases=7)
    assert rows == {
        "train": 180,
        "items": 40,
        "valid_cases": 30,
        "valid_candidates": 600,
        "test_cases": 30,
        "test_candidates": 600,
    }
    tables = {name: pl.read_parquet(tmp_path / "out" / f"{name}.parquet") for name in rows}
    assert tables["train"].columns == ["user", "position", "item", "time"]
    assert tables["test_cases"].columns == ["user", "position", "history", "full"]
    assert tables["test_cases"]["full"].sum() == 7
    # each user has 8 events: 6 to train on, then one for validation, and the history of the test case holds both
    first = tables["train"].filter(pl.col("user") == "u00")["item"].to_list()
    case = tables["test_cases"].row(by_predicate=pl.col("user") == "u00", named=True)
    held = tables["valid_cases"].row(by_predicate=pl.col("user") == "u00", named=True)
    assert case["history"] == [*first, held["target"]]
    assert (held["history"], held["position"], case["position"]) == (first, 6, 7)
    listed = tables["test_candidates"].filter(pl.col("user") == "u00")["item"].to_list()
    keys = prepared.log.catalog.keys
    assert listed == [keys[item] for item in prepared.test_lists.items[0]]
    assert keys[prepared.test.target[0]] in listed
    assert set(tables["items"]["item"]) == {f"i{item:02d}" for item in range(40)}
    assert tables["items"]["events"].sum() == 180


def test_csv_holds_the_same_with_lists_as_json(prepared, tmp_path):
    export_cases(prepared, tmp_path / "p")
    export_cases(prepared, tmp_path / "c", form="csv")
    theirs, ours = (
        pl.read_csv(tmp_path / "c" / "test_cases.csv"),
        pl.read_parquet(tmp_path / "p" / "test_cases.parquet"),
    )
    assert [json.loads(text) for text in theirs["history"]] == ours["history"].to_list()
    assert theirs["user"].to_list() == ours["user"].to_list()
    assert ours["full"].all()


def test_the_readme_says_how_to_hand_lists_in(prepared, tmp_path):
    export_cases(prepared, tmp_path / "out", asked="mine.yaml")
    text = (tmp_path / "out" / "README.md").read_text()
    assert "napo evaluate mine.yaml --protocol full --ranked" in text
    assert prepared.test_lists.digest[:12] in text


def test_an_export_replaces_an_export_and_nothing_else(prepared, tmp_path):
    export_cases(prepared, tmp_path / "out", form="csv")
    export_cases(prepared, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.csv"))
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.txt").write_text("irreplaceable")
    with pytest.raises(UserError, match="holds no export"):
        export_cases(prepared, tmp_path / "work")
    assert (tmp_path / "work" / "thesis.txt").is_file()
