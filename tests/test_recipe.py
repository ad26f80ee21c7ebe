"""Whole recipes: read, mended from the command line, extended, refused with all their mistakes at once."""

from pathlib import Path

import pytest
import yaml

from napo.errors import UserError, UserErrors
from napo.recipe import Recipe, check_methods, differences, load_recipe
from tests.processes import printed

RECIPES = Path(__file__).parents[1] / "recipes"
# recipes/napo.yaml names no data: those of the data sets extend it
SHIPPED = sorted(RECIPES.glob("*/*.yaml"))
MINIMAL = "data: {source: ml-100k}\n"


@pytest.fixture
def write(tmp_path):
    def written(text: str, name: str = "recipe.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return written


def errors_of(path: Path, *overrides: str, methods: bool = False) -> list[UserError]:
    with pytest.raises(UserError) as caught:
        load_recipe(path, overrides, methods=methods)
    return caught.value.errors if isinstance(caught.value, UserErrors) else [caught.value]


# Shipped recipes


def test_the_methods_of_movielens_are_shipped():
    names = {path.stem for path in SHIPPED if path.parent.name == "ml100k"}
    assert names >= {"base", "sft", "dpo", "sdpo", "napo", "simpo", "dmpo"}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_shipped_recipe_loads_down_to_its_methods_settings(path):
    recipe = load_recipe(path, files=False, methods=True)  # whose files a user has to bring
    # sft_longer is the objective sft under another plan; rounds are a method whatever their objective
    assert recipe.objective is None or recipe.rounds or path.stem.split("_")[0] == recipe.objective.name


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_method_files_hold_only_what_makes_the_method_different(path):
    written = yaml.safe_load(path.read_text())
    if written.get("extends") == "../napo.yaml":
        assert set(written) == {"extends", "data", "split"}
    elif "extends" in written:
        assert set(written) <= {"extends", "objective", "negatives", "preference", "rounds"}


# Reading


def test_a_recipe_is_its_keys_and_defaults_for_the_rest(write):
    recipe = load_recipe(write("data: {source: ml-100k}\nsft: {lr: 1e-3, epochs: 2}\n"))
    assert recipe.sft is not None
    assert (recipe.sft.lr, recipe.sft.epochs, recipe.sft.batch) == (0.001, 2.0, 8)
    assert recipe.model.name == "tiny"
    assert recipe.objective is None


def test_a_resolved_recipe_reads_back_equal_with_nothing_left_to_defaults(write):
    first = load_recipe(write(MINIMAL + "objective: {name: napo, margin: {base: 0.5}}\nmodel: {lora: {r: 4}}\n"))
    again = load_recipe(write(first.resolved_yaml(), "again.yaml"))
    assert again == first
    assert differences(first, again) == []
    assert again.model_fields_set == set(Recipe.model_fields) - {"rounds", "refresh"}  # which this one does without


def test_a_resolved_recipe_of_a_model_that_is_not_made_from_scratch_reads_back_too(write):
    first = load_recipe(write(MINIMAL + "model: {name: smollm2-135m-instruct, lora: {targets: [q_proj, v_proj]}}\n"))
    assert "width" not in first.resolved()["model"]
    assert load_recipe(write(first.resolved_yaml(), "again.yaml")).resolved() == first.resolved()


def test_paths_start_from_the_folder_of_the_file_that_names_them(write, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    write("", "data/log.csv")
    write("", "data/items.csv")
    write("", "words.txt")
    base = write("data: {interactions: log.csv, items: items.csv}\n", "data/base.yaml")
    path = write("extends: data/base.yaml\nprompt: {template: words.txt}\nmodel: {name: ./mine}\n")
    monkeypatch.chdir("/")
    recipe = load_recipe(path)
    assert recipe.data.interactions == base.parent / "log.csv"
    assert recipe.prompt.template == str(tmp_path / "words.txt")
    assert recipe.model.name == str(tmp_path / "mine")


def test_paths_on_the_command_line_start_from_where_one_stands(write, tmp_path, monkeypatch):
    path = write("data: {interactions: other.csv}\n")
    (tmp_path / "here").mkdir()
    write("", "here/log.csv")
    monkeypatch.chdir(tmp_path / "here")
    assert load_recipe(path, ["data.interactions=log.csv"]).data.interactions == tmp_path / "here" / "log.csv"


def test_a_finished_runs_recipe_loads_when_its_data_have_moved(write):
    path = write("data: {interactions: gone.csv}\n")
    assert load_recipe(path, files=False).data.interactions == path.parent / "gone.csv"
    assert "no file" in errors_of(path)[0].what


def test_reading_a_recipe_imports_nothing_heavy():
    code = f"""
import sys
from pathlib import Path
from napo.recipe import load_recipe
load_recipe(Path({str(SHIPPED[0])!r}), files=False)
print({{"torch", "transformers", "polars", "scipy", "matplotlib"}} & set(sys.modules))
"""
    assert printed(code) == "set()"


# Overrides


def test_an_override_changes_one_key_and_the_last_one_wins(write):
    path = write(MINIMAL + "sft: {lr: 1e-3, epochs: 2}\n")
    recipe = load_recipe(
        path, ["sft.lr=5e-4", "seed=1", "seed=2", "evaluation.ks=[1, 3]", "sft.temperature={name: adaptive}"]
    )
    assert recipe.sft is not None
    assert (recipe.sft.lr, recipe.sft.epochs, recipe.seed, recipe.evaluation.ks) == (0.0005, 2.0, 2, (1, 3))
    assert recipe.sft.temperature is not None


def test_an_override_may_empty_a_section_or_begin_one(write):
    path = write(MINIMAL + "objective: {name: dpo}\n")
    assert load_recipe(path, ["sft=null"]).sft is None
    lora = load_recipe(path, ["model.lora.r=4"]).model.lora
    assert lora is not None
    assert (lora.r, lora.alpha) == (4, 32)


def test_another_method_forgets_the_settings_of_the_one_before(write):
    path = write(
        MINIMAL + "objective: {name: napo, margin: {base: 2}}\nnegatives: {name: popularity, power: 0.5, count: 7}\n"
    )
    recipe = load_recipe(path, ["objective.name=sdpo", "objective.beta=2", "negatives.name=uniform"], methods=True)
    assert recipe.objective is not None
    assert recipe.objective.settings["beta"] == 2.0
    assert "margin" not in recipe.objective.settings
    # how many are drawn does not belong to how they are drawn
    assert (recipe.negatives.count, recipe.negatives.settings) == (7, {})


def test_another_model_forgets_the_shape_of_the_tiny_one_alone(write):
    path = write(MINIMAL + "model: {name: tiny, width: 64, precision: float32}\n")
    model = load_recipe(path, ["model.name=smollm2-135m-instruct"]).model
    assert model.precision == "float32"


# Extending


def test_sections_of_the_base_are_filled_in_key_by_key(write):
    write(MINIMAL + "sft: {lr: 1e-3, epochs: 2}\nevaluation: {ks: [1, 5]}\n", "base.yaml")
    recipe = load_recipe(write("extends: base.yaml\nsft: {epochs: 9}\nevaluation: {ks: [3]}\n"))
    assert recipe.sft is not None
    assert (recipe.sft.lr, recipe.sft.epochs, recipe.evaluation.ks) == (0.001, 9.0, (3,))


def test_a_mistake_of_the_base_is_shown_where_it_stands(write):
    write(MINIMAL + "\nsft:\n  epochs: none\n", "base.yaml")
    (error,) = errors_of(write("extends: base.yaml\nsft: {lr: 1e-3}\n"))
    assert error.where is not None
    assert error.where.endswith("base.yaml, line 4")


def test_extending_is_one_level_deep(write):
    write(MINIMAL, "root.yaml")
    write("extends: root.yaml\n" + MINIMAL, "base.yaml")
    (error,) = errors_of(write("extends: base.yaml\n"))
    assert "one level deep" in error.what
    assert str(error.where).endswith("base.yaml, line 1")


def test_a_base_that_is_not_there_is_answered_with_those_that_are(write):
    write(MINIMAL, "base.yaml")
    (error,) = errors_of(write("# first\nextends: bsae.yaml\n"))
    assert "bsae.yaml to extend" in error.what
    assert str(error.where).endswith("recipe.yaml, line 2")
    assert "base.yaml" in str(error.remedy)


# Mistakes


def test_all_the_mistakes_of_a_file_come_at_once_with_their_lines(write):
    path = write(
        """data: {source: ml-100k}
splt: {name: last_tenth}
model:
  widht: 64
  heads: 3
sft:
  lr: fast
  epochs: 0
objective: {name: sdop}
preference: {positives: kept_back}
seed: true
"""
    )
    found = {str(error.where).rpartition(", ")[2]: error.what for error in errors_of(path, "lr=1e-3")}
    assert found == {
        "line 2": "unknown key `splt`",
        "line 4": "unknown key `model.widht`",
        "line 7": '`sft.lr` is "fast", but should be a number',
        "line 8": "`sft.epochs` is 0, but should be above 0",
        "line 9": "no 'sdop' among objectives",
        "line 11": "`seed` is true, but should be a whole number",
        "`lr=1e-3`": "unknown key `lr`",
    }


def test_mistakes_in_the_methods_settings_come_with_the_others(write):
    path = write(
        MINIMAL + "objective:\n  name: napo\n  shareing: {accept_ratio: 0.7}\n  margin: {base: -1}\nsft:\n  lr: 0\n"
    )
    errors = errors_of(path, methods=True)
    assert [str(error.where).rpartition(", ")[2] for error in errors] == ["line 4", "line 5", "line 7"]
    assert errors[0].what == "unknown key `objective.shareing`"
    assert str(errors[0].remedy).startswith("`sharing`")
    assert "keys of objective napo: beta" in str(errors[0].remedy)


# what stands below `data: {source: ml-100k}`, the line, what is said, and what is part of the remedy
BAD = [
    ("seeds: 1", 2, "unknown key `seeds`", "`seed`"),
    ("lr: 1", 2, "unknown key `lr`", "`sft.lr` or `preference.lr`"),
    ("xyzzy: 1", 2, "unknown key `xyzzy`", "keys of a recipe: auxiliary, candidates"),
    ("sft: {temprature: {name: adaptive}}", 2, "unknown key `sft.temprature`", "`temperature`"),
    ("model: {dropout: {embeding: 0.1}}", 2, "unknown key `model.dropout.embeding`", "keys of `model.dropout`"),
    (
        "model: {lora: {rank: 8}}",
        2,
        "unknown key `model.lora.rank`",
        "keys of `model.lora`: alpha, dropout, r, targets",
    ),
    ("split:\n  name: last_tent", 3, '`split.name` cannot be "last_tent"', "`last_tenth`"),
    ("normalize: catalogue", 2, '`normalize` cannot be "catalogue"', "`catalog`"),
    ("prompt: {kind: 3}", 2, "`prompt.kind` cannot be 3", "one of: list, next"),
    ("model: {precision: fp16}", 2, '`model.precision` cannot be "fp16"', "`float16`"),
    ("evaluation: {protocols: [cand20, gen]}", 2, '`evaluation.protocols.1` cannot be "gen"', "one of: cand20, full"),
    ("seed: -1", 2, "`seed` is -1, but should be at least 0", None),
    ("seed: 0.5", 2, "`seed` is 0.5, but should be a whole number", None),
    ('seed: "7"', 2, '`seed` is "7", but should be a whole number', None),
    ("sft: {lr: 0}", 2, "`sft.lr` is 0, but should be above 0", None),
    ("sft: {leave_out: 1}", 2, "`sft.leave_out` is 1, but should be below 1", None),
    ("sft: {lr: .inf}", 2, "`sft.lr` is Infinity, but should be a finite number", None),
    ("preference: {dropout: no}", 2, '`preference.dropout` is "no", but should be true or false', None),
    ("candidates: {count: 1}", 2, "`candidates.count` is 1, but should be at least 2", None),
    ("model: {name: 7}", 2, "`model.name` is 7, but should be text", None),
    (
        "model: {lora: {targets: 3}}",
        2,
        "`model.lora.targets`: should be all-linear, or a list of the names of layers",
        None,
    ),
    ("evaluation: {ks: 5}", 2, "`evaluation.ks` is 5, but should be a list", None),
    ("evaluation: {ks: []}", 2, "`evaluation.ks` is empty", "at least one"),
    ("sft: 3", 2, "`sft` is 3, but should be a section", None),
    ("evaluation:", 2, "`evaluation` is empty", "leave the key out"),
    ("objective: {beta: 1}", 2, "`objective.name` is missing", "`name:`"),
    ("data: {source: ml-1m}", 2, "`data` is given twice", "keep one; the other stands in"),
    ("sft: {lr: 1, lr: 2}", 2, "`sft.lr` is given twice", None),
    ("objective: {name: sdop}", 2, "no 'sdop' among objectives", "`sdpo`"),
    ("negatives: {name: unifrom}", 2, "no 'unifrom' among negatives", "`uniform`"),
    ("auxiliary: {name: sasrex}", 2, "no 'sasrex' among auxiliary recommenders", "`sasrec`"),
    ("sft: {temperature: {name: hot}}", 2, "no 'hot' among temperatures", "temperatures: adaptive"),
    ("prompt: {template: nxt}", 2, "no 'nxt' among prompt templates", "`next`"),
    ("prompt: {template: ./mine.txt}", 2, "`prompt.template`: no file", "start from the recipe's folder"),
    ("sft: null", 2, "nothing to train", "leave out `sft: null`"),
    ("objective: {name: dpo}\npreference: null", 3, "objective dpo has no `preference` stage", None),
    ("objective: {name: dpo}\npreference:\n  positives: kept_back", 4, "`sft.keep_back` is 0", "such as 0.3"),
    (
        "prompt: {kind: list, template: list}\nsft: {form: trajectory}",
        3,
        "no room for the candidates",
        "`sft.form: prompt`",
    ),
    (
        "prompt: {kind: list, template: list}\nsft: {form: prompt}\nevaluation: {protocols: [cand20, full]}",
        4,
        "`evaluation.protocols` full ranks the whole catalog",
        "cand20",
    ),
    (
        "model: {name: ./mine, load_in: 4bit}",
        2,
        "weights of `model.load_in` 4bit are frozen",
        "model.lora",
    ),
    (
        "prompt: {kind: list}\nsft: {form: prompt}",
        2,
        "`prompt.template` next is not for `prompt.kind` list",
        "`template: list`",
    ),
    ("model: {width: 100, heads: 3}", 2, "100 does not divide into 3 heads", "a multiple of 6"),
    ("model: {name: ./mine, layers: 2}", 2, "`model.layers` is for the model `tiny`", "leave it out"),
    ("evaluation: {ks: [1, 30]}", 2, "the first 30 of 20 candidates", "at most 20"),
    ("split: {valid: 0.5, test: 0.6}", 2, "`valid` and `test` together must stay below 1", None),
    ("extends: [base.yaml]", 2, "`extends` should be the path of one recipe", "extends: base.yaml"),
    ("a: &a [*a]", 2, "`a.0` holds itself", None),
    ("seed: !!python/name:os.system", 2, "unknown tag", None),
    ("sft: {lr: 1", 3, "no valid YAML", "recipes that work"),
    ("sft:\n\tlr: 1", 3, "no valid YAML", "not with tabs"),
]


@pytest.mark.parametrize(("text", "line", "what", "remedy"), BAD, ids=[text.replace("\n", " ") for text, *_ in BAD])
def test_a_bad_recipe_is_answered_with_key_line_and_remedy(write, text, line, what, remedy):
    path = write(f"{MINIMAL}{text}\n")
    matching = [error for error in errors_of(path) if what in error.what]
    assert len(matching) == 1, [error.what for error in errors_of(path)]
    assert matching[0].where == f"{path}, line {line}"
    assert remedy is None or remedy in str(matching[0].remedy)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("seed: 1", "`data` is missing"),
        ("", "`data` is missing"),
        ("data: {}", "give either `source`, `interactions` or `database`, or rows"),
        (
            "data: {source: ml-100k, interactions: log.csv}",
            "give either `source`, `interactions` or `database`, or rows",
        ),
        ("data: {interactions: log.csv}", "`data.interactions`: no file"),
        ("- data", "made of keys and values"),
    ],
)
def test_a_recipe_has_to_name_its_data(write, text, what):
    (error,) = errors_of(write(text))
    assert what in error.what


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("sft.lr", "`sft.lr` is no override"),
        ("=3", "`=3` is no override"),
        ("sft..lr=3", "is no override"),
        ("sft.lr=[", "cannot read the value of `sft.lr`"),
        ("seed.x=1", "`seed` is"),
        ("sft.lr=fast", '`sft.lr` is "fast"'),
    ],
)
def test_a_bad_override_is_said_in_the_users_own_words(write, override, what):
    (error,) = errors_of(write(MINIMAL), override)
    assert what in error.what
    assert error.where == f"command line, `{override}`"


