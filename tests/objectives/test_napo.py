"""The formula and the margin, on a batch worked by hand; test_napo_sharing.py has who shares what."""

from dataclasses import replace

import pytest
import torch

from napo.objectives.napo import Margin, Objective, Settings, Sharing, mean_scores, napo_loss, napo_margin
from napo.scoring.scored import Scored, Side
from tests.objectives.worked_batch import POLICY, SHARED, SIDE, batch, close, f64

PAPER = Margin(bias_corrected=False)


# The formula


@pytest.mark.parametrize(
    ("beta", "gamma", "expected"), [(1.0, 0.0, 0.440190), (1.0, 1.0, 0.917576), (0.5, 1.0, 1.448154)]
)
def test_napo_by_hand_without_sharing(beta, gamma, expected):
    # beta 1: S = e^-1 + e^-2 + e^-3 = 0.553002, log(1 + S), log(1 + e S)
    assert napo_loss(f64([[-2, -3, -4, -5]]), beta=beta, gamma=gamma).item() == pytest.approx(expected, abs=1e-6)


def test_napo_gradient_by_hand_without_sharing():
    policy = f64([[-2, -3, -4, -5]]).requires_grad_()
    napo_loss(policy, gamma=1.0).sum().backward()
    close(policy.grad, [[-0.600514, 0.399486, 0.146963, 0.054065]])


def test_napo_by_hand_with_shared_titles():
    losses = napo_loss(POLICY, SHARED, gamma=0.9325)
    close(losses, [1.863711, 1.459579, 2.963511, 2.496460])
    assert losses.mean().item() == pytest.approx(2.195815, abs=1e-6)
    close(napo_loss(POLICY, gamma=0.0), [0.407606, 0.492699, 0.958020, 0.985413])


DC = [-0.211226, -0.191916, -0.237091, -0.229406]
DN = [[0.069173, 0.025447], [0.363465, 0.018096], [0.081100, 0.133711], [0.003213, 0.175433]]


def gradient_of_mean(gradient):
    policy = POLICY.clone().requires_grad_()
    napo_loss(policy, SHARED, gamma=0.9325, gradient=gradient).mean().backward()
    return policy.grad


def test_full_gradient_by_hand_reaches_every_title_and_sums_to_zero():
    found = gradient_of_mean("full")
    close(found[:, 0], DC)
    close(found[:, 1:], DN)
    assert found.sum().item() == pytest.approx(0, abs=1e-12)


def test_gradient_none_is_fulls_on_the_chosen_titles_and_nothing_elsewhere():
    found = gradient_of_mean("none")
    close(found[:, 0], DC)
    assert not found[:, 1:].any()


def test_gradient_own_reaches_a_rejected_title_from_its_own_example_alone():
    found = gradient_of_mean("own")
    close(found[:, 0], DC)
    # (1/4) w_i p_i(ik): -dc_i times the share of n_ik in the mass of N_i
    own = POLICY[:, 1:].exp()
    mass = own.sum(1) + torch.where(SHARED, own.flatten(), 0.0).sum(1)
    close(found[:, 1:], (-f64(DC)[:, None] * own / mass[:, None]).tolist())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_napo_does_not_overflow(dtype):
    policy = torch.tensor([[-250, -50, -60, -70]], dtype=dtype, requires_grad=True)
    loss = napo_loss(policy, gamma=1.0)
    loss.sum().backward()
    assert loss.item() == pytest.approx(201.0, abs=1e-3)
    assert policy.grad.isfinite().all()
    assert napo_loss(torch.tensor([[-900.0, -100, -120]]), gamma=0.0).item() == pytest.approx(800)


def test_shared_titles_hundreds_of_nats_away_count_as_they_should():
    # example 0 takes over both titles of example 1; 1 takes example 0's first
    policy = torch.tensor([[-3.0, -400, -401], [-5.0, -2, -600]], requires_grad=True)
    shared = torch.tensor([[False, False, True, True], [True, False, False, False]])
    losses = napo_loss(policy, shared, gamma=0.0)
    # exp(-2 + 3) swamps the rest; then exp(-2 + 5)
    close(losses, [1.313262, 3.048587])  # log(1 + e), log(1 + e^3)
    losses.sum().backward()
    assert policy.grad.isfinite().all()
    close(policy.grad[:, 0], [-0.731059, -0.952574])  # - sigmoid(1), - sigmoid(3)


@pytest.mark.parametrize("gradient", ["full", "own", "none"])
def test_an_example_without_peers_has_the_loss_without_sharing_and_no_nan(gradient):
    policy = POLICY.clone().requires_grad_()
    losses = napo_loss(policy, torch.zeros_like(SHARED), gamma=0.5, gradient=gradient)
    torch.testing.assert_close(losses, napo_loss(policy, gamma=0.5))
    losses.sum().backward()
    assert policy.grad.isfinite().all()


