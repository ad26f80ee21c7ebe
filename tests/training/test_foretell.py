import pytest

from napo.training import foretell as module
from napo.training.foretell import Forecast, foretell
from tests.tiny_world import World


def test_a_forecast_adds_up_steps_looks_and_passes(tmp_path, monkeypatch):
    runs = []
    monkeypatch.setattr(module, "_timed", lambda run: runs.append(run()) or 2.0)
    # 30 users, 8 rows a step: 4 steps an epoch; 2 epochs of SFT, 1 of preferences; SASRec 2 passes; 30 cases
    world = World.of(tmp_path, objective={"name": "sdpo"}, preference={"epochs": 1.0})
    forecast = foretell(world.recipe, world.prepared)
    assert forecast.seconds == {
        "SASRec": 2 * 2.0,
        "SFT": 8 * 2.0 + 3 * 2.0,  # looks at the start and after each epoch
        "preference": 4 * 2.0 * (1 + 1 / 3) + 2 * 2.0,  # with a reference
    }
    assert forecast.total == pytest.approx(4 + 22 + 14.6667, abs=1e-3)
    assert forecast.memory_gb > 0.1
    assert len(runs) == 1 + (3 + 1) * 2


def test_a_recipe_without_preferences_has_one_stage(tmp_path):
    world = World.of(tmp_path, auxiliary=None, sft={"epochs": 0.5})
    assert list(foretell(world.recipe, world.prepared).seconds) == ["SFT"]


def test_a_forecast_in_words():
    said = Forecast({"SASRec": 125.0, "SFT": 480.0, "preference": 30.0}, 1.26).in_words()
    assert said.startswith("about 11 minutes (SASRec 2, SFT 8, preference <1) and 1.3 GB on ")


@pytest.mark.parametrize("name", ["hardest", "generated"])
def test_negatives_that_rest_on_a_trained_model_need_none_for_a_forecast(tmp_path, name):
    world = World.of(tmp_path, objective={"name": "sdpo"}, negatives={"name": name}, preference={"epochs": 0.25})
    forecast = foretell(world.recipe, world.prepared)
    assert forecast.seconds["preference"] > 0
    assert ("the model's own proposals" in forecast.in_words()) == (name == "generated")


def test_rounds_are_reckoned_by_their_passes_and_an_oracles_folds_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_stage", lambda inputs, *given, **named: {"SFT": 40.0}.get(inputs.name, 10.0))
    monkeypatch.setattr(module, "_auxiliary", lambda *given: 5.0)
    monkeypatch.setattr(module, "overlap", lambda *given: {"preference_positives": 400})
    rounds = {"count": 3, "examples": 100, "sft": {"epochs": 1}}
    world = World.of(tmp_path, objective={"name": "rosepo"}, rounds=rounds, sft={"epochs": 4}, preference={"epochs": 1})
    forecast = foretell(world.recipe, world.prepared)
    # three quarters of all: 10 s of preferences, and 40 s / 4 of supervised passes
    assert forecast.seconds["preference"] == pytest.approx(0.75 * 10 + 0.75 * 10)
    assert "and what the oracle's 2 folds take" in forecast.in_words()
