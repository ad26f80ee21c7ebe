"""What people get wrong in a search file, through the command itself: all of it is told before anything is trained."""

from pathlib import Path

import pytest

from tests.commands import assert_said, napo_in, nothing_changes_in
from tests.experiments.search_desk import write_search


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("desk")
    write_search(folder)
    (folder / "sft.yaml").write_text((folder / "sdpo.yaml").read_text() + "\n")
    text = (folder / "sdpo.yaml").read_text()
    (folder / "sft.yaml").write_text(text.replace("objective:\n  name: sdpo\n", ""))
    (folder / "other.yaml").write_text(text + "seed: 1\nsplit: {name: leave_one_out, min_history: 1}\n")
    (folder / "twin").mkdir()
    (folder / "twin" / "sdpo.yaml").write_text(text)
    return folder


RECIPES = "recipes: [sdpo.yaml, napo.yaml]\n"
RATE = "space: {preference.lr: {log: [1e-4, 1e-2]}}\n"

# what the file holds -> what has to be said
SEARCHES = {
    "a key nobody knows": (RECIPES + RATE + "trails: 8", ["unknown key `trails`", "bad.yaml, line 3", "`trials`"]),
    "no recipes": (RATE, ["`recipes` is missing"]),
    "an empty list of recipes": ("recipes: []\n" + RATE, ["`recipes` is empty"]),
    "a recipe that is not there": ("recipes: [spdo.yaml]\n" + RATE, ["no recipe spdo.yaml", "sdpo.yaml"]),
    "one recipe twice": ("recipes: [sdpo.yaml, twin/sdpo.yaml]\n" + RATE, ["two recipes are called sdpo", "line 1"]),
    "no trials": (RECIPES + RATE + "trials: 0", ["`trials` is 0", "at least 1", "line 3"]),
    "half a trial": (RECIPES + RATE + "trials: 2.5", ["`trials` is 2.5", "a whole number"]),
    "nothing to search": (RECIPES, ["nothing is searched", "`own.sdpo`", "sdpo.yaml"]),
    "nothing to search for one": (
        RECIPES + "own: {napo: {objective.beta: [1, 2]}}",
        ["nothing is searched", "(for sdpo.yaml)"],
    ),
    "own keys of a stranger": (
        RECIPES + RATE + "own: {npao: {objective.beta: [1, 2]}}",
        ["`own.npao`: no recipe of that name", "`napo`", "line 3"],
    ),
    "an override without a value": (RECIPES + RATE + "set: [sft.epochs]", ["`sft.epochs` is no override", "line 3"]),
    "an override of a key nobody knows": (RECIPES + RATE + "set: [sft.rate=1]", ["unknown key `sft.rate`", "line 3"]),
    "a space that is a number": (RECIPES + "space: {preference.lr: 1e-3}", ["`space.preference.lr`: should be a list"]),
    "a space of another kind": (RECIPES + "space: {preference.lr: {normal: [0, 1]}}", ["should be a list", "line 2"]),
    "one bound": (RECIPES + "space: {preference.lr: {log: [1e-4]}}", ["should be a list of choices, or one of {log"]),
    "bounds the wrong way": (RECIPES + "space: {preference.lr: {log: [1, 1e-4]}}", ["the lower bound should come"]),
    "an endless bound": (RECIPES + "space: {preference.lr: {uniform: [0, .inf]}}", ["and both be finite", "line 2"]),
    "a bound that is text": (RECIPES + "space: {preference.lr: {log: [low, high]}}", ["should be numbers", "line 2"]),
    "half an integer": (RECIPES + "space: {negatives.count: {int: [1, 2.5]}}", ["int should be whole numbers"]),
    "the logarithm of zero": (RECIPES + "space: {sft.weight_decay: {log: [0, 1]}}", ["log should be above 0"]),
    "no choice": (RECIPES + "space: {preference.lr: []}", ["`space.preference.lr`: should be a list of choices"]),
    "a choice twice": (
        RECIPES + "space: {negatives.count: [1, 3, 1]}",
        ["no choice should stand there twice", "line 2"],
    ),
    "a choice that is no number": (RECIPES + "space: {preference.lr: [.nan]}", ["should be a finite number"]),
    "a key of the recipe that nobody knows": (
        RECIPES + "space:\n  preference.rate: [1, 2]",
        ["unknown key `preference.rate`", "bad.yaml, line 3 (for sdpo.yaml, napo.yaml)"],
    ),
    "a key that one method lacks": (
        RECIPES + "space:\n  objective.margin.base: [1, 2]",
        ["unknown key `objective.margin`", "line 3 (for sdpo.yaml)"],
    ),
    "a choice that its key can't have": (
        RECIPES + RATE + "own: {napo: {objective.beta: [1, 0]}}",
        ["`objective.beta` is 0, but should be above 0", "line 3 (for napo.yaml)"],
    ),
    "a bound that its key can't have": (
        RECIPES + "space: {preference.leave_out: {uniform: [0, 1]}}",
        ["`preference.leave_out` is 1, but should be below 1", "line 2"],
    ),
    "words for a number": (RECIPES + "space: {preference.lr: [low, high]}", ['`preference.lr` is "high"', "a number"]),
    "more trials than settings": (
        RECIPES + "trials: 8\nspace: {negatives.count: [1, 2], preference.leave_out: [0.1, 0.2, 0.3]}",
        ["7 different trials can be made, fewer than `trials` 8", "line 2", "a wider space"],
    ),
    "the seed": (RECIPES + "space: {seed: [0, 1, 2]}", ["`seed` is not to be searched", "line 2"]),
    "the task": (RECIPES + "space: {candidates.count: [5, 20]}", ["`candidates.count` is not to be searched"]),
    "a key within another": (
        RECIPES + RATE + "own: {napo: {objective.margin: [null], objective.margin.base: [1, 2]}}",
        ["`objective.margin.base` is a part of `objective.margin`", "line 3"],
    ),
    "a key without an effect": (
        "recipes: [sft.yaml, sdpo.yaml]\n" + RATE,
        ["`preference.lr` does nothing in sft.yaml, which has no objective", "line 2", "under `own`"],
    ),
    "different tasks": ("recipes: [sdpo.yaml, other.yaml]\n" + RATE, ["differ in split.name", "different tasks"]),
    "a list for a search": ("- recipes", ["a search is made of keys and values", "bad.yaml"]),
    "an open bracket": (RECIPES + "space: {", ["no valid YAML", "bad.yaml"]),
    "two mistakes at once": (
        RECIPES + "space: {preference.rate: [1, 2], sft.lr: [0, 1]}",
        ["unknown key `preference.rate`", "`sft.lr` is 0, but should be above 0"],
    ),
}


