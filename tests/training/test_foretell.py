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