def test_a_recipe_that_is_not_there_is_answered_with_those_that_are(write, tmp_path):
    write(MINIMAL, "napo.yaml")
    (error,) = errors_of(tmp_path / "nappo.yaml")
    assert error.what == f"no recipe {tmp_path / 'nappo.yaml'}"
    assert error.remedy == str(tmp_path / "napo.yaml")


def test_a_recipe_in_another_encoding_is_said_with_the_byte(tmp_path):
    (tmp_path / "recipe.yaml").write_bytes("# Amélie\n".encode("latin-1"))
    (error,) = errors_of(tmp_path / "recipe.yaml")
    assert "is not UTF-8: byte 5" in error.what


# Methods


def test_checking_the_methods_writes_out_their_defaults(write):
    recipe = load_recipe(write(MINIMAL + "objective: {name: dpo, beta: 0.5}\n"))
    assert recipe.objective is not None
    assert recipe.objective.settings == {"beta": 0.5}
    whole = check_methods(recipe)
    assert whole.objective is not None
    assert whole.objective.settings["label_smoothing"] == 0.0
    assert check_methods(whole) == whole


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("objective: {name: napo}\nauxiliary: null\n", "needs an auxiliary recommender"),
        ("objective: {name: dpo}\nnegatives: {name: hardest}\nauxiliary: null\n", "needs an auxiliary recommender"),
        ("objective: {name: dpo}\npreference: {dropout: true}\n", "rewards would not start at 0"),
    ],
)
def test_what_a_method_needs_has_to_be_there(write, text, what):
    (error,) = errors_of(write(MINIMAL + text), methods=True)
    assert what in error.what