def test_average_mean_keeps_the_mass_of_k_titles():
    # all titles alike: with 4 shared beside 2, the sum counts 6 of them and the mean 2
    policy = torch.full((3, 3), -2.0)
    shared = ~torch.eye(3, dtype=torch.bool).repeat_interleave(2, 1)
    close(napo_loss(policy, shared, gamma=0.0), [1.945910] * 3)  # log 7
    close(napo_loss(policy, shared, gamma=0.0, average="mean"), [1.098612] * 3)  # log 3
    torch.testing.assert_close(napo_loss(POLICY, average="mean"), napo_loss(POLICY))


# The margin


def test_mean_scores_by_hand():
    own, over_pairs = mean_scores(SIDE.auxiliary, SHARED)
    close(own, [1 / 6, 1 / 6, 1 / 3, 1 / 3])
    close(over_pairs, 0.25)
    # Two examples share nothing, so the pairs are 2, 2, 6, 6: (-0.2 + 1.6 + 2 + 2) / 16
    uneven = SHARED.clone()
    uneven[:2] = False
    own, over_pairs = mean_scores(SIDE.auxiliary, uneven)
    close(own, [-0.1, 0.8, 1 / 3, 1 / 3])
    close(over_pairs, 5.4 / 16)


@pytest.mark.parametrize(
    ("moving_mean", "gamma", "losses", "mean"),
    [
        (0.0, 0.9325, [1.863711, 1.459579, 2.963511, 2.496460], 2.195815),
        (0.2, 0.9865, [1.909524, 1.501291, 3.014792, 2.546120], 2.242932),
    ],
)
def test_napos_step_by_hand(moving_mean, gamma, losses, mean):
    objective = Objective(Settings(margin=PAPER))
    objective.moving_mean.fill_(moving_mean)
    loss = objective(batch())
    close(loss.losses, losses)
    assert loss.losses.mean().item() == pytest.approx(mean, abs=1e-6)
    figures = {name: value.item() for name, value in loss.figures.items()}
    assert figures["gamma"] == pytest.approx(gamma, abs=1e-6)
    assert figures["auxiliary_mean"] == pytest.approx(0.25)
    assert figures["auxiliary_moving_mean"] == pytest.approx(0.9 * moving_mean + 0.025)
    assert figures["effective_negatives"] == 6
    assert figures["masked_share"] == 0


def test_a_margin_per_example_by_hand():
    objective = Objective(Settings(margin=PAPER.model_copy(update={"per": "example"})))
    loss = objective(batch())  # Mbar 0.025: gamma_i = (.9575, .9575, .9075, .9075)
    assert loss.losses.mean().item() == pytest.approx(2.194265, abs=1e-6)
    assert loss.figures["gamma"].item() == pytest.approx(0.9325, abs=1e-6)
    close(loss.losses, napo_loss(POLICY, SHARED, gamma=f64([0.9575, 0.9575, 0.9075, 0.9075])).tolist())


@pytest.mark.parametrize(
    ("bias_corrected", "means", "gammas"),
    [
        (False, [0.1, 0.21, 0.269], [0.73, 0.703, 0.8407]),
        (True, [1, 1.105263, 0.992620], [1, 0.971579, 1.057786]),
    ],
)
def test_the_moving_average_by_hand_also_across_a_save_and_a_load(bias_corrected, means, gammas):
    settings = Settings(margin=Margin(bias_corrected=bias_corrected), sharing=None)
    objective = Objective(settings)
    figures = []
    for score in (1.0, 1.2, 0.8):
        saved, objective = objective.state_dict(), Objective(settings)
        objective.load_state_dict(saved)
        scored = batch(side=replace(SIDE, auxiliary=torch.full((4, 2), score)))
        figures.append(objective(scored).figures)
    assert [f["auxiliary_moving_mean"].item() for f in figures] == pytest.approx(means, abs=1e-6)
    assert [f["gamma"].item() for f in figures] == pytest.approx(gammas, abs=1e-6)


def test_a_logged_figure_does_not_move_with_later_steps():
    objective = Objective(Settings(margin=PAPER, sharing=None))
    scored = batch(POLICY.float())  # of the buffer's dtype: nothing is copied by a conversion
    first = objective(scored).figures["auxiliary_moving_mean"]
    before = first.item()
    objective(scored)
    assert first.item() == before


@pytest.mark.parametrize("trained", [0, 2])
def test_evaluation_uses_the_moving_average_and_leaves_it_alone(trained):
    objective = Objective(Settings())
    for _ in range(trained):
        objective(batch())
    objective.eval()
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    loss = objective(batch(side=replace(SIDE, auxiliary=SIDE.auxiliary + 3)))
    assert all(torch.equal(before[name], value) for name, value in objective.state_dict().items())
    assert before["steps"].item() == trained
    # M is 3.25; Mbar is 0.25 after training, and the batch's own before it: gamma = 1 - 0.3 * 3, and 1
    assert loss.figures["gamma"].item() == pytest.approx(0.1 if trained else 1.0, abs=1e-6)


