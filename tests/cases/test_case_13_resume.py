"""Case 13: a run that was broken off, once or twice, trains the same examples in the same order to the same end.

SIGKILL at any moment, half-written checkpoints and the command itself: tests/end_to_end/test_resume.py.
"""

import json

import pytest

from napo.training.run import Run, train_recipe
from napo.training.trainer import TitleTrainer
from tests.tiny_world import Quiet, tiny_recipe

pytestmark = pytest.mark.slow

# 3 epochs of 15 steps, a checkpoint every 5; dropout, and in the second stage NAPO's sharing and its moving average
STAGE = {"epochs": 3.0, "batch": 4, "save_every": 5, "leave_out": 0.2, "row": 4, "shift": True, "evaluate_every": 1.0}
SECTIONS = {
    "model": {"dropout": {"embedding": 0.1, "block": 0.1}},
    "sft": STAGE,
    "preference": {**STAGE, "dropout": True},
    "objective": {"name": "napo"},
}
Steps = dict[tuple[str, int], list[object]]


class PowerCutError(Exception):
    pass


def train(folder, steps: Steps, cut: tuple[str, int] | None = None) -> Run:
    """steps: the examples of each step that was taken, by stage and step; a step that is taken again has to agree."""

    def at_step(name: str, step: int) -> None:
        if (name, step) == cut:
            raise PowerCutError

    def compute_loss(self, model, inputs, *given, **more):
        example = [inputs[name].tolist() for name in ("user", "chosen", "rejected")]
        key = (str(self.args.output_dir).rpartition("/")[2].partition("-")[0], self.state.global_step + 1)
        assert steps.setdefault(key, example) == example
        return loss(self, model, inputs, *given, **more)

    loss = TitleTrainer.compute_loss
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TitleTrainer, "compute_loss", compute_loss)
        recipe = tiny_recipe(folder / "data", **SECTIONS)
        return train_recipe(recipe, folder / "runs" / "napo", resume=True, progress=Quiet(at_step=at_step))


def losses(run: Run) -> dict[str, dict[int, float]]:
    found = {}
    for name, stage in run.stages.items():
        lines = [json.loads(line) for line in (stage / "metrics.jsonl").read_text().splitlines()]
        found[name] = {entry["step"]: entry["loss"] for entry in lines if "loss" in entry}
    return found


def test_a_run_broken_off_four_times_trains_what_the_unbroken_one_trains(tmp_path):
    unbroken: Steps = {}
    whole = train(tmp_path / "whole", unbroken)
    broken: Steps = {}
    # in the first epoch, in the second, and twice from one checkpoint of the second stage
    for cut in (("SFT", 7), ("SFT", 20), ("NAPO", 22), ("NAPO", 23)):
        with pytest.raises(PowerCutError):
            train(tmp_path / "broken", broken, cut)
    last = train(tmp_path / "broken", broken)
    assert len(unbroken) == 90
    assert broken == unbroken
    for name, by_step in losses(whole).items():
        assert losses(last)[name] == pytest.approx(by_step, abs=1e-6)
    for name, outcome in whole.outcomes.items():
        found = last.outcomes[name]
        assert (found.start, found.best, found.last) == (outcome.start, outcome.best, outcome.last)
