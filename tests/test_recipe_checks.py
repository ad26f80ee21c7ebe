"""What only several keys together show; the whole of it, with lines, is in test_recipe.py."""

import pytest

from napo import plugins
from napo.errors import UserError
from napo.recipe import load_recipe
from napo.recipe_checks import LISTED, METHODS, clash_mistakes, is_path, method_mistakes, method_names, template_names
from napo.recipe_keys import Recipe

DATA = {"source": "ml-100k"}


def recipe(**sections: object) -> Recipe:
    return Recipe.model_validate({"data": DATA, **sections})


def test_the_defaults_do_not_clash():
    assert clash_mistakes(recipe()) == []


def test_nothing_is_said_that_rests_on_a_section_that_is_wrong_already():
    clashing = recipe(evaluation={"ks": [30]})
    assert len(clash_mistakes(clashing)) == 1
    assert clash_mistakes(clashing, {"candidates"}) == []


def test_a_stage_that_will_not_run_cannot_clash():
    kept_back = {"preference": {"positives": "kept_back"}}
    assert clash_mistakes(recipe(**kept_back)) == []
    assert len(clash_mistakes(recipe(**kept_back, objective={"name": "dpo"}))) == 1


def test_positives_kept_back_need_a_share():
    sections = {"preference": {"positives": "kept_back"}, "objective": {"name": "dpo"}}
    assert clash_mistakes(recipe(**sections, sft={"keep_back": 0.3})) == []


def test_more_ranks_than_candidates_are_fine_over_the_whole_catalog():
    assert clash_mistakes(recipe(evaluation={"ks": [100], "protocols": ["full"]})) == []


@pytest.mark.parametrize(("kind", "other"), [("list", "next"), ("next", "list")])
def test_a_template_of_ours_is_for_one_kind_of_prompt(kind, other):
    form = {"sft": {"form": "prompt"}}
    assert len(clash_mistakes(recipe(prompt={"kind": kind, "template": other}, **form))) == 1
    assert clash_mistakes(recipe(prompt={"kind": kind, "template": kind}, **form)) == []


def test_templates_are_listed_by_name_and_files_are_told_apart():
    assert {"next", "list"} <= set(template_names())
    assert [is_path(name) for name in ("next", "./next", "mine.txt", "a/b")] == [False, True, True, True]


@pytest.mark.parametrize("key", METHODS)
def test_every_method_that_a_recipe_can_name_has_settings(key):
    section, *rest = key.split(".")
    for name in method_names(key):
        value = {rest[0]: {"name": name}} if rest else {"name": name}
        whole, mistakes = method_mistakes(recipe(**{section: value}))
        assert mistakes == []
        assert getattr(whole, section) is not None


def test_methods_in_folders_are_those_of_the_folders():
    assert method_names("objective") == plugins.names("objectives")
    assert set(LISTED) < set(METHODS)


ROWS = "data: {valid: v.jsonl, test: t.jsonl, items: items.tsv}\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (ROWS, "rows are not cut by `split.name` last_tenth"),
        ("data: {source: ml-100k}\nsplit: {name: files}", "`split.name` files is for rows"),
        (ROWS + "split: {name: files, min_rating: 4.0}", "`split.min_rating` needs ratings"),
        (
            "data: {source: ml-100k}\nevaluation: {protocols: [legacy]}",
            "legacy ranks the lists that `data.test` brings",
        ),
        ("data: {test: t.jsonl, items: items.tsv}", "rows need `valid` and `test`"),
        ("data: {source: ml-100k, valid: v.jsonl}", "give either `source`, `interactions` or `database`, or rows"),
    ],
)
def test_rows_and_logs_are_not_mixed_up(tmp_path, text, says):
    for name in ("v.jsonl", "t.jsonl", "items.tsv"):
        (tmp_path / name).write_text("", encoding="utf-8")
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=says):
        load_recipe(path)
