"""What a trainer may rely on, of every module in napo/objectives, found by folder."""

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from napo import plugins
from napo.objectives._loss import Loss
from napo.scoring.scored import Scored, Side
from napo.settings import Strict
from tests.made_tokens import made_tokens

NAMES = plugins.names("objectives")
EXAMPLES, REJECTED = 5, 3


@pytest.fixture(params=NAMES)
def module(request):
    return plugins.load("objectives", request.param)


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request):
    return request.param


def made(module) -> nn.Module:
    return module.Objective(module.Settings())


def scored(dtype=torch.float64, *, policy=None, order=None) -> Scored:
    """Five examples of four users with all that any objective may ask for; `order` permutes them."""
    random = torch.Generator().manual_seed(0)
    drawn = -30 * torch.rand(EXAMPLES, 1 + REJECTED, generator=random, dtype=torch.float64)
    policy = drawn if policy is None else policy
    order = torch.arange(EXAMPLES) if order is None else order
    histories = torch.randn(EXAMPLES, 4, generator=random, dtype=torch.float64)
    # an auxiliary recommender that likes the chosen items, as one that is worth asking does
    items = torch.zeros(40, 4, dtype=torch.float64)
    items[:EXAMPLES] = histories
    side = Side(
        chosen=torch.tensor([0, 1, 2, 3, 4])[order],
        rejected=torch.arange(20, 20 + EXAMPLES * REJECTED).reshape(EXAMPLES, REJECTED)[order],
        user=torch.tensor([0, 0, 1, 2, 3])[order],
        seen=torch.tensor([[0, 1, 9], [0, 1, 9], [2, 20, -1], [3, -1, -1], [4, 30, 31]])[order],
        history_vectors=histories[order].to(dtype),
        auxiliary=torch.randn(EXAMPLES, REJECTED, generator=random, dtype=torch.float64)[order].to(dtype),
        item_vectors=items.to(dtype),
    )
    reference = -30 * torch.rand(EXAMPLES, 1 + REJECTED, generator=random, dtype=torch.float64)
    return Scored(
        policy[order].to(dtype).requires_grad_(),
        torch.full((EXAMPLES, 1 + REJECTED), 4),
        reference[order].to(dtype),
        side,
        made_tokens(order, items=40, dtype=dtype),
    )


def gradient(loss: Loss, batch: Scored) -> torch.Tensor:
    return torch.autograd.grad(loss.losses.sum(), batch.policy)[0]


def test_a_module_says_where_it_stands_and_has_settings_objective_and_a_pure_function(module):
    name = module.__name__.split(".")[-1]
    assert all(f"\n{word} " in module.__doc__ for word in ("Path", "Takes", "Gives"))
    assert issubclass(module.Settings, Strict)
    assert issubclass(module.Objective, nn.Module)
    assert callable(getattr(module, f"{name}_loss"))


def test_settings_have_defaults_and_refuse_unknown_keys(module):
    module.Settings()
    with pytest.raises(ValidationError):
        module.Settings(no_such_key=1)


def test_an_objective_says_what_it_needs(module):
    objective = made(module)
    for need in ("needs_reference", "needs_rejected", "needs_auxiliary"):
        assert isinstance(getattr(objective, need), bool), need


def test_a_reference_can_be_had_and_left_out_where_the_settings_have_the_key(module):
    if "reference" not in module.Settings.model_fields:
        pytest.skip("no such key")
    batch = scored()
    without = replace(batch, reference=None)
    for reference in (True, False):
        objective = module.Objective(module.Settings(reference=reference))
        assert objective.needs_reference == reference
        objective(batch)
    objective(without)
    with pytest.raises(AssertionError, match="reference"):
        module.Objective(module.Settings(reference=True))(without)


def test_losses_come_one_an_example_in_the_dtype_they_were_asked_in_with_their_graph(module, dtype):
    batch = scored(dtype)
    loss = made(module)(batch)
    assert loss.losses.shape == (EXAMPLES,)
    assert loss.losses.dtype == dtype
    assert loss.losses.isfinite().all()
    assert gradient(loss, batch).isfinite().all()


