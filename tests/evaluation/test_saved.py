from dataclasses import fields, is_dataclass

import numpy as np
import polars as pl
import pytest

from napo.data.candidates import draw_candidates
from napo.data.item_groups import ItemGroups
from napo.errors import UserError
from napo.evaluation.baselines import Chance, Popularity
from napo.evaluation.generated import evaluate_generated
from napo.evaluation.protocols import evaluate_candidates, evaluate_full
from napo.evaluation.saved import load_result, save_result
from napo.evaluation.table import make_table


class Parrot:
    """Writes the title of each list's first candidate."""

    name, normalize = "parrot", "catalog"

    def __init__(self, titles):
        self.titles = titles

    def write(self, histories, candidates):
        return [self.titles[row[0]] for row in candidates.tolist()]


@pytest.fixture(scope="module")
def results(zipf_split):
    cases = zipf_split.cases("test").subset(60, seed=0)
    lists, items = draw_candidates(cases), len(zipf_split.catalog)
    parity = np.eye(2)[np.arange(items) % 2]
    columns = [ItemGroups("parity", ("even", "odd"), parity)]
    return {
        "cand20": evaluate_candidates(Chance(items), cases, lists, groups=columns),
        "full": evaluate_full(Popularity(zipf_split.popularity), cases, k=10, groups=columns),
        "gen20": evaluate_generated(Parrot(zipf_split.catalog.titles), cases, lists, groups=columns),
    }


def assert_same(mine, its):
    """Value by value, types of numbers too."""
    assert type(mine) is type(its)
    if isinstance(mine, np.ndarray):
        assert mine.dtype == its.dtype
        np.testing.assert_array_equal(mine, its)
    elif is_dataclass(mine):
        for one in fields(mine):
            assert_same(getattr(mine, one.name), getattr(its, one.name))
    elif isinstance(mine, dict):
        assert list(mine) == list(its)
        for key in mine:
            assert_same(mine[key], its[key])
    elif isinstance(mine, tuple):
        assert len(mine) == len(its)
        for one, other in zip(mine, its, strict=True):
            assert_same(one, other)
    else:
        assert mine == its or (mine != mine and its != its)


@pytest.mark.parametrize("protocol", ["cand20", "full", "gen20"])
def test_a_result_read_back_is_the_same(protocol, results, tmp_path):
    save_result(results[protocol], tmp_path / "one.parquet")
    assert_same(load_result(tmp_path / "one.parquet"), results[protocol])


def test_a_table_of_results_read_back_is_the_same_table(results, tmp_path):
    save_result(results["full"], tmp_path / "one.parquet")
    again = load_result(tmp_path / "one.parquet")
    assert make_table({"mine": again}).to_json() == make_table({"mine": results["full"]}).to_json()


def test_anybody_can_read_the_ranks(results, tmp_path):
    save_result(results["cand20"], tmp_path / "one.parquet")
    hits = pl.read_parquet(tmp_path / "one.parquet").select((pl.col("ranks") == 1).mean()).item()
    assert hits == results["cand20"].metrics["HR@1"].mean()


def test_a_foreign_file_is_refused_by_name(tmp_path):
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "other.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    for name in ("other", "broken", "missing"):
        with pytest.raises(UserError, match=name):
            load_result(tmp_path / f"{name}.parquet")
