import math

import pytest
import torch

from napo import plugins
from napo.errors import UserError
from napo.objectives import Loss, sft
from napo.objectives._self_hard import distillation
from napo.recipe import Method
from napo.scoring import temperature
from napo.scoring.scored import Scored
from napo.training.batches import Batch
from napo.training.module import PreferenceModule
from napo.training.stage import StageInputs
from napo.training.stages import check_rows
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
    auxiliary = inputs.batches.settings.auxiliary
    items = None if auxiliary is None else torch.from_numpy(auxiliary.items)
    return PreferenceModule(
        language.policy, objective, language.tree, language.usage.normalize, inputs.temperature, items
    )


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
    assert scored.tokens is None  # nobody asked for them


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


@pytest.fixture(scope="module", params=["catalog", "vocabulary"])
def layered(request, tmp_path_factory) -> World:
    """A model of three layers, for objectives that look into them."""
    return World.of(
        tmp_path_factory.mktemp("layered"),
        objective={"name": "ilrec"},
        model={"layers": 3, "vocabulary": 400},
        normalize=request.param,
    )


def test_looking_into_layers_takes_no_pass_of_its_own(layered):
    module, batch = made(layered, "ilrec")
    passes = []
    handle = layered.language.model.base_model.register_forward_hook(lambda *given: passes.append(1))
    try:
        module(batch).losses.sum().backward()
    finally:
        handle.remove()
    assert len(passes) == 1


def test_ilrec_without_its_terms_has_the_supervised_loss_and_its_gradients(layered):
    (module, batch), (plain, _) = (made(layered, "ilrec", strength=0, distillation=0, reward=0), made(layered, "sft"))
    found, expected = module(batch).losses, plain(batch).losses
    torch.testing.assert_close(found, expected)
    weights = list(module.policy.parameters())
    for one, other in zip(*(torch.autograd.grad(loss.sum(), weights) for loss in (found, expected)), strict=True):
        torch.testing.assert_close(one, other)


def test_ilrecs_chosen_titles_are_what_their_tokens_make_of_them_and_the_reward_is_the_auxiliary_models(layered):
    module, batch = made(layered, "ilrec")
    scored = module.scored(batch)
    tokens, side = scored.tokens, scored.side
    assert tokens.layers.shape[0] == 2
    by_token = tokens.logits.log_softmax(dim=1).gather(1, tokens.right[:, None])[:, 0]
    summed = torch.zeros(len(scored.policy)).index_add(0, tokens.example, by_token)
    torch.testing.assert_close(summed, scored.policy[:, 0])
    # along a title the products of the shares that each token gets are the item's own share
    likely = (side.history_vectors @ side.item_vectors.T).softmax(dim=1)
    mass = tokens.leads.mass(likely, tokens.example, tokens.logits)
    share = (mass / mass.sum(dim=1, keepdim=True)).gather(1, tokens.right[:, None])[:, 0].log()
    along = torch.zeros(len(scored.policy)).index_add(0, tokens.example, share)
    torch.testing.assert_close(along.exp(), likely[torch.arange(len(along)), side.chosen], rtol=1e-3, atol=1e-6)


class Taught(torch.nn.Module):
    """Distillation into the first layer alone."""

    needs_rejected = needs_reference = needs_auxiliary = False

    def token_layers(self, depth):
        return (1,)

    def forward(self, scored):
        return Loss(distillation(scored.tokens.logits, scored.tokens.layers), {})


def test_a_layer_is_taught_by_the_last_one_and_no_later_layer_nor_norm_learns_by_that(layered):
    inputs = layered.preference()
    module = of(inputs, Taught())
    module.zero_grad()  # the model is the other tests' too
    module(inputs.batches[0]).losses.sum().backward()
    learnt = {name for name, part in module.named_parameters() if part.grad is not None and part.grad.any()}
    assert learnt
    assert all(".layers.0." in name or "embed_tokens" in name for name in learnt)


def test_layers_that_the_model_lacks_show_before_training(tmp_path):
    world = World.of(tmp_path, objective={"name": "ilrec", "layers": 3}, model={"layers": 2})
    with pytest.raises(UserError, match="3 layers before the last") as caught:
        check_rows(world.recipe, world.prepared, world.language)
    assert caught.value.where == "objective.layers"