def test_low_scores_widen_the_margin_and_high_ones_narrow_it():
    at = f64([-1.0, 0.0, 1.0])
    close(napo_margin(at, f64(0.0), base=2.0, sensitivity=0.3), [2.6, 2.0, 1.4])


def test_standardised_margins_do_not_depend_on_the_scale_of_the_scores():
    def losses(scale, normalise):
        margin = Margin(per="example", normalise=normalise)
        objective = Objective(Settings(margin=margin))
        scored = [batch(side=replace(SIDE, auxiliary=scale * SIDE.auxiliary + shift)) for shift in (0.0, scale)]
        return [objective(s).losses for s in scored]

    for one, hundredfold in zip(losses(1, "standardise"), losses(100, "standardise"), strict=True):
        torch.testing.assert_close(one, hundredfold, atol=1e-5, rtol=0)
    assert not torch.allclose(losses(1, "none")[0], losses(100, "none")[0], atol=1e-2)


def test_a_standardised_margin_by_hand():
    # mean 1, standard deviation 1; the examples' means are 1, 1, 0, 2: none, none, one below, one above
    side = replace(SIDE, auxiliary=f64([[0, 2], [0, 2], [0, 0], [2, 2]]))
    loss = Objective(Settings(margin=Margin(per="example", normalise="standardise"), sharing=None))(batch(side=side))
    close(loss.losses, napo_loss(POLICY, gamma=f64([1, 1, 1.3, 0.7])).tolist())


def test_a_sigmoid_margin_counts_scores_between_zero_and_one():
    side = replace(SIDE, auxiliary=f64([[50, 50], [50, 50], [-50, -50], [-50, -50]]))
    loss = Objective(Settings(margin=Margin(per="example", normalise="sigmoid"), sharing=None))(batch(side=side))
    close(loss.losses, napo_loss(POLICY, gamma=f64([0.85, 0.85, 1.15, 1.15])).tolist())  # 1 -+ 0.3 * 0.5


@pytest.mark.parametrize(
    ("margin", "gamma"), [(None, 0.0), (Margin(base=0.0), 0.0), (Margin(base=1.5, sensitivity=0.0), 1.5)]
)
def test_a_margin_switched_off_or_static_needs_no_auxiliary_recommender(margin, gamma):
    objective = Objective(Settings(margin=margin, sharing=Sharing(accept_ratio=1.0)))
    assert not objective.needs_auxiliary
    loss = objective(batch(side=replace(SIDE, auxiliary=None, history_vectors=None)))
    assert loss.figures["gamma"].item() == gamma
    assert "auxiliary_mean" not in loss.figures


# What all settings share


def test_adding_a_constant_to_all_log_probs_changes_no_loss():
    one, other = Objective(Settings()), Objective(Settings())
    torch.testing.assert_close(one(batch()).losses, other(batch(POLICY - 7.5)).losses)


def test_token_means_take_the_place_of_sums():
    lengths = torch.tensor([[2, 3, 4], [3, 4, 5], [1, 1, 1], [5, 6, 2]])
    scored = Scored(POLICY * lengths, lengths, None, SIDE)
    torch.testing.assert_close(Objective(Settings(per="token"))(scored).losses, Objective(Settings())(batch()).losses)


def test_a_reference_turns_log_probs_into_log_ratios():
    reference = f64([[-1, -1.5, -2], [-1, -2, -2], [-2, -3, -1], [-1, -1, -2]])
    found = Objective(Settings(reference=True))(batch(reference=reference)).losses
    torch.testing.assert_close(found, Objective(Settings())(batch(POLICY - reference)).losses)


def test_the_supervised_term_can_be_added():
    plain = Objective(Settings())(batch()).losses
    torch.testing.assert_close(Objective(Settings(sft_weight=0.1))(batch()).losses, plain - 0.1 * POLICY[:, 0])


def test_settings_read_from_plain_data():
    settings = Settings.model_validate({"margin": {"base": 1.5}, "sharing": {"accept_ratio": None}})
    assert settings.margin.base == 1.5
    assert settings.margin.sensitivity == 0.3
    assert settings.active_sharing is None


def test_hundreds_of_positions_need_no_table_of_positions_by_titles_by_seen_items():
    # 1,000 positions of 8 users, 3 rejected each, 400 seen items: (1000, 3000, 400) booleans would be 1.2 GB
    generator = torch.Generator().manual_seed(0)
    users = torch.arange(1000) % 8
    side = Side(
        chosen=torch.randint(0, 1000, (1000,), generator=generator),
        rejected=torch.randint(0, 5000, (1000, 3), generator=generator),
        user=users,
        seen=torch.randint(0, 1000, (8, 400), generator=generator)[users],
        history_vectors=torch.randn(1000, 64, generator=generator),
        auxiliary=torch.randn(1000, 3, generator=generator),
    )
    policy = (-50 * torch.rand(1000, 4, generator=generator)).requires_grad_()
    loss = Objective(Settings())(batch(policy, side))
    loss.losses.mean().backward()
    assert policy.grad.isfinite().all()
    assert 1500 < loss.figures["effective_negatives"].item() < 700 * 3
