"""What people get wrong in a recipe: all of it is told before anything is trained."""

from pathlib import Path

import pytest

from tests.commands import assert_said, napo_in, nothing_changes_in, write_desk

DATA = "data: {interactions: log.csv, items: items.csv}\n"


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    """One for all rows: each of them has to leave it as it was."""
    desk = tmp_path_factory.mktemp("desk")
    write_desk(desk)
    (desk / "middle.yaml").write_text("extends: sft.yaml\n")
    (desk / "none.txt").write_text("Say something.\n")
    (desk / "other.txt").write_text("{hist}\n")
    (desk / "latin.txt").write_bytes("Ce qu'elle a aimé :\n{history}\n".encode("latin-1"))
    (desk / "none.gguf").write_text("no model")
    (desk / "empty").mkdir()
    return desk


SDPO = "objective: {name: sdpo}\n"
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
    "a tag of Python's": ("seed: !!python/object/apply:os.system ['touch owned']", ["`seed` is", "line 2"]),
    "a value that holds itself": ("sft: &a\n  lr: *a", ["`sft.lr` holds itself", "line 3"]),
    "brackets without end": ("sft: " + "[" * 1500, ["no valid YAML: brackets within brackets", "bad.yaml"]),
    "a control character": ("seed: \x07", ["no valid YAML", "#x0007"]),
    "two documents": ("---\nseed: 1", ["no valid YAML", "another document", "line 2"]),
    "a list for a key": ("[seed]: 2", ["a key should be one word", "line 2"]),
    "a merge key": ("sft: {<<: {lr: 1}}", ["unknown key `sft.<<`"]),
    "a base that is itself": ("extends: bad.yaml", ["`extends` names the recipe itself", "line 2"]),
    "two bases": ("extends: [sft.yaml, middle.yaml]", ["`extends` should be the path of one recipe"]),
    "a folder for a base": ("extends: empty", ["cannot read empty", "a YAML file"]),
    "a seed below zero": ("seed: -1", ["`seed` is -1, but should be at least 0", "line 2"]),
    "a seed that no generator takes": ("seed: 99999999999999999999", ["`seed` is 99999999999999999999", "below"]),
    "a seed of five thousand digits": ("seed: 1" + "0" * 5000, ["`seed` has the unknown tag or value", "00..."]),
    "no rows in a step": ("sft: {batch: 0}", ["`sft.batch` is 0, but should be at least 1"]),
    "endless training": ("sft: {epochs: .inf}", ["`sft.epochs` is Infinity", "a finite number"]),
    "a schedule": ("sft: {schedule: cosin}", ['`sft.schedule` cannot be "cosin"', "`cosine`"]),
    "several rates": ("sft: {lr: [1, 2]}", ["`sft.lr` is [1, 2], but should be a number"]),
    "a prompt of another kind": ("prompt: {kind: chat}", ['`prompt.kind` cannot be "chat"', "list, next"]),
    "a prompt without a history": ("prompt: {max_history: 0}", ["`prompt.max_history` is 0", "at least 1"]),
    "a split nobody knows": ("split: {name: random}", ['`split.name` cannot be "random"', "leave_one_out"]),
    "shares that leave nothing": ("split: {name: users, valid: 0.5, test: 0.5}", ["must stay below 1", "line 2"]),
    "a split of rows without rows": ("split: {name: files}", ["`split.name` files is for rows", "`data.train`"]),
    "a rating nobody gave": ("split: {min_rating: 99}", ["rated 99 or more; the highest rating is 5", "lower"]),
    "histories nobody has": ("split: {min_history: 100}", ["the longest user has 8", "lower `min_history`"]),
    "a list of one": ("candidates: {count: 1}", ["`candidates.count` is 1, but should be at least 2"]),
    "negatives of a list": ("candidates: {negatives: hard}", ['`candidates.negatives` cannot be "hard"', "matched"]),
    "the first none": ("evaluation: {ks: [0, 5]}", ["`evaluation.ks.0` is 0", "at least 1"]),
    "lists that nobody brought": (
        "evaluation: {protocols: [legacy]}",
        ["legacy ranks the lists", "leave `legacy` out"],
    ),
    "a column to break down by": ("evaluation: {groups: {genre: '|'}}", ["no column 'genre'", "evaluation.groups"]),
    "a folder of an embedder": ("evaluation: {protocols: [full], nearest: ./no}", ["`evaluation.nearest`: no folder"]),
    "an embedder's folder": (SDPO + "negatives: {name: semantic, embedder: ./no}", ["`negatives.embedder`: no folder"]),
    "an endless power": (SDPO + "negatives: {name: popularity, power: .inf}", ["`negatives.power`", "a finite number"]),
    "what nobody was shown": (SDPO + "negatives: {name: exposed}", ["no file says it", "`data.exposures: FILE`"]),
    "a module of ours": ("objective: {name: _loss}", ["no '_loss' among objectives", "sdpo"]),
    "a path for a name": ("objective: {name: ../../os}", ["no '../../os' among objectives", "line 2"]),
    "rounds of nothing": ("rounds: {count: 2}", ["`rounds` repeats the preference stage", "name one"]),
    "no rounds": (SDPO + "rounds: {count: 0}", ["`rounds.count` is 0", "line 3"]),
    "a label nobody gives": (SDPO + "rounds: {label: {name: best}}", ["no 'best' among labels", "labels: logged"]),
    "rows that change under rounds": (SDPO + "rounds: {}\npreference: {shift: true}", ["`preference.shift: false`"]),
    "a GGUF file that is not there": ("model: {name: ./mine.gguf}", ["no file", "mine.gguf", "a path to a .gguf"]),
    "a GGUF file that is none": ("model: {name: ./none.gguf}", ["no GGUF file", "none.gguf"]),
    "frozen weights and nothing to train": (
        "model: {name: ./empty, load_in: 4bit}",
        ["are frozen, and there is no adapter", "`model.lora: {r: 8}`"],
    ),
    "no model between its layers": ("model: {layers: 0}", ["`model.layers` is 0, but should be at least 1"]),
    "half a margin": ("objective: {name: napo, margin: {per: user}}", ['`objective.margin.per` cannot be "user"']),
    "more than all": ("objective: {name: napo, sharing: {accept_ratio: 2}}", ["`objective.sharing.accept_ratio` is 2"]),
    "a layer that the model lacks": ("objective: {name: ilrec, layers: [99]}", ["no layer 99: the model has 4"]),
    "an auxiliary model's key": (
        "auxiliary: {name: sasrec, epochs: 0}",
        ["`auxiliary.epochs` is 0, but should be above 0"],
    ),
    "four mistakes at once": (
        "seed: -1\nsft: {lr: -1}\nprompt: {kind: chat}\ncolour: red",
        ["`seed` is -1", "`sft.lr` is -1", '`prompt.kind` cannot be "chat"', "unknown key `colour`", "line 5"],
    ),
}


@pytest.mark.parametrize("mistake", RECIPES)
def test_a_recipes_mistake(desk, mistake):
    text, said = RECIPES[mistake]
    (desk / "bad.yaml").write_text(DATA + text + "\n")
    with nothing_changes_in(desk):
        ran = napo_in(desk)("train", "bad.yaml")
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
    (desk / "bad.yaml").unlink(missing_ok=True)
    if content is not None:
        (desk / "bad.yaml").write_bytes(content)
    with nothing_changes_in(desk):
        ran = napo_in(desk)("train", "bad.yaml")
    assert_said(ran, said)
