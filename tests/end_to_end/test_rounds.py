"""Rounds of self-training with a real language model, an adapter and titles of many tokens: a handful of steps."""

import json

import numpy as np
import pytest

from napo.training.pairs import Pairs
from napo.training.rounds import PREFERENCE, SUPERVISED, Ended
from napo.training.run import train_recipe
from tests.tiny_world import Quiet, tiny_recipe

pytestmark = pytest.mark.slow

SECTIONS = {
    "model": {"name": "smollm2-135m-instruct", "precision": "float32", "lora": {"r": 4, "dropout": 0.0}},
    "prompt": {"max_history": 8, "max_tokens": 128},
    "sft": None,
    "objective": {"name": "dpo", "beta": 1.0},
    "preference": {"lr": 1e-3, "warmup_steps": 0, "batch": 2, "epochs": 1.0},
    "auxiliary": None,
    "evaluation": {"validation_cases": 2},
}


@pytest.mark.parametrize(("ground", "rounds"), [("spelling", 1), ("catalog", 2)])
def test_rounds_of_self_play_move_the_adapter_and_reject_what_the_model_says(tmp_path, ground, rounds):
    recipe = tiny_recipe(
        tmp_path / "data",
        **SECTIONS,
        normalize="catalog" if ground == "catalog" else "vocabulary",
        negatives={"name": "generated", "count": 1, "ground": ground},
        rounds={"count": rounds, "examples": 6, "sft": {"lr": 1e-3, "warmup_steps": 0, "batch": 2}, "keep": "last"},
    )
    run = train_recipe(recipe, tmp_path / "runs" / "x", progress=Quiet())
    before = None
    for number in range(1, rounds + 1):
        folder = run.folder / "preference" / f"round-{number}"
        ended = Ended.load(folder)
        assert {name: outcome.steps for name, outcome in ended.passes.items()} == {SUPERVISED: 1, PREFERENCE: 1}
        (path,) = folder.glob("pairs-*.safetensors")
        pairs = Pairs.load(path)
        assert len(pairs.users) == 6  # one user's row
        assert pairs.labelled.trains.all()
        seen = [run.prepared.split.seen(user) for user in pairs.users]
        assert not any(np.isin(row, known).any() for row, known in zip(pairs.labelled.rejected, seen, strict=True))
        first = json.loads((folder / PREFERENCE / "metrics.jsonl").read_text().splitlines()[1])
        assert first["loss"] == pytest.approx(
            np.log(2), abs=0.02
        )  # bfloat16: another row of the batch rounds otherwise
        adapter = (folder / PREFERENCE / "best" / "adapter_model.safetensors").read_bytes()
        assert adapter != before
        before = adapter
