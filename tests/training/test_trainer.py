import json

import pytest
import torch
from safetensors import SafetensorError
from transformers import TrainerCallback

from napo.errors import UserError
from napo.objectives import sdpo, sft
from napo.training import trainer as trainer_module
from napo.training.module import PreferenceModule
from napo.training.stage import training_arguments
from napo.training.trainer import RunningMeans, TitleTrainer, last_checkpoint, remove_broken, whole_checkpoints
from tests.tiny_world import World, largest_file


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return World.of(tmp_path_factory.mktemp("world"), objective={"name": "sdpo", "reference": False})


def trainer_of(world: World, folder, *callbacks: TrainerCallback, **settings) -> TitleTrainer:
    world = World.of(folder / "data", objective={"name": "sdpo", "reference": False}, **settings)
    inputs = world.preference()
    language = inputs.language
    module = PreferenceModule(language.policy, inputs.objective, language.tree, "catalog")
    arguments = training_arguments(inputs, folder / "stage")
    return TitleTrainer(module, arguments, inputs.batches, lambda: {"ndcg": 0.5, "hr@1": 0.25}, list(callbacks))


def lines(trainer: TitleTrainer, key: str) -> list[dict[str, float]]:
    return [entry for entry in trainer.state.log_history if key in entry]


@pytest.mark.parametrize("objective", [sdpo.Objective(sdpo.Settings(reference=False)), sft.Objective(sft.Settings())])
def test_a_batch_has_the_gradient_of_its_rows_one_by_one(world, objective):
    inputs = world.preference()
    module = PreferenceModule(world.language.policy, objective, world.language.tree, "catalog").double()
    batches = inputs.batches
    examples = len(batches[0]["chosen"])
    module.zero_grad()
    module(batches[0]).losses.mean().backward()
    together = [parameter.grad.clone() for parameter in module.parameters()]
    module.zero_grad()
    for span in batches.plan.batch(0)[1]:  # each row by itself, without padding
        drawn = batches._drawn([span], 0)
        alone = {**batches._titles(drawn), **batches._side(drawn)}
        (module(alone).losses.sum() / examples).backward()
    module.float()
    for parameter, expected in zip(module.parameters(), together, strict=True):
        # Llama takes its norms in float32 whatever its weights are
        torch.testing.assert_close(parameter.grad.double(), expected, rtol=0, atol=1e-6)


def test_the_first_line_is_the_first_steps_and_each_line_the_mean_since_the_one_before(world, tmp_path):
    trainer = trainer_of(world, tmp_path, preference={"epochs": 5.0, "lr": 1e-12})
    expected = []
    for step in range(20):
        with torch.no_grad():
            expected.append(float(trainer.model(trainer._batches[step]).losses.mean()))
    trainer.train()
    assert [entry["step"] for entry in lines(trainer, "loss")] == [1, 10, 20]
    first, second, third = (entry["loss"] for entry in lines(trainer, "loss"))
    assert first == pytest.approx(expected[0], abs=1e-5)
    assert second == pytest.approx(sum(expected[1:10]) / 9, abs=1e-5)
    assert third == pytest.approx(sum(expected[10:]) / 10, abs=1e-5)
    assert [entry["epoch"] for entry in lines(trainer, "loss")] == [0.25, 2.5, 5.0]  # of the data, not of the trainer
    assert {"chosen_log_prob", "reward_margin", "tokens_per_second", "memory_gb"} <= set(lines(trainer, "loss")[0])
    seconds = [entry["seconds"] for entry in trainer.state.log_history]
    assert seconds == sorted(seconds)


def test_training_lowers_the_loss(world, tmp_path):
    trainer = trainer_of(world, tmp_path, preference={"epochs": 10.0, "lr": 1e-2})
    trainer.train()
    losses = [entry["loss"] for entry in lines(trainer, "loss")]
    assert losses[-1] < losses[0] - 0.3


class Poison(TrainerCallback):
    """One weight is no longer a number before the third step."""

    def on_step_begin(self, args, state, control, model=None, **kwargs):
        if state.global_step == 2:
            with torch.no_grad():
                next(model.parameters()).view(-1)[0] = torch.inf


