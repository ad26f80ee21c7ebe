import json
from pathlib import Path

import pytest

from napo.training.compare import compare_recipes
from napo.training.report import write_comparison, write_run
from napo.training.run import train_recipe
from tests.tiny_world import SHORT, Quiet, tiny_recipe


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reported")
    recipes = {
        Path("sft.yaml"): tiny_recipe(folder / "data", **SHORT),
        Path("sdpo.yaml"): tiny_recipe(folder / "data", objective={"name": "sdpo"}, **SHORT),
    }
    return compare_recipes(recipes, folder / "out", progress=Quiet()), folder / "out"


def test_a_comparison_becomes_a_page_pictures_a_table_and_json(compared):
    comparison, out = compared
    page = write_comparison(comparison, out, command="napo compare sft.yaml sdpo.yaml")
    text = page.read_text(encoding="utf-8")
    assert "napo compare sft.yaml sdpo.yaml" in text
    for row in ("chance", "blind slot rule", "popularity", "SASRec", "SFT", "S-DPO"):
        assert row in text
    assert "S-DPO better than SFT" in text
    drawn = {path.name for path in (out / "plots").glob("*.png")}
    assert len(drawn) >= 4
    assert (out / "table.md").read_text(encoding="utf-8").count("| S-DPO |") == 2  # one a protocol
    said = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    assert set(said["tables"]) == {"cand20", "full"}


def test_a_single_run_stands_among_the_baselines(tmp_path):
    recipe = tiny_recipe(tmp_path / "data", **{**SHORT, "evaluation": {"protocols": ["cand20"]}})
    run = train_recipe(recipe, tmp_path / "run", progress=Quiet())
    comparison, page = write_run(run, command="napo train sft.yaml")
    assert page == tmp_path / "run" / "report.html"
    assert [row.name for row in comparison.tables["cand20"].rows] == ["chance", "blind slot rule", "popularity", "SFT"]
    assert run.outcomes["sft"].verdict.replace("'", "&#x27;") in page.read_text(encoding="utf-8")