def test_figures_are_detached_numbers(module, dtype):
    loss = made(module)(scored(dtype))
    assert loss.figures
    for name, value in loss.figures.items():
        assert value.shape == (), name
        assert not value.requires_grad, name
        assert value.isfinite(), name
    assert "chosen_log_prob" in loss.figures


def test_float32_agrees_with_float64(module):
    single, double = made(module)(scored(torch.float32)), made(module)(scored(torch.float64))
    torch.testing.assert_close(single.losses.double(), double.losses, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("chosen", "rejected"), [(-900.0, -100.0), (-100.0, -900.0), (-900.0, -900.0), (0.0, -900.0)])
def test_extreme_log_probs_give_finite_losses_and_gradients(module, dtype, chosen, rejected):
    policy = torch.full((EXAMPLES, 1 + REJECTED), rejected, dtype=torch.float64)
    policy[:, 0] = chosen
    batch = scored(dtype, policy=policy)
    loss = made(module)(batch)
    assert loss.losses.isfinite().all()
    assert gradient(loss, batch).isfinite().all()


def test_permuting_the_examples_permutes_losses_and_gradients(module):
    order = torch.tensor([3, 0, 4, 2, 1])
    batch, permuted = scored(), scored(order=order)
    loss, other = made(module)(batch), made(module)(permuted)
    torch.testing.assert_close(other.losses, loss.losses[order])
    torch.testing.assert_close(gradient(other, permuted), gradient(loss, batch)[order])


def test_what_compares_titles_is_blind_to_a_constant_added_to_all(module):
    objective, other = made(module), made(module)
    if not objective.needs_rejected:
        pytest.skip("it compares nothing")
    batch = scored()
    shifted = scored(policy=batch.policy.detach() - 11)  # titles of one length, so that means shift alike too
    loss = objective(batch)
    torch.testing.assert_close(other(shifted).losses, loss.losses)
    torch.testing.assert_close(gradient(loss, batch).sum(), torch.zeros((), dtype=torch.float64))


def test_from_the_reference_on_the_chosen_title_is_pushed_up_and_no_rejected_one(module):
    objective, batch = made(module), scored()
    start = scored(policy=batch.reference)
    found = gradient(objective(start), start)
    assert (found[:, 0] < 0).all()
    assert (found[:, 1:] >= 0).all()
    assert found[:, 1:].any() == objective.needs_rejected


def test_what_needs_no_rejected_titles_does_without(module):
    objective = made(module)
    if objective.needs_rejected:
        pytest.skip("it does need them")
    batch = scored()
    assert batch.side is not None
    side = replace(batch.side, rejected=batch.side.rejected[:, :0], auxiliary=None)
    alone = Scored(batch.policy[:, :1], batch.lengths[:, :1], None, side, batch.tokens)
    torch.testing.assert_close(objective(alone).losses, objective(batch).losses)


def test_the_supervised_term_weighs_each_examples_chosen_log_prob(module):
    if "sft_weight" not in module.Settings.model_fields:
        pytest.skip("no such key")
    batch = scored()
    plain = made(module)(batch).losses
    guarded = module.Objective(module.Settings(sft_weight=0.25))(batch).losses
    torch.testing.assert_close(guarded, plain - 0.25 * batch.policy[:, 0])


def test_evaluation_changes_no_state_and_draws_nothing_from_the_global_generator(module):
    objective = made(module)
    objective(scored())
    objective.eval()
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    torch.manual_seed(0)
    chance = torch.get_rng_state()
    first = objective(scored()).losses
    torch.testing.assert_close(objective(scored()).losses, first)
    assert all(torch.equal(before[name], value) for name, value in objective.state_dict().items())
    objective.train()(scored())
    assert torch.equal(torch.get_rng_state(), chance)


def test_a_saved_and_loaded_objective_goes_on_where_it_stopped(module):
    unbroken, stopped, resumed = made(module), made(module), made(module)
    for objective in (unbroken, stopped):
        objective(scored())
    resumed.load_state_dict(stopped.state_dict())
    torch.testing.assert_close(resumed(scored()).losses, unbroken(scored()).losses)
