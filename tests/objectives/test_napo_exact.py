"""Exact sharing in the loss: titles that the receiver has scored under its own prompt; how they come there is in
tests/training/test_exact_sharing.py."""

from dataclasses import replace

import pytest
import torch

from napo.objectives._peers import under_own_prompt
from napo.objectives.napo import Margin, Objective, Settings, Sharing, flipped_share, napo_loss
from napo.scoring.scored import Scored
from tests.objectives.worked_batch import POLICY, SHARED, SIDE, close, f64

LENT = POLICY[:, 1:].flatten().expand(4, -1)  # as if every prompt were the owner's


def test_a_lent_title_counts_as_its_receiver_has_scored_it():
    # example 1: c = -1, own -4; the shared title is -2 under its owner's prompt and -3 here: log(1 + e^-3 + e^-2)
    policy, shared = f64([[-3, -2], [-1, -4]]), torch.tensor([[False, False], [True, False]])
    lent = f64([[0, 0], [-3, 0]])  # what nobody shares is not read
    assert napo_loss(policy, shared, lent, gamma=0.0)[1].item() == pytest.approx(0.169846, abs=1e-6)
    assert napo_loss(policy, shared, gamma=0.0)[1].item() == pytest.approx(0.349012, abs=1e-6)


@pytest.mark.parametrize("gradient", ["full", "own", "none"])
@pytest.mark.parametrize("average", ["sum", "mean"])
def test_where_prompts_do_not_matter_exact_sharing_is_the_plain_one_gradients_too(gradient, average):
    policies = [POLICY.clone().requires_grad_() for _ in range(2)]
    lent = policies[1][:, 1:].flatten().expand(4, -1)
    losses = [
        napo_loss(policies[0], SHARED, gradient=gradient, average=average),
        napo_loss(policies[1], SHARED, lent, gradient=gradient, average=average),
    ]
    torch.testing.assert_close(*losses)
    for each in losses:
        each.sum().backward()
    torch.testing.assert_close(policies[0].grad, policies[1].grad)


def test_an_example_that_takes_nothing_over_has_its_own_loss_and_no_nan():
    policy, lent = POLICY.clone().requires_grad_(), LENT.clone().requires_grad_()
    shared = SHARED.clone()
    shared[2] = False
    losses = napo_loss(policy, shared, lent, gamma=0.5)
    torch.testing.assert_close(losses[2], napo_loss(policy, gamma=0.5)[2])
    losses.sum().backward()
    assert policy.grad.isfinite().all()
    assert lent.grad.isfinite().all()
    assert not lent.grad[2].any()
    assert torch.equal(lent.grad != 0, shared)


def test_values_are_found_by_item_and_padding_is_nothing():
    items = torch.tensor([[14, 12, -1], [11, -1, -1]])
    values = f64([[1, 2, 9], [3, 9, 9]])
    found = under_own_prompt(items, values, torch.tensor([[11, 12], [14, 12]]))
    close(found, [[0, 2, 1, 2], [3, 0, 0, 0]])  # columns: items 11, 12, 14, 12


def test_the_share_of_titles_whose_order_flips_by_hand():
    policy = f64([[-2, -3, -1], [-1, -1.5, -4]])
    shared = torch.tensor([[False, False, True, True], [True, True, False, False]])
    # example 0, c = -2: -1.5 is above and -2.5 below, a flip; -4 and -6 are both below
    # example 1, c = -1: -3 and -0.5, a flip; -1 is not above it, nor is -2
    lent = f64([[0, 0, -2.5, -6], [-0.5, -2, 0, 0]])
    assert flipped_share(policy, lent, shared).item() == 0.5
    assert flipped_share(policy, lent, torch.zeros_like(shared)).item() == 0


def with_lent(scale: torch.Tensor | None = None, reference: torch.Tensor | None = None) -> Scored:
    """The worked batch with what SHARED names scored as the owners have it, in an order of its own."""
    items = [[13, 12, 15, 14], [11, 10, 14, 15], [16, 17, 12, 13], [12, 14, 13, 15]]
    lent = torch.tensor(items)
    policy = torch.cat([POLICY, POLICY[:, 1:].flatten()[lent - 10]], dim=1)
    lengths = torch.ones(policy.shape, dtype=torch.int64)
    if scale is not None:
        lengths = torch.cat([scale, scale[:, 1:].flatten()[lent - 10]], dim=1)
        policy = policy * lengths
    if reference is not None:
        reference = torch.cat([reference, reference[:, 1:].flatten()[lent - 10]], dim=1)
    return Scored(policy, lengths, reference, replace(SIDE, lent=lent, shared=SHARED))


def plain(scale: torch.Tensor | None = None, reference: torch.Tensor | None = None) -> Scored:
    lengths = torch.ones(POLICY.shape, dtype=torch.int64) if scale is None else scale
    return Scored(POLICY * lengths, lengths, reference, SIDE)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"margin": {"per": "example"}, "sft_weight": 0.1},
        {"per": "token"},
        {"reference": True, "beta": 0.5},
        {"margin": None, "sharing": {"average": "mean", "gradient": "own"}},
    ],
)
def test_the_objective_with_scores_that_prompts_do_not_change_is_the_plain_one(settings):
    settings = {"sharing": {}, **settings}
    exact = Settings.model_validate({**settings, "sharing": {**settings["sharing"], "exact": True}})
    scale = torch.tensor([[2, 3, 4], [3, 4, 5], [1, 1, 1], [5, 6, 2]]) if "per" in settings else None
    reference = f64([[-1, -1.5, -2], [-1, -2, -2], [-2, -3, -1], [-1, -1, -2]]) if "reference" in settings else None
    expected = Objective(Settings.model_validate(settings))(plain(scale, reference))
    found = Objective(exact)(with_lent(scale, reference))
    torch.testing.assert_close(found.losses, expected.losses)
    assert found.figures.pop("flipped_share") == 0
    expected.figures.pop("masked_share")
    for name, value in found.figures.items():  # those of preference too: own titles alone
        torch.testing.assert_close(value, expected.figures[name], msg=lambda text, name=name: f"{name}: {text}")
    assert found.figures.keys() == expected.figures.keys()


def test_who_takes_what_is_asked_before_scoring_where_sharing_is_exact_and_only_there():
    assert Objective(Settings()).borrow is None
    assert Objective(Settings(sharing=Sharing(accept_ratio=0, exact=True))).borrow is None
    borrow = Objective(Settings(sharing=Sharing(exact=True))).borrow
    assert torch.equal(borrow(SIDE, torch.tensor(1)), SHARED)


def test_titles_that_nobody_has_scored_beforehand_are_our_fault():
    with pytest.raises(AssertionError, match="scored beforehand"):
        Objective(Settings(margin=Margin(base=0.0), sharing=Sharing(exact=True)))(plain())
