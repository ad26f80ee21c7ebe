import math

import pytest
import torch

from napo import plugins
from napo.objectives import sft
from napo.recipe import Method
from napo.scoring import temperature
from napo.scoring.scored import Scored
from napo.training.batches import Batch
from napo.training.module import PreferenceModule
from napo.training.stage import StageInputs
from tests.tiny_world import World


def made(world: World, name: str, **settings: object) -> tuple[PreferenceModule, Batch]:
    """The recipe's module with an objective, in training mode, and the first batch of the preference stage."""
    inputs = World(
        world.recipe.model_copy(update={"objective": Method(name=name)}),
        world.prepared,
        world.language,
    ).preference()
    objective = plugins.load("objectives", name)
    inner = objective.Objective(objective.Settings(**settings))
    return of(inputs, inner), inputs.batches[0]


def of(inputs: StageInputs, objective: torch.nn.Module) -> PreferenceModule:
    language = inputs.language
    return PreferenceModule(language.policy, objective, language.tree, language.usage.normalize, inputs.temperature)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return World.of(tmp_path_factory.mktemp("world"), objective={"name": "napo"})


@pytest.mark.parametrize(("name", "loss"), [("dpo", math.log(2)), ("sdpo", math.log(4)), ("dmpo", math.log(2))])
def test_where_the_policy_is_the_reference_losses_are_known_and_rewards_zero(world, name, loss):
    module, batch = made(world, name)
    with torch.no_grad():
        batch["reference"] = module.scored(batch).policy
    found = module(batch)
    torch.testing.assert_close(found.losses, torch.full_like(found.losses, loss), rtol=0, atol=1e-5)
    for figure in ("chosen_reward", "rejected_reward", "reward_margin"):
        assert abs(float(found.figures[figure])) < 1e-5


def test_the_supervised_loss_is_minus_the_chosen_titles_log_prob(world):
    module, batch = made(world, "sft")
    scored: Scored = module.scored(batch)
    torch.testing.assert_close(module(batch).losses, -scored.policy[:, 0])
    assert float(module(batch).figures["chosen_log_prob"].detach()) == pytest.approx(
        float(scored.policy[:, 0].detach().mean())
    )


def test_every_example_has_its_ids_beside_its_log_probs(world):
    module, batch = made(world, "napo")
    scored = module.scored(batch)
    assert scored.side is not None
    torch.testing.assert_close(scored.side.rejected, batch["rejected"])
    torch.testing.assert_close(scored.side.auxiliary, batch["auxiliary"])
    assert scored.lengths.shape == scored.policy.shape == (len(batch["chosen"]), 4)


def test_the_states_of_objective_and_temperature_are_saved_with_the_module(world):
    module, batch = made(world, "napo")
    module.train()
    module(batch)
    state = module.state_dict()
    assert state["objective.steps"] == 1
    assert state["objective.moving_mean"] != 0
    inputs = world.supervised()
    warm = PreferenceModule(
        world.language.policy,
        sft.Objective(sft.Settings()),
        world.language.tree,
        "catalog",
        temperature.AdaptiveTemperature(temperature.Settings(start=2.0)),
    ).train()
    before = warm.state_dict()["temperature.value"].clone()
    warm(inputs.batches[0])
    assert before == 2.0
    assert warm.state_dict()["temperature.value"] != before


def test_the_temperature_divides_logits_and_multiplies_log_probs(world):
    inputs = world.supervised()
    batch = inputs.batches[0]
    plain = of(inputs, sft.Objective(sft.Settings()))

    class Two(torch.nn.Module):
        def forward(self, *given):
            return torch.tensor(2.0)

    plain.temperature = Two()
    hot = plain.scored(batch).policy
    plain.temperature = None
    assert (hot - plain.scored(batch).policy).abs().max() > 0.1
    # nearly equal logits: at any temperature tau the log-prob is nearly log(1 / children), and it comes times tau
    assert (hot / 2 - plain.scored(batch).policy).abs().max() < 0.5
