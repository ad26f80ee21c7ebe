import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from napo.data.prepare import prepare
from napo.errors import UserError
from napo.evaluation.baselines import Chance, Popularity
from napo.evaluation.groups import CaseGroups
from napo.evaluation.judge import judge
from napo.evaluation.saved import save_result
from napo.experiments.plan import load_plan
from napo.experiments.store import Store, collect
from napo.files import write_aside
from tests.experiments.world import write_recipes, write_sweep

SWEEP = """
title: Two rows
methods:
  SFT: {recipe: sft.yaml}
  NAPO: {recipe: napo.yaml}
data: {toy: {}}
seeds: 2
baselines: false
"""


class Loaded:
    """Scores that depend on a seed, as a trained model's do."""

    def __init__(self, items, seed):
        self.name, self.values = f"model {seed}", np.random.default_rng(seed).random(items)

    def candidate_scores(self, histories, candidates):
        return self.values[candidates]


def _close(folder, **costs):
    """What a cell leaves behind beside its results."""
    for name, said in {"checks": {}, "costs": {"seconds": 1.0, "peak_gb": 0.5, **costs}, "done": {}}.items():
        with write_aside(folder / f"{name}.json") as aside:
            aside.write_text(json.dumps(said))


@pytest.fixture
def swept(tmp_path):
    """A plan and a folder in which its cells are done, with results that no training made."""
    write_recipes(tmp_path, evaluation={"protocols": ["cand20"]})
    plan, out = load_plan(write_sweep(tmp_path, SWEEP)), tmp_path / "out"
    for place, cell in enumerate(plan.cells):
        prepared, folder = prepare(cell.recipe), out / "cells" / cell.key
        save_result(judge(Loaded(40, place), prepared, "cand20"), folder / "results" / "cand20.parquet")
        _close(folder)
    return plan, out


def test_a_table_from_the_store_has_the_rows_under_all_seeds(swept, tmp_path):
    store = collect(*swept, tmp_path / "store")
    table = store.table("toy", "cand20")
    assert [(row.name, row.seeds) for row in table.rows] == [("SFT", 2), ("NAPO", 2)]
    assert table.base == "SFT"
    hits = pl.read_parquet(tmp_path / "store" / "metrics.parquet").filter(metric="HR@1", row="NAPO")["value"].mean()
    assert table.rows[1].metrics["HR@1"].value == pytest.approx(hits)


def test_the_store_says_which_case_was_ranked_where(swept, tmp_path):
    collect(*swept, tmp_path / "store")
    cases = pl.read_parquet(tmp_path / "store" / "cand20.parquet")
    assert cases["cell"].n_unique() == 4
    assert cases.select("users", "targets", "ranks").null_count().sum_horizontal().item() == 0


def test_a_row_that_lacks_a_seed_stands_in_no_table_and_is_named(swept, tmp_path):
    plan, out = swept
    (out / "cells" / plan.cells[-1].key / "done.json").unlink()
    store = collect(plan, out, tmp_path / "store")
    assert store.missing("toy", "cand20") == ["NAPO"]
    assert [row.name for row in store.table("toy", "cand20").rows] == ["SFT"]
    assert (store.said["cells"], store.said["done"]) == (4, 3)


def test_the_same_cells_make_the_same_files(swept, tmp_path):
    for name in ("one", "two"):
        collect(*swept, tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_stage_that_was_removed_has_no_curve_and_is_named(swept, tmp_path, caplog):
    plan, out = swept
    for place, cell in enumerate(plan.cells):
        folder = out / "cells" / cell.key
        figures = {"seconds": 1.0, "steps": 1, "folder": f"{cell.key}/preference" if place else "stages/sft-gone"}
        _close(folder, stages={"preference" if place else "sft": figures})
        (folder / "preference").mkdir()
        (folder / "preference" / "metrics.jsonl").write_text('{"loss": 1.5, "step": 1}\n')
    curves = collect(plan, out, tmp_path / "store").curves
    assert sorted(curves["cell"]) == sorted(cell.key for cell in plan.cells[1:])
    assert "sft-gone" in caplog.text
    assert plan.cells[0].row in caplog.text


def test_an_unknown_base_is_named_with_its_neighbours(swept, tmp_path):
    store = collect(*swept, tmp_path / "store")
    with pytest.raises(UserError, match="no row 'NAP0'") as caught:
        store.table("toy", "cand20", base="NAP0")
    assert "`NAPO`" in caught.value.remedy


def test_a_folder_without_a_store_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no results of a sweep"):
        _ = Store(tmp_path).said


def test_baselines_of_one_seed_stand_beside_rows_of_several(swept, tmp_path):
    plan, out = swept
    plan = load_plan(write_sweep(tmp_path, SWEEP.replace("baselines: false", "")))
    for cell in plan.cells:
        if cell.kind in ("popularity", "chance"):
            prepared, folder = prepare(cell.recipe), out / "cells" / cell.key
            scorer = Popularity(prepared.split.popularity) if cell.kind == "popularity" else Chance(40)
            save_result(judge(scorer, prepared, "cand20"), folder / "results" / "cand20.parquet")
            for name, said in {"checks": {}, "costs": {"seconds": 1.0, "peak_gb": 0.5}, "done": {}}.items():
                (folder / f"{name}.json").write_text(json.dumps(said))
    rows = [(row.name, row.seeds) for row in collect(plan, out, tmp_path / "store").table("toy", "cand20").rows]
    assert rows == [("chance", 1), ("popularity", 1), ("SFT", 2), ("NAPO", 2)]


def test_data_sets_with_other_numbers_of_groups_stand_in_one_store(tmp_path):
    write_recipes(tmp_path, evaluation={"protocols": ["cand20"]})
    sweep = """
methods: {SFT: {recipe: sft.yaml}}
data: {one: {}, other: {split: {name: last_tenth, min_history: 4}}}
baselines: false
"""
    plan, out = load_plan(write_sweep(tmp_path, sweep)), tmp_path / "out"
    saved = {}
    for groups, cell in zip((1, 3), plan.cells, strict=True):
        folder, result = out / "cells" / cell.key, judge(Loaded(40, 0), prepare(cell.recipe), "cand20")
        members = np.arange(result.users.size * groups).reshape(-1, groups) % 2 == 0
        saved[cell.data] = replace(result, groups=(CaseGroups("by genre", tuple("abc"[:groups]), members),))
        save_result(saved[cell.data], folder / "results" / "cand20.parquet")
        _close(folder)
    store = collect(plan, out, tmp_path / "store")
    for data, result in saved.items():
        (found,) = store.results(data, "cand20")["SFT"]
        np.testing.assert_array_equal(found.groups[0].members, result.groups[0].members)
        np.testing.assert_array_equal(found.ranks, result.ranks)
