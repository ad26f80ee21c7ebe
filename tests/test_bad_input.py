"""What people get wrong, through the command itself: exit code 2, what and where and the way out, nothing left behind.

Each line of a table is one mistake: what was typed or lies there, and what has to be said about it.
"""

from pathlib import Path

import pytest

from tests.commands import assert_said, napo_in, nothing_changes_in, write_desk
from tests.tiny_world import largest_file

DATA = "data: {interactions: log.csv, items: items.csv}\n"


@pytest.fixture
def desk(tmp_path) -> Path:
    write_desk(tmp_path)
    return tmp_path


# -- recipes


RECIPES = {
    "a key nobody knows": ("sfft: {lr: 1e-3}", ["unknown key `sfft`", "bad.yaml, line 2", "`sft`"]),
    "a section's key": ("sft:\n  learning: 1", ["unknown key `sft.learning`", "line 3"]),
    "the right key in the wrong place": ("lr: 1e-3", ["unknown key `lr`", "`sft.lr` or `preference.lr`"]),
    "text for a number": ('sft: {epochs: "20"}', ['`sft.epochs` is "20"', "a number", "line 2"]),
    "a rate below zero": ("sft: {lr: -1}", ["`sft.lr` is -1, but should be above 0", "line 2"]),
    "a rate that is none": ("sft: {lr: .nan}", ["`sft.lr`", "a finite number"]),
    "half a row": ("sft: {batch: 0.5}", ["`sft.batch` is 0.5, but should be a whole number"]),
    "a share of one": ("sft: {leave_out: 1.0}", ["`sft.leave_out` is 1.0, but should be below 1"]),
    "a word that is no choice": ("normalize: titles", ['`normalize` cannot be "titles"', "catalog"]),
    "a section that is a number": ("sft: 3", ["`sft` is 3", "a section of `key: value` lines"]),
    "a key twice": ("seed: 1\nseed: 2", ["`seed` is given twice", "line 3", "line 2"]),
    "a tab": ("sft:\n\tlr: 1", ["no valid YAML", "line 3", "blanks, not with tabs"]),
    "an open bracket": ("sft: {lr: 1", ["no valid YAML", "bad.yaml"]),
    "a base that is not there": ("extends: bsae.yaml", ["no recipe bsae.yaml to extend", "line 2"]),
    "a base of a base": ("extends: middle.yaml", ["`extends` is one level deep", "middle.yaml"]),
    "a section twice": ("data: {source: ml-100k}", ["`data` is given twice", "line 2", "line 1"]),
    "an objective": ("objective: {name: spdo}", ["no 'spdo' among objectives", "`sdpo`", "line 2"]),
    "an objective's key": ("objective: {name: sdpo, btea: 1}", ["unknown key `objective.btea`", "`beta`"]),
    "an objective's value": ("objective: {name: sdpo, beta: 0}", ["`objective.beta` is 0", "above 0"]),
    "an objective without a name": ("objective: {beta: 1}", ["`objective.name` is missing"]),
    "a sampler": ("objective: {name: sdpo}\nnegatives: {name: unifrom}", ["no 'unifrom' among negatives", "`uniform`"]),
    "no rejected item": ("negatives: {name: uniform, count: 0}", ["`negatives.count` is 0", "at least 1"]),
    "an auxiliary model": ("auxiliary: {name: bert4rec}", ["no 'bert4rec' among auxiliary recommenders", "sasrec"]),
    "a temperature": ("sft: {temperature: {name: cold}}", ["no 'cold' among temperatures", "adaptive"]),
    "a template": ("prompt: {template: nxt}", ["no 'nxt' among prompt templates", "`next`"]),
    "a template's file": ("prompt: {template: ./mine.txt}", ["`prompt.template`: no file", "mine.txt", "line 2"]),
    "a template of the other kind": (
        "prompt: {template: list}",
        ["`prompt.template` list is not for `prompt.kind` next"],
    ),
    "a template without a history": ("prompt: {template: ./none.txt}", ["needs {history} once", "none.txt"]),
    "a template with another field": ("prompt: {template: ./other.txt}", ["unknown field {hist}", "`history`"]),
    "a template in Latin-1": ("prompt: {template: ./latin.txt}", ["not UTF-8", "latin.txt"]),
    "a width without heads": ("model: {width: 30, heads: 4}", ["`model.width` 30", "a multiple of 8"]),
    "an adapter on nothing": ("model: {lora: {r: 4}}", ["`tiny` is made from scratch", "leave `lora` out"]),
    "half precision from scratch": ("model: {precision: float16}", ["`model.precision` float16", "`auto`"]),
    "the shape of another's model": ("model: {name: gpt2, width: 64}", ["`model.width` is for the model `tiny`"]),
    "a model's folder": ("model: {name: ./nowhere}", ["no folder", "nowhere", "model.name"]),
    "a model's folder without weights": ("model: {name: ./empty}", ["the model can't be loaded", "safetensors"]),
    "more places than candidates": ("evaluation: {ks: [1, 50]}", ["the first 50 of 20 candidates", "at most 20"]),
    "no protocol": ("evaluation: {protocols: []}", ["`evaluation.protocols` is empty", "at least one"]),
    "nothing to train": ("sft: null", ["nothing to train", "leave out `sft: null`"]),
    "an objective without its stage": ("objective: {name: sdpo}\npreference: null", ["has no `preference` stage"]),
    "kept back from nothing": (
        "objective: {name: sdpo}\npreference: {positives: kept_back}",
        ["`sft.keep_back` is 0", "set `sft.keep_back`"],
    ),
    "candidates in a trajectory": ("prompt: {kind: list, template: list}", ["`sft.form` trajectory has no room"]),
    "dropout beside a reference": (
        "objective: {name: sdpo}\npreference: {dropout: true}",
        ["`preference.dropout` is on", "rewards would not start at 0"],
    ),
    "NAPO without its scores": ("objective: {name: napo}\nauxiliary: null", ["needs an auxiliary recommender"]),
    "the hardest of nobody": (
        "objective: {name: sdpo}\nnegatives: {name: hardest}\nauxiliary: null",
        ["`negatives` needs an auxiliary recommender"],
    ),
    "a temperature of another softmax": (
        "normalize: vocabulary\nsft: {temperature: {name: adaptive}}",
        ["under `normalize: catalog`", "sft.temperature"],
    ),
    "too short a row": (
        "prompt: {max_tokens: 16}\nmodel: {vocabulary: 300}",
        ["a row of 16 tokens can't hold", "prompt.max_tokens", "at least"],
    ),
    "more rejected items than there are": (
        "objective: {name: sdpo}\nnegatives: {name: uniform, count: 39}",
        ["items left to reject"],
    ),
    "more candidates than there are": ("candidates: {count: 40}", ["a list of 40 candidates", "use at most"]),
}


