"""The recipe's model: what it says of itself, and that it says the same as what the steps take."""

import pytest
from pydantic import ValidationError

from napo.data.settings import DataSettings, SplitSettings
from napo.recipe_keys import OWN_KEYS, LoraSection, Method, Recipe
from napo.recipe_reading import Places

DATA = {"source": "ml-100k"}


def test_the_defaults_are_a_whole_recipe_but_for_the_data():
    recipe = Recipe.model_validate({"data": DATA})
    assert recipe.sft is not None
    assert recipe.prompt.kind == recipe.prompt.template == "next"
    with pytest.raises(ValidationError, match="data"):
        Recipe.model_validate({})


def test_data_and_split_become_their_steps_settings():
    recipe = Recipe.model_validate({"data": DATA, "split": {"min_rating": 4}})
    assert DataSettings(**recipe.data.model_dump()) == DataSettings(source="ml-100k")
    assert SplitSettings(**recipe.split.model_dump()) == SplitSettings(min_rating=4)


def test_a_recipe_does_not_change():
    recipe = Recipe.model_validate({"data": DATA})
    with pytest.raises(ValidationError, match="frozen"):
        recipe.seed = 3


def test_two_recipes_that_say_the_same_are_equal_wherever_they_were_written(tmp_path):
    first, second = (Recipe.model_validate({"data": DATA}) for _ in range(2))
    second._places = Places()
    assert first == second
    assert first != Recipe.model_validate({"data": DATA, "seed": 1})


def test_a_methods_settings_are_all_its_keys_but_those_declared():
    method = Method.model_validate({"name": "sdpo", "beta": 2, "nested": {"a": 1}})
    assert method.settings == {"beta": 2, "nested": {"a": 1}}


def test_adapters_go_on_all_layers_or_on_those_named():
    assert LoraSection().targets == "all-linear"
    assert LoraSection.model_validate({"targets": ["q_proj"]}).targets == ("q_proj",)
    for wrong in ("some", [], [3], {}):
        with pytest.raises(ValidationError, match="all-linear"):
            LoraSection.model_validate({"targets": wrong})


@pytest.mark.parametrize(
    ("section", "goes", "stays"),
    [
        (("model",), "width", "precision"),
        (("objective",), "beta", "name"),
        (("negatives",), "power", "count"),
        (("auxiliary",), "epochs", "name"),
        (("sft", "temperature"), "eta", "name"),
    ],
)
def test_with_a_new_name_go_the_keys_that_belong_to_the_old_one(section, goes, stays):
    assert OWN_KEYS[section](goes)
    assert not OWN_KEYS[section](stays)


def test_the_resolved_recipe_of_a_known_model_has_no_shape_of_its_own():
    known = Recipe.model_validate({"data": DATA, "model": {"name": "smollm2-135m-instruct"}})
    assert "width" in Recipe.model_validate({"data": DATA}).resolved()["model"]
    assert "width" not in known.resolved()["model"]
