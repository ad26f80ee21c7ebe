import json

import pytest
import torch
from safetensors.torch import load_file

from napo.errors import UserError
from napo.training import stage as stage_module
from napo.training.stage import Outcome, run_stage, training_arguments
from napo.training.weights import load_policy_weights
from tests.tiny_world import Quiet, World


def world_of(tmp_path, objective: str = "sdpo", **preference) -> World:
    return World.of(tmp_path / "data", objective={"name": objective}, preference=preference)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """The best weights of a supervised stage on a log that can be learnt: NDCG above 0.9, chance is 0.36."""
    folder = tmp_path_factory.mktemp("learnt")
    sft = {"epochs": 40.0, "lr": 1e-2, "leave_out": 0.0, "evaluate_every": 10.0}
    model = {"dropout": {"embedding": 0.0}}
    found = run_stage(World.of(folder / "data", chain=True, sft=sft, model=model).supervised(), folder / "stage")
    assert found.best["ndcg"] > 0.9
    return folder / "stage" / "best"


def learnt_world(tmp_path, learnt, **preference) -> World:
    world = World.of(tmp_path / "data", chain=True, objective={"name": "sdpo"}, preference=preference)
    load_policy_weights(world.language.model, learnt)
    return world


def ran(world: World, folder, quiet: Quiet | None = None) -> Outcome:
    quiet = quiet or Quiet()
    return run_stage(world.preference(), folder, quiet.stage("here"), quiet.say)


def weights_of(world: World) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in world.language.model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def outcome(start: float, best: float, step: int, last: float) -> Outcome:
    looks = [{"step": at, "ndcg": ndcg, "hr@1": ndcg / 2} for at, ndcg in ((0, start), (step, best), (8, last))]
    return Outcome("S-DPO", *looks, steps=8, seconds=1.0)


def test_the_verdict_says_which_model_is_delivered():
    better = outcome(0.7, 0.75, 4, 0.72)
    assert better.helped
    assert better.verdict == (
        "S-DPO: validation went from NDCG 0.7000, HR@1 0.3500 at the start to NDCG 0.7500, HR@1 0.3750 at step 4"
        " of 8. The delivered model is that of step 4."
    )
    worse = outcome(0.7, 0.7, 0, 0.6)
    assert not worse.helped
    assert worse.verdict == (
        "S-DPO did not help: validation went from NDCG 0.7000, HR@1 0.3500 at the start to NDCG 0.6000, HR@1 0.3000 at"
        " step 8, and no step was better. The delivered model is the one it started from."
    )


def test_an_outcome_comes_back(tmp_path):
    assert Outcome.load(tmp_path) is None
    said = outcome(0.7, 0.75, 4, 0.72)
    said.save(tmp_path)
    assert Outcome.load(tmp_path) == said
    assert json.loads((tmp_path / "outcome.json").read_text())["verdict"] == said.verdict


def test_the_model_holds_the_weights_of_the_best_look(tmp_path):
    world = world_of(tmp_path, epochs=6.0, lr=3e-3)
    start = weights_of(world)
    found = ran(world, tmp_path / "stage")
    kept = load_file(tmp_path / "stage" / "best" / "model.safetensors")
    assert same(kept, weights_of(world))
    assert found.best == json.loads((tmp_path / "stage" / "best" / "validation.json").read_text())
    assert found.helped == (not same(start, weights_of(world)))
    looks = [json.loads(line) for line in (tmp_path / "stage" / "metrics.jsonl").read_text().splitlines()]
    by_step = {entry["step"]: entry["eval_ndcg"] for entry in looks if "eval_ndcg" in entry}
    assert list(by_step) == [0, 4, 8, 12, 16, 20, 24]
    assert found.best["ndcg"] == max(by_step.values())
    # and what is said of it is what it does
    again = stage_module._validation(world.preference())()
    assert again["ndcg"] == pytest.approx(found.best["ndcg"], abs=1e-9)
    assert not world.language.model.training


def test_a_rate_far_too_high_delivers_the_start_and_says_so(tmp_path, learnt):
    world = learnt_world(tmp_path, learnt, epochs=4.0, lr=1.0)
    start = weights_of(world)
    found = ran(world, tmp_path / "stage")
    assert found.best["step"] == 0
    assert "did not help" in found.verdict
    assert found.verdict.endswith("The delivered model is the one it started from.")
    assert same(start, weights_of(world))
    assert found.last["step"] == 16
    assert found.last["ndcg"] < found.start["ndcg"] - 0.3


def test_the_first_line_of_a_stage_with_a_reference_starts_at_its_loss(tmp_path):
    ran(world_of(tmp_path), tmp_path / "stage")
    lines = [json.loads(line) for line in (tmp_path / "stage" / "metrics.jsonl").read_text().splitlines()]
    first = next(entry for entry in lines if "loss" in entry)
    assert first["step"] == 1
    assert first["loss"] == pytest.approx(1.386294, abs=1e-5)  # log(1 + 3)
    assert first["reward_margin"] == pytest.approx(0.0, abs=1e-5)
    assert "chosen_log_prob" in first


