import json
from pathlib import Path

import pytest

from napo.evaluation.comparison import Claim, ClaimResult, Comparison
from napo.evaluation.plots import TrainingLog
from napo.evaluation.report import StageRun
from napo.evaluation.statistics import Estimate
from napo.evaluation.table import ResultTable, TableRow
from napo.evaluation.verdicts import Verdict
from napo.training.compare import compare_recipes
from napo.training.report import _stage_verdicts, in_words, write_comparison, write_run
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
    assert "S-DPO better than SFT among 20 candidates, " in text
    assert "S-DPO better than SFT over the whole catalog, " in text
    assert "Does the order of the candidates change the pick?" in text
    assert "<h1>Comparison on log.csv</h1>" in text
    for run in comparison.runs:  # said on top, and not again
        assert text.count(run.verdicts[-1].replace("'", "&#x27;")) == 1
    drawn = {path.name for path in (out / "plots").glob("*.png")}
    assert len(drawn) >= 4
    assert (out / "table.md").read_text(encoding="utf-8").count("| S-DPO |") == 3  # one a protocol, and its lists
    said = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    assert set(said["tables"]) == {"cand20", "full"}


def test_a_single_run_stands_among_the_baselines(tmp_path):
    recipe = tiny_recipe(tmp_path / "data", **{**SHORT, "evaluation": {"protocols": ["cand20"]}})
    run = train_recipe(recipe, tmp_path / "run", progress=Quiet())
    comparison, page = write_run(run, command="napo train sft.yaml")
    assert page == tmp_path / "run" / "report.html"
    assert [row.name for row in comparison.tables["cand20"].rows] == ["chance", "blind slot rule", "popularity", "SFT"]
    assert "no_history, SFT" in [check.title for check in comparison.tables["cand20"].checks]
    assert run.outcomes["sft"].verdict.replace("'", "&#x27;") in page.read_text(encoding="utf-8")


def row(name, value, against=None):
    estimate = Estimate(value, value - 0.01, value + 0.01, 0.005)
    return TableRow(name, 1, {"HR@1": estimate}, estimate, {}, against)


def test_a_table_is_said_in_words():
    gain = Comparison(Estimate(0.012, 0.003, 0.021, 0.005), 0.01, 0.01, Verdict("held"))
    unsure = Comparison(Estimate(0.004, -0.005, 0.013, 0.005), 0.4, 0.4, Verdict("undecided", 12_000))
    rows = [row("chance", 0.05), row("popularity", 0.25, gain), row("SFT", 0.4)]
    table = ResultTable("", "SFT", "HR@1", [*rows, row("NAPO", 0.412, gain), row("DPO", 0.404, unsure)], {}, [], [])
    assert in_words("cand20", table) == [
        "Among 20 candidates, NAPO puts the target first in 41.2 % of the cases (95 %: 40.2 to 42.2);"
        " popularity in 25.0 %, chance in 5.0 %.",
        "Held: NAPO better than SFT among 20 candidates, +0.012 HR@1 [+0.003, +0.021].",
        "Undecided, 12,000 cases would decide: DPO better than SFT among 20 candidates, +0.004 HR@1 [-0.005, +0.013].",
    ]
    claimed = ClaimResult(
        Claim("NAPO", "DPO", ratio=1.15), Estimate(1.02, 1.01, 1.03, 0.005), 0.01, 0.01, Verdict("held")
    )
    said = in_words("full", ResultTable("", "SFT", "HR@1", rows, {}, [], [], claims=[claimed]))
    assert said[-1] == "Held: NAPO better than DPO by 15% over the whole catalog, x1.020 [1.010, 1.030]."
    bare = ResultTable("", None, "HR@1", rows[:2], {}, [], [])
    assert in_words("cand20", bare) == ["Among 20 candidates: popularity in 25.0 %, chance in 5.0 %."]


def stage(name, best):
    looks = {step: {"step": step, "ndcg": 0.5, "hr@1": 0.3} for step in (0, 8, 9)}
    return StageRun(name, "Preference stage", looks[0], looks[best], looks[9], 9, 1.0, TrainingLog(name, {}), name)


def test_the_stages_of_many_runs_are_counted_and_the_idle_ones_named(compared):
    runs = list(compared[0].runs) * 3
    assert _stage_verdicts(runs, [stage("a", 8), stage("b", 0), stage("c", 0)]) == [
        "2 of 3 stages did not improve on their start, which was kept: b, c."
    ]
    assert _stage_verdicts(runs, [stage("a", 8)]) == ["All stages improved on their start."]