@pytest.fixture
def recipe_desk(desk) -> Path:
    (desk / "middle.yaml").write_text("extends: sft.yaml\n")
    (desk / "none.txt").write_text("Say something.\n")
    (desk / "other.txt").write_text("{hist}\n")
    (desk / "latin.txt").write_bytes("Ce qu'elle a aimé :\n{history}\n".encode("latin-1"))
    (desk / "empty").mkdir()
    return desk


@pytest.mark.parametrize("mistake", RECIPES)
def test_a_recipes_mistake(recipe_desk, mistake):
    text, said = RECIPES[mistake]
    (recipe_desk / "bad.yaml").write_text(DATA + text + "\n")
    with nothing_changes_in(recipe_desk):
        ran = napo_in(recipe_desk)("train", "bad.yaml")
    assert_said(ran, said)


FILES = {
    "no such recipe": (None, ["no recipe bad.yaml", "sft.yaml"]),
    "an empty recipe": (b"", ["`data` is missing"]),
    "a list": (b"- data\n", ["a recipe is made of keys and values", "bad.yaml"]),
    "Latin-1": ("data: é\n".encode("latin-1"), ["bad.yaml is not UTF-8: byte 7", "save the file as UTF-8"]),
    "UTF-16": (DATA.encode("utf-16"), ["bad.yaml is not UTF-8", "save the file as UTF-8"]),
    "no data": (b"seed: 0\n", ["`data` is missing"]),
    "an unknown data set": (b"data: {source: ml-1m}\n", ['`data.source` cannot be "ml-1m"', "ml-100k"]),
    "two logs": (
        b"data: {source: ml-100k, interactions: log.csv}\n",
        ["give either `source`, `interactions` or `database`"],
    ),
    "no log": (b"data: {items: items.csv}\n", ["give either `source`, `interactions` or `database`"]),
    "a log that is not there": (b"data: {interactions: logg.csv}\n", ["`data.interactions`: no file", "log.csv"]),
    "titles that are not there": (
        b"data: {interactions: log.csv, items: item.csv}\n",
        ["`data.items`: no file", "items.csv"],
    ),
}


@pytest.mark.parametrize("mistake", FILES)
def test_a_recipes_file(desk, mistake):
    content, said = FILES[mistake]
    if content is not None:
        (desk / "bad.yaml").write_bytes(content)
    with nothing_changes_in(desk):
        ran = napo_in(desk)("train", "bad.yaml")
    assert_said(ran, said)