class SaveAlways(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        control.should_save = True


def test_a_loss_that_is_no_number_stops_the_run_and_the_last_good_checkpoint_stays(world, tmp_path):
    trainer = trainer_of(world, tmp_path, SaveAlways(), Poison())
    with pytest.raises(UserError, match=r"the loss is (nan|inf) at step 3") as stopped:
        trainer.train()
    assert "lower rate" in stopped.value.remedy
    assert last_checkpoint(tmp_path / "stage").name == "checkpoint-2"
    assert all(entry["loss"] > 0 for entry in lines(trainer, "loss"))


def test_a_gradient_that_is_no_number_stops_the_run_before_the_weights_move(world, tmp_path):
    trainer = trainer_of(world, tmp_path, SaveAlways())
    weight = next(trainer.model.parameters())
    steps = []

    def break_third(gradient):
        steps.append(weight.detach().clone())
        return gradient * torch.nan if len(steps) == 3 else gradient

    weight.register_hook(break_third)
    with pytest.raises(UserError, match="the gradient's norm is nan at step 3"):
        trainer.train()
    torch.testing.assert_close(weight.detach(), steps[2], rtol=0, atol=0)


def test_a_checkpoint_counts_once_it_is_whole_and_two_are_kept(world, tmp_path):
    trainer_of(world, tmp_path, SaveAlways()).train()
    stage = tmp_path / "stage"
    assert [path.name for path in whole_checkpoints(stage)] == ["checkpoint-7", "checkpoint-8"]
    (stage / "checkpoint-8" / "complete").unlink()
    assert last_checkpoint(stage).name == "checkpoint-7"
    (stage / ".best.abc").mkdir()
    remove_broken(stage)
    assert sorted(path.name for path in stage.iterdir()) == ["checkpoint-7"]
    assert last_checkpoint(tmp_path) is None


def test_the_newest_checkpoint_is_that_of_the_highest_step(tmp_path):
    for step in (9, 10, 100):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "complete").touch()
    assert last_checkpoint(tmp_path).name == "checkpoint-100"


def test_best_weights_that_were_just_being_replaced_come_back(tmp_path):
    old = tmp_path / ".best.old.xyz" / "was"
    old.mkdir(parents=True)
    (old / "model.safetensors").write_bytes(b"kept")
    remove_broken(tmp_path)
    assert (tmp_path / "best" / "model.safetensors").read_bytes() == b"kept"
    assert not (tmp_path / ".best.old.xyz").exists()


def fails(error: Exception):
    def save(*_, **__):
        raise error

    return save


FULL = {
    "weights": ("save_weights", OSError(28, "No space left on device"), "No space left on device"),
    "state": ("save_weights", SafetensorError("I/O error: No space left on device"), "No space left on device"),
    "optimizer": ("torch.save", RuntimeError("PytorchStreamWriter failed writing file data/0"), "failed writing file"),
    "marker": ("json.dumps", OSError(122, "Disk quota exceeded"), "Disk quota exceeded"),
}


@pytest.mark.parametrize("where", FULL)
def test_a_full_disk_is_a_users_mistake_and_leaves_no_half_checkpoint(world, tmp_path, monkeypatch, where):
    name, error, said = FULL[where]
    trainer = trainer_of(world, tmp_path, SaveAlways())
    owner, _, attribute = name.rpartition(".")
    owner = getattr(trainer_module, owner) if owner else trainer_module
    monkeypatch.setattr(owner, attribute, fails(error))
    with pytest.raises(UserError, match=said) as stopped:
        trainer.train()
    assert "free some space" in stopped.value.remedy
    assert not list((tmp_path / "stage").glob("checkpoint-*"))


def test_a_fault_of_ours_while_saving_keeps_its_traceback(world, tmp_path, monkeypatch):
    trainer = trainer_of(world, tmp_path, SaveAlways())
    monkeypatch.setattr(trainer_module, "save_weights", fails(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        trainer.train()


@pytest.mark.parametrize("size", [10_000, 40_000])
def test_the_real_writers_on_a_disk_that_fills_up(world, tmp_path, size):
    """The weights take 34 kB, the optimizer's moments twice as much."""
    trainer = trainer_of(world, tmp_path, SaveAlways())
    with largest_file(size), pytest.raises(UserError, match="cannot write"):
        trainer.train()
    assert not list((tmp_path / "stage").glob("checkpoint-*"))


def test_running_means_go_on_from_what_was_saved():
    unbroken, broken = RunningMeans(), RunningMeans()
    values = [torch.tensor(value) for value in (0.1, 0.7, 0.3)]
    for means in (unbroken, broken):
        for value in values[:2]:
            means.add({"loss": value, "count": torch.tensor(2)})
    resumed = RunningMeans.of(json.loads(json.dumps(broken.to_json())), torch.device("cpu"))
    for means in (unbroken, resumed):
        means.add({"loss": values[2], "count": torch.tensor(5)})
    expected = unbroken.means()
    assert resumed.means() == expected
    assert expected == {"loss": pytest.approx(1.1 / 3), "count": 3.0}
    resumed.add({"loss": torch.tensor(4.0)})
    assert resumed.means() == {"loss": 4.0}  # counting starts anew after each line
