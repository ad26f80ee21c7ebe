"""Who takes over whose rejected titles, on a batch worked by hand."""

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from napo.objectives.napo import Margin, Objective, Settings, Sharing, napo_loss
from napo.objectives.sdpo import sdpo_loss
from napo.scoring.scored import Side
from tests.objectives.worked_batch import POLICY, SHARED, SIDE, batch, close, f64

STATIC = Margin(sensitivity=0.0)


def test_a_title_that_is_the_receivers_chosen_or_seen_item_drops_out_of_its_set():
    # item 12, of example 1, at -2 nats: first it is what user 0 chose, then what user 0 saw
    for side in (
        replace(SIDE, rejected=torch.tensor([[10, 11], [0, 13], [14, 15], [16, 17]])),
        replace(SIDE, seen=torch.tensor([[20, 12], [22, -1], [23, -1], [24, 25]])),
    ):
        loss = Objective(Settings(margin=Margin(base=0.9325, sensitivity=0.0)))(batch(side=side))
        close(loss.losses, [1.362710, 1.459579, 2.963511, 2.496460])
        assert loss.figures["masked_share"].item() == pytest.approx(1 / 16)
        assert loss.figures["effective_negatives"].item() == pytest.approx(23 / 4)


def test_an_own_rejected_title_never_drops_out():
    side = replace(SIDE, seen=SIDE.rejected)  # nothing a sampler would do
    loss = Objective(Settings(margin=None, sharing=None))(batch(side=side))
    torch.testing.assert_close(loss.losses, sdpo_loss(POLICY))
    shared = Objective(Settings(margin=None))(batch(side=side))
    assert shared.figures["effective_negatives"].item() == 6


@pytest.mark.parametrize(
    "sharing", [None, Sharing(accept_ratio=None), Sharing(accept_ratio=0), Sharing(accept_ratio=0, gradient="none")]
)
def test_sharing_switched_off_leaves_each_example_its_own_titles_and_all_gradients(sharing):
    policy = POLICY.clone().requires_grad_()
    objective = Objective(Settings(margin=None, sharing=sharing))
    assert not objective.needs_auxiliary
    loss = objective(batch(policy, side=None))
    torch.testing.assert_close(loss.losses, sdpo_loss(POLICY))
    loss.losses.sum().backward()
    assert policy.grad.all()
    assert loss.figures["effective_negatives"].item() == 2


@pytest.mark.parametrize("sharing", [Sharing(accept_ratio=1.0), Sharing(peers="all"), Sharing(peers="all", pool="row")])
def test_where_everyone_is_a_peer_history_vectors_have_no_say(sharing):
    objective = Objective(Settings(margin=STATIC, sharing=sharing))
    assert not objective.needs_auxiliary
    without = objective(batch(side=replace(SIDE, history_vectors=None)))
    torch.testing.assert_close(without.losses, objective(batch()).losses)
    assert without.figures["effective_negatives"].item() == (2 if sharing.pool == "row" else 8)


@pytest.mark.parametrize(
    ("sharing", "needed"),
    [
        (Sharing(), True),
        (Sharing(peers="least"), True),
        (Sharing(accept_ratio=1.0, max_peers=2), True),
        (Sharing(peers="random"), False),
    ],
)
def test_only_peers_chosen_by_likeness_need_history_vectors(sharing, needed):
    objective = Objective(Settings(margin=STATIC, sharing=sharing))
    assert objective.needs_auxiliary == needed
    if needed:
        with pytest.raises(AssertionError, match="history vectors"):
            objective(batch(side=replace(SIDE, history_vectors=None)))


def test_the_margin_without_auxiliary_scores_is_our_fault():
    with pytest.raises(AssertionError, match="auxiliary"):
        Objective(Settings())(batch(side=replace(SIDE, auxiliary=None)))


def test_a_row_shares_among_one_users_examples_only():
    side = replace(SIDE, user=torch.tensor([5, 5, 6, 6]))
    objective = Objective(Settings(margin=None, sharing=Sharing(accept_ratio=1.0, pool="row")))
    pairs = torch.tensor([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]).bool().repeat_interleave(2, 1)
    torch.testing.assert_close(objective(batch(side=side)).losses, napo_loss(POLICY, pairs, gamma=0.0))


@pytest.mark.parametrize("peers", ["similar", "least", "random"])
def test_max_peers_caps_the_number_of_peers(peers):
    objective = Objective(Settings(sharing=Sharing(max_peers=1, peers=peers)))
    assert objective(batch()).figures["effective_negatives"].item() == 4  # two own, two of one peer


def test_random_peers_change_from_step_to_step_in_training_and_come_again_on_resuming():
    settings = Settings(margin=None, sharing=Sharing(accept_ratio=0.34, peers="random"))
    objective = Objective(settings)
    steps = [objective(batch()).losses for _ in range(6)]
    assert len({tuple(step.tolist()) for step in steps}) > 1
    resumed = Objective(settings)
    for _ in range(3):
        resumed(batch())
    saved, resumed = resumed.state_dict(), Objective(settings)
    resumed.load_state_dict(saved)
    torch.testing.assert_close(resumed(batch()).losses, steps[3])
    resumed.eval()
    torch.testing.assert_close(resumed(batch()).losses, resumed(batch()).losses)


def test_two_examples_and_all_peers_by_hand():
    # n = -2 and -4, c = -1 on the second: log(1 + e^-1 + e^-3) = 0.349012; taking n_0 twice would give 0.551445
    policy = f64([[-3, -2], [-1, -4]])
    side = Side(torch.tensor([0, 1]), torch.tensor([[2], [3]]), torch.tensor([0, 1]), torch.tensor([[0], [1]]))
    objective = Objective(Settings(margin=None, sharing=Sharing(accept_ratio=1.0)))
    assert objective(batch(policy, side)).losses[1].item() == pytest.approx(0.349012, abs=1e-6)


@pytest.mark.parametrize(
    ("rejected", "accept_ratio", "expected"),
    [(1, 0.7, 11), (3, 0.7, 33), (19, 0.7, 209), (3, 0.5, 24), (3, 0.8, 39), (3, 1.0, 48)],
)
def test_effective_negatives_of_sixteen_examples_are_the_papers(rejected, accept_ratio, expected):
    generator = torch.Generator().manual_seed(0)
    policy = -torch.rand(16, 1 + rejected, generator=generator)
    side = Side(
        chosen=torch.arange(16),
        rejected=torch.arange(16 * rejected).reshape(16, rejected) + 16,
        user=torch.arange(16),
        seen=torch.arange(16)[:, None],
        history_vectors=torch.randn(16, 8, generator=generator),
    )
    objective = Objective(Settings(margin=None, sharing=Sharing(accept_ratio=accept_ratio)))
    assert objective(batch(policy, side)).figures["effective_negatives"].item() == expected


@pytest.mark.parametrize("key", [{"gradient": "full"}, {"gradient": "own"}, {"gradient": "none"}, {"average": "mean"}])
def test_the_settings_of_sharing_reach_the_loss(key):
    policies = [POLICY.clone().requires_grad_() for _ in range(2)]
    losses = Objective(Settings(margin=None, sharing=Sharing(**key)))(batch(policies[0])).losses
    expected = napo_loss(policies[1], SHARED, gamma=0.0, **key)
    torch.testing.assert_close(losses, expected)
    losses.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(policies[0].grad, policies[1].grad)


def test_all_peers_and_a_limit_of_them_contradict_each_other():
    with pytest.raises(ValidationError, match="max_peers"):
        Sharing(peers="all", max_peers=4)
