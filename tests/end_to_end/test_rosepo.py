"""RosePO with a real language model: titles that sound like the history's are rejected, as far as oracles agree."""

import json
import math

import pytest

from napo.training.run import train_recipe
from tests.tiny_world import Quiet, tiny_recipe


@pytest.mark.slow
def test_a_real_model_with_an_adapter_takes_steps_softened_by_two_oracles(tmp_path):
    recipe = tiny_recipe(
        tmp_path / "data",
        objective={"name": "rosepo", "temperature": 1.0},  # a log by chance has nothing to fit it to
        negatives={"name": "semantic", "count": 1},  # by the model's own token vectors
        model={"name": "smollm2-135m-instruct", "precision": "float32", "lora": {"r": 4, "dropout": 0.0}},
        prompt={"max_history": 8, "max_tokens": 128},
        sft=None,
        preference={"epochs": 0.2, "batch": 2, "lr": 1e-3},  # 3 steps of 2 rows
        evaluation={"validation_cases": 8},  # of either oracle's users some
    )
    run = train_recipe(recipe, tmp_path / "runs" / "x", progress=Quiet())
    stage = run.stages["preference"]
    lines = [json.loads(line) for line in (stage / "metrics.jsonl").read_text().splitlines()]
    trained = [line for line in lines if "loss" in line]
    assert run.outcomes["preference"].steps == 3
    assert trained[0]["loss"] == pytest.approx(math.log(2), abs=0.02)  # whatever the factors are
    for line in trained:
        assert 0 < line["smoothing"] <= 0.5
        assert 0 < line["smoothing_held_out"] <= 0.5
        assert all(math.isfinite(line[name]) for name in ("loss", "capped_share"))
    assert trained[-1]["loss"] != trained[0]["loss"]