def test_a_stage_that_has_ended_is_not_trained_again(tmp_path):
    world = world_of(tmp_path)
    first = ran(world, tmp_path / "stage")
    delivered = weights_of(world)
    quiet = Quiet()
    again = world_of(tmp_path)
    assert ran(again, tmp_path / "stage", quiet) == first
    assert quiet.steps == []
    assert same(weights_of(again), delivered)


def test_patience_stops_the_stage(tmp_path, learnt):
    found = ran(learnt_world(tmp_path, learnt, epochs=10.0, lr=1.0, patience=2), tmp_path / "stage")
    assert (found.steps, found.last["step"]) == (8, 8)


@pytest.mark.parametrize("settings", [{"epochs": 10.0, "lr": 1.0, "patience": 1}, {"epochs": 2.0}])
def test_a_run_that_was_broken_off_after_its_last_step_is_only_put_to_paper(tmp_path, learnt, settings):
    first = ran(learnt_world(tmp_path, learnt, **settings), tmp_path / "stage")
    (tmp_path / "stage" / "outcome.json").unlink()
    quiet = Quiet()
    assert ran(learnt_world(tmp_path, learnt, **settings), tmp_path / "stage", quiet) == first
    assert quiet.steps == []


def test_a_checkpoint_every_so_many_steps(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(
        stage_module.TitleTrainer, "_save_checkpoint", lambda self, *_: saved.append(self.state.global_step)
    )
    ran(world_of(tmp_path, epochs=2.0, evaluate_every=2.0, save_every=3), tmp_path / "stage")
    assert saved == [3, 6, 8]


def test_a_loss_that_stays_where_it_was_is_reported(tmp_path):
    quiet = Quiet()
    ran(world_of(tmp_path, epochs=15.0, lr=1e-12, evaluate_every=5.0), tmp_path / "stage", quiet)
    assert len(quiet.said) == 1
    assert "has stayed at 1.386" in quiet.said[0]


def test_a_poisoned_model_is_a_users_mistake(tmp_path):
    world = world_of(tmp_path, "napo", epochs=2.0)

    def poison(name: str, step: int) -> None:
        if step == 6:
            with torch.no_grad():
                world.language.model.model.norm.weight[0] = torch.inf

    with pytest.raises(UserError, match=r"the loss is nan at step 7"):
        ran(world, tmp_path / "stage", Quiet(at_step=poison))
    assert (tmp_path / "stage" / "checkpoint-4" / "complete").is_file()
    assert not (tmp_path / "stage" / "outcome.json").exists()


class PowerCutError(Exception):
    pass


def test_an_adapters_stage_is_gone_on_with_where_it_was_broken_off(tmp_path):
    base = World.of(tmp_path / "data").language
    (tmp_path / "base").mkdir()
    base.save(tmp_path / "base")
    lora = {"name": str(tmp_path / "base"), "lora": {"r": 2, "dropout": 0.1}, "precision": "float32"}

    def world() -> World:
        keys = {"preference": {"save_every": 3, "dropout": True}, "objective": {"name": "napo"}}
        return World.of(tmp_path / "data", model=lora, **keys)

    def cut(name: str, step: int) -> None:
        if step == 7:
            raise PowerCutError

    unbroken, broken = world(), world()
    expected = ran(unbroken, tmp_path / "unbroken")
    with pytest.raises(PowerCutError):
        ran(world(), tmp_path / "broken", Quiet(at_step=cut))
    quiet = Quiet()
    found = ran(broken, tmp_path / "broken", quiet)
    assert quiet.steps[0] == ("here", 7)
    assert (found.best, found.last) == (expected.best, expected.last)
    assert same(weights_of(broken), weights_of(unbroken))
    adapters = [
        load_file(tmp_path / name / "checkpoint-8" / "adapter_model.safetensors") for name in ("broken", "unbroken")
    ]
    assert adapters[0].keys() == adapters[1].keys()
    assert same(*adapters)


def test_bfloat16_autocast_starts_at_the_reference_too(tmp_path):
    world = world_of(tmp_path)
    inputs = world.preference()
    mixed = type(inputs)(**{**vars(inputs), "mixed": True})
    quiet = Quiet()
    run_stage(mixed, tmp_path / "stage", quiet.stage("here"), quiet.say)
    lines = [json.loads(line) for line in (tmp_path / "stage" / "metrics.jsonl").read_text().splitlines()]
    first = next(entry for entry in lines if "loss" in entry)
    assert first["loss"] == pytest.approx(1.386294, abs=1e-4)
    assert first["reward_margin"] == pytest.approx(0.0, abs=1e-4)
    assert world.language.model.dtype == torch.float32


def test_the_recipes_stage_in_the_trainers_words(tmp_path):
    world = world_of(tmp_path, lr=1e-3, weight_decay=0.1, warmup_steps=3, clip=0.5, schedule="constant")
    arguments = training_arguments(world.preference(), tmp_path)
    assert (arguments.max_steps, arguments.learning_rate, arguments.weight_decay) == (8, 1e-3, 0.1)
    assert (arguments.warmup_steps, arguments.max_grad_norm) == (3, 0.5)
    assert arguments.lr_scheduler_type == "constant_with_warmup"
    assert arguments.eval_on_start
    assert not training_arguments(world.preference(), tmp_path, begun=True).eval_on_start
    other = type(world.preference())(**{**vars(world.preference()), "seed": 1})
    assert training_arguments(other, tmp_path).seed != arguments.seed
