import numpy as np
import pytest

from napo.data.prepare import data_settings, key_of, prepare
from napo.errors import UserError
from tests.tiny_world import tiny_recipe, write_log


def test_a_recipe_becomes_cases_with_lists_of_its_length(tmp_path):
    prepared = prepare(tiny_recipe(tmp_path, candidates={"count": 8}))
    assert (len(prepared.valid), len(prepared.test), len(prepared.log.catalog)) == (30, 30, 40)
    for cases, lists in ((prepared.valid, prepared.valid_lists), (prepared.test, prepared.test_lists)):
        assert lists.items.shape == (30, 8)
        lists.check(cases)


def test_every_look_at_validation_uses_the_same_sample(tmp_path):
    first, again = (prepare(tiny_recipe(tmp_path, evaluation={"validation_cases": 12})) for _ in range(2))
    assert len(first.valid) == 12
    assert (len(first.all_valid), len(first.test)) == (30, 30)
    np.testing.assert_array_equal(first.valid.user, again.valid.user)
    first.valid_lists.check(first.valid)
    whole = {user: row.tolist() for user, row in zip(first.all_valid.user, first.all_valid_lists.items, strict=True)}
    for user, row in zip(first.valid.user, first.valid_lists.items, strict=True):
        assert row.tolist() == whole[user]  # the case's own list, drawn once


def test_the_key_tells_data_split_and_lists_apart_and_nothing_else(tmp_path):
    plain = prepare(tiny_recipe(tmp_path)).key
    assert prepare(tiny_recipe(tmp_path, objective={"name": "napo"}, seed=4, sft={"lr": 0.5})).key == plain
    for changed in ({"candidates": {"seed": 1}}, {"split": {"min_rating": 4.0, "min_history": 1}}):
        assert prepare(tiny_recipe(tmp_path, **changed)).key != plain


def test_lists_are_drawn_once_for_a_folder(tmp_path):
    recipe = tiny_recipe(tmp_path / "data")
    first = prepare(recipe, tmp_path / "run")
    written = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()}
    assert set(written) == {"candidates-valid.npz", "candidates-test.npz"}
    again = prepare(recipe, tmp_path / "run")
    assert again.key == first.key
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()} == written


def test_a_log_that_changed_under_a_run_is_noticed(tmp_path):
    recipe = tiny_recipe(tmp_path / "data")
    prepare(recipe, tmp_path / "run")
    write_log(tmp_path / "data", chain=True)
    with pytest.raises(UserError, match="another split or other cases") as stopped:
        prepare(recipe, tmp_path / "run")
    assert "candidates-" in stopped.value.where


def test_lists_that_were_meddled_with_are_noticed(tmp_path):
    recipe = tiny_recipe(tmp_path / "data")
    prepare(recipe, tmp_path / "run")
    path = tmp_path / "run" / "candidates-test.npz"
    with np.load(path) as file:
        parts = dict(file)
    parts["items"][0, [0, 1]] = parts["items"][0, [1, 0]]
    np.savez_compressed(path, **parts)
    with pytest.raises(UserError):
        prepare(recipe, tmp_path / "run")


def test_too_short_a_log_is_said_with_a_remedy(tmp_path):
    recipe = tiny_recipe(tmp_path, split={"min_history": 7})
    with pytest.raises(UserError, match=r"no (test|validation) case is left") as stopped:
        prepare(recipe)
    assert "min_history" in stopped.value.remedy


def test_the_data_section_in_the_data_layers_words(tmp_path):
    recipe = tiny_recipe(tmp_path, data={"columns": {"user": "who"}, "separator": ";", "repeats": "last"})
    settings = data_settings(recipe)
    assert settings.interactions == tmp_path / "log.csv"
    assert (settings.columns.user, settings.columns.item) == ("who", "item")
    assert (settings.separator, settings.repeats, settings.untitled) == (";", "last", "stop")


def test_a_key_is_short_and_depends_on_all_that_is_said_whatever_the_order():
    assert key_of({"a": 1, "b": [2, None]}) == key_of({"b": [2, None], "a": 1})
    assert key_of({"a": 1}) != key_of({"a": 2})
    assert len(key_of([])) == 16


def test_a_costly_model_is_judged_by_a_fixed_sample_of_the_test_cases(tmp_path):
    whole, part = (prepare(tiny_recipe(tmp_path, evaluation={"test_cases": count})) for count in (None, 5))
    assert len(part.test) == 5 < len(whole.test)
    pairs = list(zip(whole.test.user.tolist(), whole.test.position.tolist(), strict=True))
    places = [pairs.index(pair) for pair in zip(part.test.user.tolist(), part.test.position.tolist(), strict=True)]
    assert part.test_lists.items.tolist() == whole.test_lists.items[places].tolist()  # the lists that they would have
