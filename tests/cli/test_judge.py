import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import get_args

import pytest

from napo.cli import judge, main
from napo.evaluation.comparison import Claim
from napo.recipe_keys import MatchName, ProtocolName

TABLE = SimpleNamespace(rich=lambda: "a table", to_json=lambda: {"hr@1": 0.5})


@pytest.fixture
def called(monkeypatch):
    calls = {}

    def evaluate_run(run, **options):
        calls.update(run=run, **options)
        return [TABLE]

    def compare_recipes(recipes, out, *, progress, **options):
        calls.update(recipes=recipes, out=out, **options)
        return SimpleNamespace(tables={"cand20": TABLE}, to_json=lambda: {"tables": 1})

    def write_comparison(comparison, out, *, command):
        calls["command"] = command
        return out / "report.html"

    stand_ins = {
        "napo.evaluation.runs": evaluate_run,
        "napo.training.compare": compare_recipes,
        "napo.training.report": write_comparison,
    }
    for name, function in stand_ins.items():
        module = ModuleType(name)
        setattr(module, function.__name__, function)
        monkeypatch.setitem(sys.modules, name, module)
    return calls


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return ended.value.code


def test_the_command_line_knows_the_recipes_protocols():
    assert get_args(judge.ProtocolName) == get_args(ProtocolName)
    assert get_args(judge.MatchName) == get_args(MatchName)


def test_evaluate_judges_the_test_part_by_the_runs_own_protocols(called, capsys):
    assert run("evaluate", "runs/napo") == 0
    default = {"protocol": None, "part": "test", "ranked": [], "match": None, "base": None}
    assert called == {"run": Path("runs/napo"), **default}
    assert capsys.readouterr().out == "a table\n"


def test_evaluate_takes_ranked_lists_by_a_name_or_by_their_files(called, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.csv").touch()
    words = ["--ranked", "Tool A=one.csv", "--ranked", "Tool A=two.csv", "--ranked", "b.run", "--ranked", "a=b.csv"]
    assert run("evaluate", "recipe.yaml", *words) == 0
    assert called["ranked"] == [
        ("Tool A", Path("one.csv")),
        ("Tool A", Path("two.csv")),
        ("b", Path("b.run")),
        ("a=b", Path("a=b.csv")),
    ]


def test_evaluate_prints_json_on_demand(called, capsys):
    assert run("evaluate", "runs/napo", "--protocol", "full", "--part", "valid", "--json") == 0
    assert (called["protocol"], called["part"]) == ("full", "valid")
    assert json.loads(capsys.readouterr().out) == [{"hr@1": 0.5}]


def test_compare_gives_the_same_overrides_to_all_recipes(called, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b=c"):  # a file's name may look like an override
        (tmp_path / f"{name}.yaml").write_text("data: {source: ml-100k}\n")
    assert run("compare", "a.yaml", "b=c.yaml", "sft.epochs=1", "--seeds", "3") == 0
    assert {str(path): recipe.sft.epochs for path, recipe in called["recipes"].items()} == {
        "a.yaml": 1.0,
        "b=c.yaml": 1.0,
    }
    assert (called["seeds"], called["out"]) == (3, Path("runs/compare"))
    assert called["command"] == "napo compare a.yaml b=c.yaml sft.epochs=1 --seeds 3 --out runs/compare"


def test_compare_asks_what_it_is_told_to(called, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text("data: {source: ml-100k}\n")
    words = ["--against", "S-DPO", "--claim", "NAPO > S-DPO by 15%", "--claim", "NAPO > SFT", "--tried", "NAPO=8"]
    assert run("compare", "a.yaml", *words) == 0
    assert called["base"] == "S-DPO"
    assert called["claims"] == [Claim("NAPO", "S-DPO", ratio=1.15), Claim("NAPO", "SFT")]
    assert called["tried"] == {"NAPO": 8}
    assert called["command"] == (
        "napo compare a.yaml --against S-DPO --claim 'NAPO > S-DPO by 15%' --claim 'NAPO > SFT' --tried NAPO=8"
        " --out runs/compare"
    )


def test_a_claim_that_is_none_is_a_users_mistake(called, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text("data: {source: ml-100k}\n")
    assert run("compare", "a.yaml", "--claim", "NAPO beats SFT") == 2
    assert "'NAPO beats SFT' is no claim" in capsys.readouterr().err
    assert called == {}


def test_compare_without_a_recipe_is_a_users_mistake(called, capsys):
    assert run("compare", "sft.epochs=1") == 2
    assert "no recipes to compare" in capsys.readouterr().err
    assert called == {}