@pytest.mark.parametrize("mistake", SEARCHES)
def test_a_search_files_mistake(desk, mistake):
    text, said = SEARCHES[mistake]
    (desk / "bad.yaml").write_text(text + "\n")
    with nothing_changes_in(desk):
        ran = napo_in(desk)("search", "bad.yaml")
    assert_said(ran, said)


WORDS = {
    "no search file": (["search"], ["Missing argument 'file'"]),
    "a search file that is not there": (["search", "serach.yaml"], ["no search serach.yaml", "search.yaml"]),
    "a recipe for a search": (["search", "sdpo.yaml"], ["unknown key `data`", "keys of a search"]),
    "no jobs": (["search", "search.yaml", "--jobs", "0"], ["'--jobs'"]),
    "a folder that holds other things": (["search", "search.yaml", "--out", "."], ["is not empty and holds no search"]),
    "a folder inside a file": (["search", "search.yaml", "--out", "log.csv/out"], ["cannot write log.csv/out"]),
    "a file for a folder": (["search", "search.yaml", "--out", "log.csv"], ["log.csv", "--out another folder"]),
}


@pytest.mark.parametrize("mistake", WORDS)
def test_a_searchs_words(desk, mistake):
    words, said = WORDS[mistake]
    with nothing_changes_in(desk):
        ran = napo_in(desk)(*words)
    assert_said(ran, said)


def test_a_search_is_not_for_several_ranks(desk, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert_said(napo_in(desk)("search", "search.yaml"), ["not for several ranks", "without a launcher"])


def test_data_that_cannot_be_read_stop_a_search_before_it_begins(tmp_path):
    write_search(tmp_path)
    (tmp_path / "items.csv").write_text("item,title\ni00,Heat\n")
    with nothing_changes_in(tmp_path):
        ran = napo_in(tmp_path)("search", "search.yaml")
    assert_said(ran, ["items have no title"])


def test_what_would_stop_the_last_method_is_told_before_the_first_begins(tmp_path):
    write_search(tmp_path, own=None)
    path = tmp_path / "napo.yaml"
    path.write_text(path.read_text() + "prompt: {max_tokens: 16}\n")
    with nothing_changes_in(tmp_path):
        ran = napo_in(tmp_path)("search", "search.yaml")
    assert_said(ran, ["a row of 16 tokens can't hold", "prompt.max_tokens"])
