from pathlib import Path

import pytest

from napo.errors import UserError
from napo.experiments.asked import Asked
from napo.experiments.plan import load_plan
from napo.experiments.search_file import load_search
from napo.recipe import load_recipe
from tests.experiments.world import write_recipes, write_sweep

SWEEP = """
methods:
  SFT: {recipe: sft.yaml}
  S-DPO: {recipe: sdpo.yaml, grid: {negatives.count: [1, 3]}}
data: {toy: {}}
seeds: 2
"""


@pytest.fixture
def folder(tmp_path):
    write_recipes(tmp_path)
    return tmp_path


def rows(plan, kind="model"):
    return [(cell.row, cell.seed) for cell in plan.cells if cell.kind == kind]


def keys(plan):
    return [cell.key for cell in plan.cells]


def test_cells_are_the_methods_their_grid_and_the_seeds(folder):
    plan = load_plan(write_sweep(folder, SWEEP))
    assert rows(plan) == [
        *(("SFT", 0), ("SFT", 1)),
        *(("S-DPO, count 1", 0), ("S-DPO, count 1", 1)),
        *(("S-DPO, count 3", 0), ("S-DPO, count 3", 1)),
    ]
    assert [cell.recipe.negatives.count for cell in plan.cells if cell.method == "S-DPO"] == [1, 1, 3, 3]


def test_sasrec_has_a_cell_a_seed_and_what_is_not_trained_has_one(folder):
    plan = load_plan(write_sweep(folder, SWEEP))
    assert rows(plan, "SASRec") == [("SASRec", 0), ("SASRec", 1)]
    assert [rows(plan, kind) for kind in ("popularity", "chance", "blind slot rule")] == [
        [("popularity", 0)],
        [("chance", 0)],
        [("blind slot rule", 0)],
    ]
    assert rows(load_plan(write_sweep(folder, SWEEP + "baselines: false")), "popularity") == []


def test_a_key_follows_all_that_decides_the_results_and_nothing_else(folder):
    before = keys(load_plan(write_sweep(folder, SWEEP)))
    assert len(set(before)) == len(before)
    assert keys(load_plan(write_sweep(folder, "title: Another\n" + SWEEP, "other.yaml"))) == before
    changed = keys(load_plan(write_sweep(folder, SWEEP), ["preference.lr=0.5"]))
    cells = load_plan(write_sweep(folder, SWEEP)).cells
    # the baselines do not depend on how a language model is trained
    assert [one == other for one, other in zip(before, changed, strict=True)] == [c.kind != "model" for c in cells]
    (folder / "log.csv").write_text((folder / "log.csv").read_text() + "u00,i39,5,1900000000\n")
    assert not set(keys(load_plan(write_sweep(folder, SWEEP)))) & set(before)


def test_cells_that_share_a_start_say_so(folder):
    plan = load_plan(write_sweep(folder, SWEEP))
    starts = {
        cell.seed: {c.start for c in plan.cells if c.kind == "model" and c.seed == cell.seed} for cell in plan.cells
    }
    assert all(len(found) == 1 for found in starts.values())
    assert starts[0] != starts[1]
    longer = load_plan(write_sweep(folder, SWEEP + "grid: {sft.epochs: [0.5, 1.0]}"))
    assert len({cell.start for cell in longer.cells if cell.kind == "model"}) == 4


def test_a_data_set_takes_the_place_of_the_recipes_own(folder):
    text = SWEEP.replace("{toy: {}}", "{toy: {}, other: {data: {interactions: other.csv, items: items.csv}}}")
    (folder / "other.csv").write_text((folder / "log.csv").read_text())
    cells = [cell for cell in load_plan(write_sweep(folder, text)).cells if cell.data == "other"]
    assert cells
    assert all(cell.recipe.data.interactions == folder / "other.csv" for cell in cells)


def test_keys_for_all_give_way_to_a_methods_own_and_these_to_the_command_line(folder):
    text = SWEEP + "with: {sft: {epochs: 3}, preference: {epochs: 3}}"
    text = text.replace("SFT: {recipe: sft.yaml}", "SFT: {recipe: sft.yaml, with: {sft: {epochs: 4}}}")
    plan = load_plan(write_sweep(folder, text), ["preference.epochs=5"])
    sft, sdpo = plan.cells[0].recipe, plan.cells[2].recipe
    assert (sft.sft.epochs, sdpo.sft.epochs, sdpo.preference.epochs) == (4, 3, 5)