def test_dropout_may_stay_on_without_a_reference(write):
    text = "objective: {name: dpo, reference: false}\npreference: {dropout: true}\n"
    recipe = load_recipe(write(MINIMAL + text), methods=True)
    assert recipe.preference is not None
    assert recipe.preference.dropout


# Comparing


def test_the_keys_that_differ_are_named_in_full(write):
    path = write(MINIMAL + "objective: {name: dpo, beta: 1}\n")
    old = load_recipe(path)
    new = load_recipe(path, ["sft.lr=1", "model.dropout.block=0.1", "objective.beta=2", "model.lora.r=4"])
    assert differences(old, new) == ["model.dropout.block", "model.lora", "sft.lr", "objective.beta"]
    assert differences(old, load_recipe(path)) == []


def test_one_override_says_where_the_data_lie(tmp_path):
    path, folder = RECIPES / "lastfm" / "napo.yaml", tmp_path / "data"
    folder.mkdir()
    for name in ("train.jsonl.gz", "val.json.gz", "test.json.gz", "items.tsv.gz"):
        (folder / name).touch()
    recipe = load_recipe(path, [f"data.folder={folder}"])
    assert recipe.data.train == folder / "train.jsonl.gz"
    assert recipe.data.items == folder / "items.tsv.gz"
    assert recipe.data.folder is None  # a resolved recipe has whole paths, wherever it is read again