# -- what is typed


WORDS = {
    "no command of ours": (["trian", "sft.yaml"], ["trian"]),
    "no recipe": (["train"], ["no recipe", "name a YAML file"]),
    "no option of ours": (["train", "sft.yaml", "--fast"], ["--fast"]),
    "a folder for a recipe": (["train", "."], ["cannot read .", "a YAML file"]),
    "an override without a value": (["train", "sft.yaml", "sft.lr"], ["`sft.lr` is no override", "key=value"]),
    "an override of nothing": (["train", "sft.yaml", "sft.lr="], ["`sft.lr`", "command line"]),
    "an override without a key": (["train", "sft.yaml", "=3"], ["`=3` is no override"]),
    "an override with an open bracket": (["train", "sft.yaml", "evaluation.ks=[1"], ["value of `evaluation.ks`"]),
    "an override that is no number": (["train", "sft.yaml", "sft.lr=fast"], ['`sft.lr` is "fast"', "a number"]),
    "an override of a key nobody knows": (["train", "sft.yaml", "sft.rate=1"], ["unknown key `sft.rate`"]),
    "a folder inside a file": (["train", "sft.yaml", "--out", "log.csv/run"], ["cannot write", "log.csv"]),
    "a file for a folder": (["train", "sft.yaml", "--out", "log.csv"], ["log.csv", "--out another folder"]),
    "a folder that holds other things": (["train", "sft.yaml", "--out", "."], ["is not empty and holds no run"]),
    "nothing to go on with": (["evaluate", "runs/none"], ["holds no run", "napo train"]),
    "a file for a run": (["evaluate", "log.csv"], ["log.csv holds no run"]),
    "an unknown protocol": (["evaluate", "run", "--protocol", "cand50"], ["cand50", "cand20"]),
    "an unknown part": (["evaluate", "run", "--part", "all"], ["all", "valid"]),
    "nothing to compare": (["compare", "sft.lr=1"], ["no recipes to compare", "YAML files"]),
    "no seeds": (["compare", "sft.yaml", "--seeds", "0"], ["'--seeds'", "greater than or equal to 1"]),
    "one recipe twice": (["compare", "sft.yaml", "./sft.yaml"], ["sft.yaml is named twice"]),
    "a recipe that is not there": (["compare", "sft.yaml", "stf.yaml"], ["no recipe stf.yaml", "sft.yaml"]),
    "no model": (["recommend", "runs/none", "--user", "u00"], ["runs/none", "a run's folder"]),
    "nobody": (["recommend", "run"], ["whom to recommend to?", "--user KEY"]),
    "two of them": (["recommend", "run", "--user", "u00", "--history", "x"], ["both a user and a history"]),
    "no items": (["recommend", "run", "--user", "u00", "-k", "0"], ["'-k'", "greater than or equal to 1"]),
    "an unknown data set": (["data", "fetch", "ml-1m"], ["ml-1m", "ml-100k"]),
    "no such log": (["data", "inspect", "logg.csv"], ["logg.csv", "log.csv"]),
    "no such titles": (["data", "inspect", "log.csv", "--items", "item.csv"], ["item.csv", "items.csv"]),
    "a column without a name": (["data", "inspect", "log.csv", "--column", "uid"], ["`uid` names no column"]),
    "a column that we don't have": (
        ["data", "inspect", "log.csv", "--column", "who=user"],
        ["unknown key `columns.who`"],
    ),
    "a column that the file doesn't have": (
        ["data", "inspect", "log.csv", "--column", "user=uid"],
        ["'uid'", "line 1"],
    ),
    "another separator": (["data", "inspect", "log.csv", "--separator", "::"], ["is `separator:` right", "line 1"]),
    "no history at all": (["data", "inspect", "log.csv", "--min-history", "0"], ["--min-history"]),
    "a picture inside a file": (
        ["data", "inspect", "log.csv", "--items", "items.csv", "--plot", "log.csv/a.png"],
        ["cannot write", "a.png"],
    ),
}


@pytest.mark.parametrize("mistake", WORDS)
def test_a_commands_mistake(desk, mistake):
    words, said = WORDS[mistake]
    with nothing_changes_in(desk):
        ran = napo_in(desk)(*words)
    assert_said(ran, said)


# -- data files


HEAD = "user,item,rating,time\n"
ROWS = [f"u{user},i{item:02d},4,{1700000000 + 100 * user + item}\n" for user in range(3) for item in range(8)]
LOG = HEAD + "".join(ROWS)