MISTAKES = {
    "an unknown key": ("methds: {}\n" + SWEEP, ["unknown key `methds`", "line 1", "`methods`"]),
    "no methods": ("data: {toy: {}}", ["`methods` is missing"]),
    "empty methods": ("methods: {}", ["`methods` is empty", "line 1"]),
    "a method without a recipe": ("methods: {A: {}}", ["`methods.A.recipe` is missing", "line 1"]),
    "a method's unknown key": (
        "methods: {A: {recipe: sft.yaml, sets: {}}}",
        ["unknown key `methods.A.sets`", "line 1"],
    ),
    "a recipe that is not there": ("methods: {A: {recipe: sfft.yaml}}", ["no recipe", "sfft.yaml", "line 1"]),
    "a key twice": (SWEEP + "seeds: 3", ["`seeds` is given twice", "line 7"]),
    "no seeds": (SWEEP.replace("seeds: 2", "seeds: 0"), ["`seeds", "at least 1"]),
    "one seed twice": (SWEEP.replace("seeds: 2", "seeds: [1, 1]"), ["`seeds", "different seeds"]),
    "a grid that is no list": (SWEEP + "grid: {sft.lr: 1e-3}", ["`grid.sft.lr`", "a list"]),
    "an empty grid": (SWEEP + "grid: {sft.lr: []}", ["`grid.sft.lr` is empty"]),
    "a key that recipes don't have": (
        SWEEP + "grid: {sft.speed: [1]}",
        ["unknown key `sft.speed`", "sweep.yaml, line 7"],
    ),
    "a value that recipes refuse": (SWEEP + "grid: {sft.lr: [-1]}", ["`sft.lr` is -1", "sweep.yaml, line 7"]),
    "a wrong key for all": (SWEEP + "with: {sft: {lr: fast}}", ["`sft.lr`", "a number", "sweep.yaml, line 7"]),
    "different tasks": (
        SWEEP.replace("SFT: {recipe: sft.yaml}", "SFT: {recipe: sft.yaml, with: {candidates: {count: 10}}}"),
        ["S-DPO and SFT differ in candidates.count", "different tasks"],
    ),
    "a data set that is not there": (
        SWEEP.replace("toy: {}", "toy: {extends: tyo.yaml}"),
        ["no data set", "tyo.yaml to extend", "sweep.yaml, line 5"],
    ),
    "two data sets in one": (
        SWEEP.replace("toy: {}", "toy: {extends: [a.yaml, b.yaml]}"),
        ["`extends` should be the path of one data set", "sweep.yaml, line 5"],
    ),
    "a budget of nobody": (SWEEP + "tried: {SDPO: 8}", ["`tried` names no method: 'SDPO'", "`S-DPO`"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_its_line(mistake, folder):
    text, said = MISTAKES[mistake]
    with pytest.raises(UserError) as caught:
        load_plan(write_sweep(folder, text))
    whole = "\n".join([str(caught.value), *(f"{error}" for error in getattr(caught.value, "errors", []))])
    assert [part for part in said if part not in whole] == [], whole


class TestADataSetThatExtendsAFile:
    """What sweeps share of a data set, and what they change."""

    @pytest.fixture
    def shared(self, folder):
        (folder / "data").mkdir()
        for name in ("log.csv", "items.csv"):
            (folder / name).rename(folder / "data" / name)
        text = "data: {interactions: log.csv, items: items.csv}\nsft: {epochs: 7, lr: 0.25}\n"
        return write_sweep(folder / "data", text, "toy.yaml")

    def test_it_lies_over_the_file_and_the_files_own_paths_start_there(self, folder, shared):
        sweep = SWEEP.replace("toy: {}", "toy: {extends: data/toy.yaml, sft: {lr: 0.5}}")
        recipe = load_plan(write_sweep(folder, sweep)).cells[0].recipe
        assert (recipe.sft.epochs, recipe.sft.lr) == (7, 0.5)
        assert recipe.data.interactions == shared.parent / "log.csv"

    def test_it_is_as_if_it_were_written_out(self, folder, shared):
        whole = "toy: {data: {interactions: data/log.csv, items: data/items.csv}, sft: {epochs: 7, lr: 0.25}}"
        one = load_plan(write_sweep(folder, SWEEP.replace("toy: {}", "toy: {extends: data/toy.yaml}")))
        other = load_plan(write_sweep(folder, SWEEP.replace("toy: {}", whole), "whole.yaml"))
        assert keys(one) == keys(other)

    def test_a_mistake_in_the_file_is_named_with_the_files_line(self, folder, shared):
        shared.write_text("data: {interactions: log.csv, items: items.csv}\nsft: {lr: -1}\n")
        with pytest.raises(UserError, match=r"toy\.yaml, line 2"):
            load_plan(write_sweep(folder, SWEEP.replace("toy: {}", "toy: {extends: data/toy.yaml}")))

    def test_the_files_folder_can_be_named_in_a_command(self, folder, shared):
        sweep = "bring: [toy]\n" + SWEEP.replace("toy: {}", "toy: {extends: data/toy.yaml}")
        (folder / "brought").mkdir()
        for name in ("log.csv", "items.csv"):
            (shared.parent / name).rename(folder / "brought" / name)
        plan = load_plan(write_sweep(folder, sweep), asked=Asked(data={"toy": folder / "brought"}))
        assert plan.cells[0].recipe.data.interactions == (folder / "brought" / "log.csv").resolve()


ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "sweeps").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_sweep_loads_down_to_its_cells(path):
    plan = load_plan(path)
    assert {cell.method for cell in plan.cells if cell.kind == "model"} == set(plan.sweep.methods)
    assert plan.sweep.base in plan.sweep.methods


def test_the_searched_recipes_are_those_that_the_sweeps_compare_and_differ_in_what_was_searched():
    """The start is the same file's for all, so the methods differ in their own sections alone."""
    search = load_search(ROOT / "searches" / "ml100k.yaml")
    for method in search.methods:
        found = load_recipe(ROOT / "recipes" / "ml100k" / "searched" / f"{method.name}.yaml", methods=True)
        changed = {name for name, value in found.resolved().items() if value != method.recipe.resolved()[name]}
        assert changed <= {"objective", "preference"}
        assert set(method.stored({key: _at(found.resolved(), key) for key in method.space})) == set(method.space)


def _at(data, key):
    for part in key.split("."):
        data = data[part]
    return data
