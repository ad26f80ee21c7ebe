"""What people get wrong in a sweep file and in the words beside it: all of it is told before a cell begins."""

from pathlib import Path

import pytest

from tests.commands import assert_said, napo_in, nothing_changes_in, write_desk

SFT = "methods: {SFT: {recipe: sft.yaml}}\n"
CLAIM = "claims: [{says: it helps, better: SFT, worse: popularity}]\n"

SWEEPS = {
    "an empty sweep": ("", ["`methods` is missing", "bad.yaml"]),
    "a list for a sweep": ("- methods", ["a sweep is made of keys and values", "bad.yaml"]),
    "an open bracket": ("methods: {", ["no valid YAML", "bad.yaml"]),
    "no methods": ("methods: {}", ["`methods` is empty", "line 1"]),
    "a method that is a file": ("methods: {A: sft.yaml}", ["`methods.A` is", "a section of `key: value` lines"]),
    "a method without a recipe": ("methods: {A: {}}", ["`methods.A.recipe` is missing", "line 1"]),
    "a recipe that is not there": ("methods: {A: {recipe: no.yaml}}", ["no recipe no.yaml", "line 1"]),
    "a number for a recipe": ("methods: {A: {recipe: 3}}", ["`methods.A.recipe` is 3, but should be a path"]),
    "a key nobody knows": (SFT + "wiht: {}", ["unknown key `wiht`", "`with`", "line 2"]),
    "a recipe's key nobody knows": (SFT + "with: {sft: {rate: 1}}", ["unknown key `sft.rate`", "line 2"]),
    "a grid over nothing": (SFT + "grid: {sft.lr: []}", ["`grid.sft.lr` is empty", "line 2"]),
    "a grid of one number": (SFT + "grid: {sft.lr: 1}", ["`grid.sft.lr` is 1, but should be a list"]),
    "a grid over a key nobody knows": (SFT + "grid: {sft.rate: [1]}", ["unknown key `sft.rate`", "line 2"]),
    "a value that its key can't have": (SFT + "grid: {sft.lr: [-1]}", ["`sft.lr` is -1, but should be above 0"]),
    "no seeds": (SFT + "seeds: 0", ["`seeds` is 0, but should be at least 1", "line 2"]),
    "a seed twice": (SFT + "seeds: [1, 1]", ["`seeds`: should be a number, or a list of different seeds"]),
    "a seed below zero": (SFT + "seeds: [-1]", ["`seeds.0` is -1, but should be at least 0"]),
    "a seed that no generator takes": (SFT + "seeds: [99999999999999]", ["`seeds.0` is 99999999999999", "below"]),
    "no data sets": (SFT + "data: {}", ["`data` is empty", "line 2"]),
    "a list of data sets": (SFT + "data: [mine]", ["`data` is", "a section of `key: value` lines"]),
    "a section of no recipe": (SFT + "data: {mine: {daat: {}}}", ["unknown key `daat`", "`data`", "line 2"]),
    "a row to compare with": (SFT + "base: SFTT", ["`base`: there will be no row 'SFTT'", "`SFT`", "line 2"]),
    "a budget of nobody": (SFT + "tried: {SFTT: 3}", ["`tried` names no method: 'SFTT'", "`SFT`"]),
    "a claim of another kind": (SFT + CLAIM.replace("better", "kind: magic, better"), ["`claims.0.kind` cannot be"]),
    "a claim of half a pair": (SFT + CLAIM.replace(", worse: popularity", ""), ["accuracy needs `worse`", "line 2"]),
    "a claim on nobody": (SFT + CLAIM.replace("popularity", "populraity"), ["no row 'populraity'", "`popularity`"]),
    "a claim that nobody judges": (SFT + CLAIM.replace("better", "protocol: full, better"), ["judged by full"]),
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    desk = tmp_path_factory.mktemp("desk")
    write_desk(desk)
    (desk / "sweep.yaml").write_text(SFT)
    (desk / "SFT.yaml").write_text("extends: sft.yaml\n")
    return desk


@pytest.mark.parametrize("mistake", SWEEPS)
def test_a_sweep_files_mistake(desk, mistake):
    text, said = SWEEPS[mistake]
    (desk / "bad.yaml").write_text(text + "\n")
    with nothing_changes_in(desk):
        ran = napo_in(desk)("sweep", "bad.yaml")
    assert_said(ran, said)


WORDS = {
    "no sweep file": (["sweep"], ["Missing argument 'SWEEP'"]),
    "a sweep that is not there": (["sweep", "no.yaml"], ["no sweep no.yaml"]),
    "a folder for a sweep": (["sweep", "."], ["cannot read .", "name a sweep"]),
    "no override": (["sweep", "sweep.yaml", "sft.lr"], ["`sft.lr` is no override", "key=value"]),
    "an override of a key nobody knows": (["sweep", "sweep.yaml", "sft.rate=1"], ["unknown key `sft.rate`"]),
    "data nobody has": (["sweep", "sweep.yaml", "--data", "mine"], ["no data set 'mine'", "--data"]),
    "a folder that is not there": (["sweep", "sweep.yaml", "--data", "data=no"], ["no folder no", "--data data"]),
    "a log without titles": (["sweep", "sweep.yaml", "--interactions", "log.csv"], ["needs titles", "--items FILE"]),
    "a log that is not there": (
        ["sweep", "sweep.yaml", "--interactions", "no.csv", "--items", "items.csv"],
        ["no file no.csv", "--interactions"],
    ),
    "a method that is not there": (["sweep", "sweep.yaml", "--method", "no.yaml"], ["no file no.yaml", "--method"]),
    "a row twice": (["sweep", "sweep.yaml", "--method", "SFT.yaml"], ["a row 'SFT' already", "another name"]),
    "a log for a method": (["sweep", "sweep.yaml", "--method", "log.csv"], ["log.csv", "keys and values"]),
    "no seeds at all": (["sweep", "sweep.yaml", "--seeds", "0"], ["'--seeds'"]),
    "less than no time": (["sweep", "sweep.yaml", "--minutes", "-1"], ["'--minutes'"]),
    "a file for the folder": (["sweep", "sweep.yaml", "--out", "log.csv"], ["log.csv is a file, not a folder"]),
}


@pytest.mark.parametrize("mistake", WORDS)
def test_a_sweeps_words(desk, mistake):
    words, said = WORDS[mistake]
    with nothing_changes_in(desk):
        ran = napo_in(desk)(*words)
    assert_said(ran, said)