def with_row(line: int, row: str) -> str:
    """The log with another row in the line, counted from 1."""
    lines = LOG.splitlines(keepends=True)
    return "".join([*lines[: line - 1], row + "\n", *lines[line:]])


# what lies there -> the file and line that is named, and the way out
TABLES: dict[str, tuple[dict[str, str | bytes], list[str], list[str]]] = {
    "an empty log": ({"log.csv": ""}, [], ["the file is empty", "log.csv"]),
    "a header alone": ({"log.csv": HEAD}, [], ["no rows", "log.csv"]),
    "a column twice": ({"log.csv": LOG.replace("rating", "user")}, [], ["a column twice: user", "log.csv, line 1"]),
    "a Parquet file that is none": ({"log.parquet": "user"}, ["data.interactions=log.parquet"], ["log.parquet"]),
    "no column of items": ({"log.csv": LOG.replace("item,", "film,")}, [], ["no column 'item'", "log.csv, line 1"]),
    "a row too wide": ({"log.csv": with_row(4, "u0,i01,4,1700000000,5")}, [], ["5 columns", "log.csv, line 4"]),
    "an open quote": ({"log.csv": with_row(5, '"u0,i01,4,1700000000')}, [], ["quotes", "log.csv, line 5"]),
    "a rating that is no number": (
        {"log.csv": with_row(6, "u0,i01,good,1700000000")},
        [],
        ["'good'", "log.csv, line 6"],
    ),
    "a time that is none": ({"log.csv": with_row(7, "u0,i01,4,yesterday")}, [], ["'yesterday'", "log.csv, line 7"]),
    "milliseconds among seconds": (
        {"log.csv": with_row(8, "u0,i01,4,1700000000000")},
        [],
        ["log.csv, line 8", "seconds"],
    ),
    "an impossible year": ({"log.csv": with_row(9, "u0,i01,4,9999999999999999")}, [], ["log.csv, line 9"]),
    "titles in Latin-1, called UTF-8": (
        {"items.csv": "item,title\ni00,Café Society\n".encode("latin-1")},
        ["data.encoding=utf-8"],
        ["items.csv, line 2", "0xe9", "latin-1"],
    ),
    "an encoding nobody knows": ({}, ["data.encoding=klingon"], ["unknown encoding 'klingon'", "latin-1"]),
    "items without a title": ({"items.csv": "item,title\ni00,Heat\n"}, [], ["7 items have no title", "untitled"]),
    "two titles for one item": (
        {"items.csv": "item,title\n" + "".join(f"i{item:02d},Film {item}\n" for item in range(8)) + "i03,Other\n"},
        [],
        ["i03", "items.csv", "one row for each item"],
    ),
    "no titles at all": ({}, ["data.items=null"], ["the log has no titles", "untitled: id"]),
    "too short a log": ({"log.csv": HEAD + "".join(ROWS[:3])}, [], ["min_history"]),
    "no times to cut by": (
        {"log.csv": "user,item\n" + "".join(row.rsplit(",", 2)[0] + "\n" for row in ROWS)},
        ["split.name=global_time"],
        ["global_time"],
    ),
    "no ratings to cut by": (
        {"log.csv": "user,item\n" + "".join(row.rsplit(",", 2)[0] + "\n" for row in ROWS)},
        ["split.min_rating=4"],
        ["min_rating"],
    ),
}


@pytest.mark.parametrize("mistake", TABLES)
def test_a_data_files_mistake(desk, mistake):
    files, words, said = TABLES[mistake]
    (desk / "log.csv").write_text(LOG)
    (desk / "items.csv").write_text("item,title\n" + "".join(f"i{item:02d},Film {item}\n" for item in range(8)))
    for name, content in files.items():
        (desk / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with nothing_changes_in(desk):  # no run's folder either: the mended file can have its name
        ran = napo_in(desk)("train", "sft.yaml", *words)
    assert_said(ran, said)


def test_a_mended_file_can_have_the_folders_name(desk):
    good = (desk / "items.csv").read_text()
    (desk / "items.csv").write_text("item,title\ni00,Café Society\n")
    napo = napo_in(desk)
    assert napo("train", "sft.yaml").code == 2
    (desk / "items.csv").write_text(good)
    ran = napo("train", "sft.yaml")
    assert ran.code == 0, ran.err


@pytest.mark.parametrize("size", [100, 1000])
def test_a_disk_that_is_full_at_the_start_leaves_nothing(desk, size):
    with nothing_changes_in(desk), largest_file(size):
        ran = napo_in(desk)("train", "sft.yaml")
    assert_said(ran, ["cannot write", "free some space"])
