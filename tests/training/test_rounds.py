"""Rounds of self-training: whose proposals are rejected when, what goes on, what is delivered, what resuming keeps."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from napo.errors import UserError
from napo.evaluation.runs import display_name
from napo.models.language import open_folder
from napo.negatives.generated import Settings
from napo.recipe import Recipe, changed, check_methods
from napo.rng import seed_for
from napo.training.compare import check_alike
from napo.training.generation import Generator
from napo.training.pairs import Pairs
from napo.training.rounds import PREFERENCE, SUPERVISED, Ended, supervised_stage
from napo.training.run import Run, train_recipe
from napo.training.weights import load_policy_weights
from tests.tiny_world import Quiet, tiny_recipe

SELF_PLAY = {
    "objective": {"name": "dpo"},
    "negatives": {"name": "generated", "count": 1},
    "sft": {"epochs": 0.5},
    "preference": {"epochs": 1.0, "lr": 1e-2, "batch": 4},
}
SFT = {"lr": 1e-2, "warmup_steps": 0, "batch": 4}


def train(folder: Path, quiet: Quiet | None = None, resume: bool = False, sections=None, **rounds) -> Run:
    rounds = {"count": 2, "examples": 60, "sft": SFT, "keep": "last", **rounds}
    recipe = tiny_recipe(folder / "data", **{**SELF_PLAY, **(sections or {})}, rounds=rounds)
    return train_recipe(recipe, folder / "runs" / "x", resume=resume, progress=quiet or Quiet())


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    quiet = Quiet()
    return train(tmp_path_factory.mktemp("rounds"), quiet), quiet


def lines(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def pairs_of(run: Run, number: int) -> Pairs:
    (path,) = (run.folder / "preference" / f"round-{number}").glob("pairs-*.safetensors")
    return Pairs.load(path)


def test_a_round_is_proposals_then_a_supervised_pass_then_a_preference_pass(done):
    _, quiet = done
    parts = ["proposals", "supervised", "preference"]
    expected = ["SFT", *(f"round {number}, {part}" for number in (1, 2) for part in parts)]
    assert list(dict.fromkeys(name for name, _ in quiet.steps)) == expected
    assert sum("Round 2 of 2: validation NDCG" in line for line in quiet.said) == 1


def test_each_rounds_proposals_are_those_of_the_model_that_the_round_before_handed_on(done):
    run, _ = done
    language, split = open_folder(run.folder / "model"), run.prepared.split
    starts = [run.folder / "preference" / "start", run.folder / "preference" / "round-1" / PREFERENCE / "best"]
    found = []
    for number, start in enumerate(starts, start=1):
        load_policy_weights(language.model, start)
        pairs = pairs_of(run, number)
        where = list(zip(pairs.users.tolist(), pairs.positions.tolist(), strict=True))
        seed = seed_for(run.recipe.seed, f"round {number}, preference")
        again = Generator(language)(
            [split.sequences[user][:at] for user, at in where],
            [split.seen(user) for user, _ in where],
            1,
            [(seed, "proposals", split.user_keys[user], at) for user, at in where],
            Settings(),
        )
        assert again.tolist() == pairs.labelled.rejected.tolist()
        found.append(where)
    assert found[0] != found[1]  # other examples are drawn for each round
    assert 60 <= len(found[0]) < 66  # in whole rows of six


def test_passes_hand_on_their_last_weights_and_looks_join(done):
    run, _ = done
    one, two = (Ended.load(run.folder / "preference" / f"round-{number}") for number in (1, 2))
    assert list(one.passes) == [SUPERVISED, PREFERENCE]
    for ended in (one, two):
        assert all(outcome.best["step"] == outcome.last["step"] == outcome.steps for outcome in ended.passes.values())
        assert ended.passes[PREFERENCE].start["ndcg"] == ended.passes[SUPERVISED].best["ndcg"]
    assert two.start["ndcg"] == one.end["ndcg"]
    outcome = run.outcomes["preference"]
    assert (outcome.start["ndcg"], outcome.best["ndcg"]) == (one.start["ndcg"], two.end["ndcg"])
    assert outcome.best["step"] == outcome.steps == one.steps + two.steps


def test_the_rounds_read_as_one_stage(done):
    run, _ = done
    logged = lines(run.stages["preference"] / "metrics.jsonl")
    steps = [line["step"] for line in logged]
    assert steps == sorted(steps)
    assert steps[-1] == run.outcomes["preference"].steps
    assert steps.count(0) == 1
    assert {line["round"] for line in logged} == {1, 2}
    seconds = [line["seconds"] for line in logged]
    assert seconds == sorted(seconds)


def test_rewards_start_at_zero_in_each_preference_pass(done):
    run, _ = done
    for number in (1, 2):
        first = lines(run.folder / "preference" / f"round-{number}" / PREFERENCE / "metrics.jsonl")[1]
        assert first["loss"] == pytest.approx(np.log(2), abs=1e-5)


def test_what_only_resuming_needs_is_gone(done):
    run, _ = done
    assert not list((run.folder / "preference").rglob("checkpoint-*"))
    assert not list((run.folder / "preference").rglob("reference-*"))


def test_the_best_round_is_delivered_unless_the_recipe_says_otherwise(done, tmp_path):
    run, _ = done
    best = train(tmp_path, keep="round")
    rounds = [Ended.load(best.folder / "preference" / f"round-{number}") for number in (1, 2)]
    looks = [rounds[0].start["ndcg"], rounds[0].end["ndcg"], rounds[1].end["ndcg"]]
    assert looks[2] == run.outcomes["preference"].best["ndcg"]  # the way is the same
    outcome = best.outcomes["preference"]
    assert outcome.best["ndcg"] == max(looks)
    weights = [
        best.folder / "preference" / "start",
        *(best.folder / "preference" / f"round-{n}" / PREFERENCE / "best" for n in (1, 2)),
    ]
    delivered = weights[looks.index(max(looks))] / "model.safetensors"
    assert (best.folder / "preference" / "best" / "model.safetensors").read_bytes() == delivered.read_bytes()


def test_a_pass_may_hand_on_its_best_look(tmp_path):
    run = train(tmp_path, keep="look", count=1, sft=None)
    (ended,) = [Ended.load(run.folder / "preference" / "round-1")]
    outcome = ended.passes[PREFERENCE]
    assert list(ended.passes) == [PREFERENCE]
    assert outcome.best["ndcg"] == max(outcome.start["ndcg"], outcome.last["ndcg"])


@pytest.mark.parametrize("reference", ["round", "start"])
def test_rewards_may_be_relative_to_the_model_before_the_supervised_pass(tmp_path, reference):
    run = train(tmp_path, count=1, reference=reference)
    first = lines(run.folder / "preference" / "round-1" / PREFERENCE / "metrics.jsonl")[1]
    assert abs(first["loss"] - np.log(2)) > 1e-3


def test_the_same_examples_may_serve_all_rounds(tmp_path):
    run = train(tmp_path, redraw=False)
    first, second = pairs_of(run, 1), pairs_of(run, 2)
    np.testing.assert_array_equal(first.users, second.users)
    np.testing.assert_array_equal(first.positions, second.positions)


class PowerCutError(Exception):
    pass


def test_a_run_broken_off_between_rounds_and_within_ends_as_the_unbroken_one(done, tmp_path):
    run, _ = done
    cuts = [
        ("round 1, supervised", 2),
        ("round 1, preference", 3),
        ("round 2, proposals", 60),
        ("round 2, preference", 1),
    ]
    for name, step in cuts:

        def at_step(stage: str, done: int, name=name, step=step) -> None:
            if stage == name and done >= step:
                raise PowerCutError

        with pytest.raises(PowerCutError):
            train(tmp_path, Quiet(at_step=at_step), resume=True)
    last = train(tmp_path, resume=True)
    for number in (1, 2):
        assert pairs_of(last, number).digest == pairs_of(run, number).digest
    outcome, expected = last.outcomes["preference"], run.outcomes["preference"]
    assert (outcome.start, outcome.best, outcome.last) == (expected.start, expected.best, expected.last)
    whole, resumed = (one.folder / "model" / "model.safetensors" for one in (run, last))
    assert whole.read_bytes() == resumed.read_bytes()


def test_a_finished_run_is_not_run_again(done):
    run, _ = done
    quiet = Quiet()
    again = train(run.folder.parents[1], quiet, resume=True)
    assert again.outcomes == run.outcomes
    assert quiet.steps == []


def test_rounds_take_any_sampler_and_objective(tmp_path):
    recipe = tiny_recipe(
        tmp_path / "data",
        objective={"name": "napo"},
        negatives={"name": "popularity", "count": 2},
        rounds={"count": 1, "sft": None},
        sft={"epochs": 0.5},
    )
    assert display_name(recipe) == "NAPO in rounds"
    run = train_recipe(recipe, tmp_path / "runs" / "x", progress=Quiet())
    assert len(pairs_of(run, 1).users) == 180  # without a number, all


# What one round is by another name


@dataclass(frozen=True)
class Recorded:
    """A sampler of the plain stage, whose draws are those that a round has made."""

    pairs: Pairs
    needs_auxiliary = False

    def draw(self, example, seen, count, rng):
        return self.pairs.draw(example, seen, count, rng)


def losses_and_weights(run: Run, folder: Path):
    logged = [line["loss"] for line in lines(folder / "metrics.jsonl") if "loss" in line]
    return logged, load_file(run.folder / "model" / "model.safetensors")


def test_one_round_of_uniform_negatives_without_a_supervised_pass_is_plain_dpo(tmp_path, monkeypatch):
    # all the rows in each step: in which order they come then makes no difference
    whole = {"preference": {"epochs": 3.0, "lr": 1e-2, "batch": 32}}
    sections = {"negatives": {"name": "uniform", "count": 1}, **whole}
    rounds = train(tmp_path / "rounds", sections=sections, count=1, examples=None, sft=None, keep="look")
    pairs = pairs_of(rounds, 1)
    assert len(set(pairs.labelled.rejected.ravel().tolist())) > 30
    monkeypatch.setattr("napo.training.stages.sampler_of", lambda *of: Recorded(pairs))
    recipe = tiny_recipe(tmp_path / "plain" / "data", **{**SELF_PLAY, **sections})
    plain = train_recipe(recipe, tmp_path / "plain" / "runs" / "x", progress=Quiet())
    ours, our_weights = losses_and_weights(rounds, rounds.folder / "preference" / "round-1" / PREFERENCE)
    theirs, their_weights = losses_and_weights(plain, plain.stages["preference"])
    assert len(ours) == 3
    assert ours == pytest.approx(theirs, rel=1e-5)
    assert ours[0] == pytest.approx(np.log(2), abs=1e-5)
    assert ours[2] < ours[0] - 0.02
    for name, weight in our_weights.items():
        torch.testing.assert_close(weight, their_weights[name], atol=2e-4, rtol=1e-3)


def test_several_titles_of_the_models_own_are_the_pool_of_sdpo(tmp_path):
    sections = {"objective": {"name": "sdpo"}, "negatives": {"name": "generated", "count": 3}}
    run = train(tmp_path, sections=sections, count=1)
    rejected = pairs_of(run, 1).labelled.rejected
    assert rejected.shape[1] == 3
    assert all(len(set(row)) == 3 for row in rejected.tolist())
    first = lines(run.folder / "preference" / "round-1" / PREFERENCE / "metrics.jsonl")[1]
    assert first["loss"] == pytest.approx(np.log(4), abs=1e-5)  # one of four at the start of a pass


def test_rosepo_without_smoothing_on_the_models_best_titles_after_a_supervised_pass_is_a_round_of_sprec(tmp_path):
    negatives = {"name": "generated", "count": 1, "decoding": "best"}
    found = []
    for objective in ({"name": "dpo", "beta": 0.5}, {"name": "rosepo", "beta": 0.5, "smoothing": 0.0}):
        sections = {"objective": objective, "negatives": negatives}
        run = train(tmp_path / objective["name"], sections=sections, count=1)
        found.append(losses_and_weights(run, run.folder / "preference" / "round-1" / PREFERENCE))
    (sprec, sprec_weights), (rosepo, rosepo_weights) = found
    assert sprec == pytest.approx(rosepo, rel=1e-5)
    for name, weight in sprec_weights.items():
        torch.testing.assert_close(weight, rosepo_weights[name], atol=2e-4, rtol=1e-3)


def test_rounds_are_compared_with_one_stage():
    data = {"data": {"source": "ml-100k"}}
    plain, rounds = (Recipe.model_validate({**data, **SELF_PLAY, **more}) for more in ({}, {"rounds": {}}))
    check_alike({Path("dpo.yaml"): plain, Path("rounds.yaml"): rounds})


def test_what_a_supervised_pass_does_not_say_is_the_preference_stages():
    sections = {**SELF_PLAY, "rounds": {"sft": {"lr": 1e-5, "leave_out": 0.3}}}
    recipe = Recipe.model_validate({"data": {"source": "ml-100k"}, **sections})
    stage = supervised_stage(recipe)
    assert (stage.lr, stage.leave_out) == (1e-5, 0.3)
    assert (stage.batch, stage.epochs, stage.form) == (4, 1.0, recipe.preference.form)


@pytest.mark.parametrize(
    ("sections", "what"),
    [
        ({"objective": None}, "there is no `objective`"),
        ({"preference": {"lr": 1e-3, "shift": True}}, "`preference.shift` changes the rows"),
        ({"preference": {"lr": 1e-3, "leave_out": 0.2}}, "`preference.leave_out` changes the rows"),
        ({"rounds": {"label": {"name": "loged"}}}, "no 'loged' among labels"),
        ({"rounds": {"label": {"name": "logged", "of": 1}}}, "`rounds.label.of`"),
    ],
)
def test_what_does_not_go_with_rounds_is_said_before_anything_is_trained(tmp_path, sections, what):
    keys = {"data": {"source": "ml-100k"}, **SELF_PLAY, "rounds": {"count": 2}, **sections}
    recipe = Recipe.model_validate(keys)
    with pytest.raises(UserError) as caught:
        changed(recipe, {})
    assert what in str(caught.value)
    assert caught.value.remedy


def test_what_was_trained_without_rounds_has_the_recipe_it_had():
    plain = Recipe.model_validate({"data": {"source": "ml-100k"}})
    assert "rounds" not in plain.resolved()
    with_rounds = check_methods(Recipe.model_validate({"data": {"source": "ml-100k"}, **SELF_PLAY, "rounds": {}}))
    assert Recipe.model_validate(with_rounds.resolved()) == with_rounds
