"""What DPO comes to when the rejected title is drawn by the model itself: the numbers of SPRec's theory, by our loss.

Titles a chosen with p, rejected with q: the mean loss over both is least where
    log pi/ref = (log p - log q) / beta + constant,     so     pi ~ ref (p / q)^(1/beta)
"""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from napo.objectives.dpo import dpo_loss
from napo.objectives.sdpo import sdpo_loss

P, REF = (0.5, 0.3, 0.2), (0.4, 0.4, 0.2)
UNIFORM = (1 / 3, 1 / 3, 1 / 3)


def f64(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def population_loss(policy, p, q, reference, beta) -> torch.Tensor:
    """The mean loss over chosen titles drawn by p and rejected ones by q, among all titles."""
    n = len(p)
    pairs = torch.cartesian_prod(torch.arange(n), torch.arange(n))  # (n^2, 2)
    losses = dpo_loss(policy.log()[pairs], f64(reference).log()[pairs], beta=beta)
    return (losses * f64(p)[pairs[:, 0]] * f64(q)[pairs[:, 1]]).sum()


def best(p, q, reference, beta) -> torch.Tensor:
    """The distribution at which the gradient of the loss vanishes; checked, not believed."""
    logits = ((f64(p).log() - f64(q).log()) / beta + f64(reference).log()).requires_grad_()
    (gradient,) = torch.autograd.grad(population_loss(torch.softmax(logits, 0), p, q, reference, beta), logits)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-9, rtol=0)
    return torch.softmax(logits, 0).detach()


def test_a_pass_begins_at_log_2_with_half_of_beta_as_its_pull():
    policy = f64([[-3.0, -2.0]]).requires_grad_()
    loss = dpo_loss(policy, policy.detach(), beta=0.1)
    assert loss.item() == pytest.approx(0.693147, abs=1e-6)
    (gradient,) = torch.autograd.grad(loss.sum(), policy)
    torch.testing.assert_close(gradient, f64([[-0.05, 0.05]]))


@pytest.mark.parametrize(("beta", "loss"), [(0.1, 0.575939), (1.0, 0.078890)])
def test_a_pair_by_hand(beta, loss):
    assert dpo_loss(f64([[0.5, -2.0]]), f64([[0.0, 0.0]]), beta=beta).item() == pytest.approx(loss, abs=1e-6)


@pytest.mark.parametrize(
    ("q", "beta", "expected"),
    [
        # drawn by chance: what is twice as frequent becomes 2^(1/beta) times as likely
        (UNIFORM, 1.0, (0.555556, 0.333333, 0.111111)),
        (UNIFORM, 0.5, (0.694444, 0.25, 0.055556)),
        (UNIFORM, 0.1, (0.993938, 0.006010, 0.000052)),
        # drawn by the model: beta 1 lands on p itself
        (REF, 2.0, (0.450083, 0.348633, 0.201283)),
        (REF, 1.0, P),
        (REF, 0.5, (0.595238, 0.214286, 0.190476)),
        (REF, 0.1, (0.943633, 0.005706, 0.050661)),
    ],
)
def test_what_a_round_would_come_to_if_it_were_trained_to_the_end(q, beta, expected):
    torch.testing.assert_close(best(P, q, REF, beta), f64(expected), atol=1e-6, rtol=0)


def test_the_loss_at_the_end_by_hand():
    assert population_loss(best(P, UNIFORM, REF, 0.5), P, UNIFORM, REF, 0.5).item() == pytest.approx(0.659231, abs=1e-6)
    assert population_loss(best(P, REF, REF, 0.5), P, REF, REF, 0.5).item() == pytest.approx(0.680493, abs=1e-6)
    assert population_loss(f64(P), P, REF, REF, 0.5).item() == pytest.approx(0.683621, abs=1e-6)
    assert population_loss(f64(REF), P, UNIFORM, REF, 0.5).item() == pytest.approx(0.693147, abs=1e-6)


@pytest.mark.parametrize(
    ("beta", "first"),
    [
        (2.0, (0.450083, 0.475132, 0.487597, 0.493807)),  # comes to .5
        (0.75, (0.532655, 0.488978, 0.503661, 0.498778)),
        (0.5, (0.595238, 0.4, 0.595238, 0.4)),  # swings for ever
        (0.1, (0.943633, 0.0, 1.0)),  # and further each time
    ],
)
def test_rounds_trained_to_the_end_come_to_the_logged_titles_for_beta_above_a_half_alone(beta, first):
    model = f64(REF)
    for expected in first:
        # in logs: at beta .1 the second round leaves 1.8e-18
        model = torch.softmax((1 - 1 / beta) * model.log() + f64(P).log() / beta, 0)
        assert model[0].item() == pytest.approx(expected, abs=1e-6)
    one = torch.softmax((1 - 1 / beta) * f64(REF).log() + f64(P).log() / beta, 0)
    torch.testing.assert_close(one, best(P, REF, REF, beta), atol=1e-6, rtol=0)


def test_drawing_from_the_model_is_the_weight_that_theory_puts_on_uniform_draws():
    model, rewards = f64([0.6, 0.2, 0.15, 0.05]), f64([1.2, 0.3, -0.4, -1.0])  # beta (chosen - rejected)
    margins = rewards.clone().requires_grad_()
    losses = dpo_loss(torch.stack([margins, torch.zeros(4, dtype=torch.float64)], 1), f64([[0.0, 0.0]] * 4), beta=1.0)
    torch.testing.assert_close(losses.detach(), f64([0.263282, 0.554355, 0.913015, 1.313262]), atol=1e-6, rtol=0)
    self_play, uniform = (model * losses).sum(), losses.mean()
    weighted = (4 * model * losses).mean()
    assert self_play.item() == pytest.approx(0.471456, abs=1e-6) == weighted.item()
    assert uniform.item() == pytest.approx(0.760979, abs=1e-6)
    assert losses[model.argmax()].item() == pytest.approx(0.263282, abs=1e-6)  # greedy: the mode alone
    (pull,) = torch.autograd.grad(self_play, margins, retain_graph=True)
    (even,) = torch.autograd.grad(uniform, margins)
    torch.testing.assert_close(pull, f64([-0.138885, -0.085111, -0.089803, -0.036553]), atol=1e-6, rtol=0)
    torch.testing.assert_close(even, f64([-0.057869, -0.106389, -0.149672, -0.182765]), atol=1e-6, rtol=0)


def test_several_drawn_titles_are_a_softmax_over_their_pool_by_hand():
    # .7 times the log-ratios .5, -.2, .5, -.1: exp 1.419068, 0.869358, 1.419068, 0.932394, the first of 4.639888
    policy, reference = f64([[-2.0, -3.0, -1.5, -4.0]]), f64([[-2.5, -2.8, -2.0, -3.9]])
    assert sdpo_loss(policy, reference, beta=0.7).item() == pytest.approx(1.184690, abs=1e-6)


@settings(deadline=None, max_examples=30)
@given(drawn=st.integers(1, 8), beta=st.floats(0.05, 5), seed=st.integers(0, 99))
def test_self_play_against_several_is_the_softmax_of_sdpo_and_against_one_dpo(drawn, beta, seed):
    chance = torch.Generator().manual_seed(seed)
    model = torch.softmax(torch.randn(12, generator=chance, dtype=torch.float64), 0)
    pool = torch.cat([torch.tensor([0]), 1 + torch.multinomial(model[1:], drawn, generator=chance)])
    reference = model.log()[pool][None]
    policy = reference + torch.randn(reference.shape, generator=chance, dtype=torch.float64)
    loss = sdpo_loss(policy, reference, beta=beta)
    torch.testing.assert_close(loss, -torch.log_softmax(beta * (policy - reference), 1)[:, 0])
    torch.testing.assert_close(sdpo_loss(reference, reference, beta=beta), f64([1.0 + drawn]).log())
    one = policy[:, :2], reference[:, :2]
    torch.testing.assert_close(sdpo_loss(*one, beta=beta), dpo_loss(*one, beta=beta))


# Rejected titles drawn by popularity (RosePO): q is the marginal of p


@pytest.mark.parametrize("beta", [0.1, 0.5, 2.0])
def test_titles_drawn_by_popularity_teach_nothing_where_popularity_is_all_there_is_to_learn(beta):
    torch.testing.assert_close(best(P, P, REF, beta), f64(REF))
    assert best(P, UNIFORM, REF, beta)[0] > 0.44  # by chance: popularity on top of the reference


def test_titles_drawn_by_popularity_leave_of_a_users_taste_what_is_her_own():
    # two users with tastes (.6, .3, .1) and (.4, .1, .5); together (.5, .2, .3)
    hers, marginal = (0.6, 0.3, 0.1), (0.5, 0.2, 0.3)
    # ref .4 .4 .2 times 1.2, 1.5, 1/3
    torch.testing.assert_close(best(hers, marginal, REF, 1.0), f64([0.418605, 0.523256, 0.058140]), atol=1e-6, rtol=0)
    torch.testing.assert_close(best(hers, UNIFORM, REF, 1.0), f64([0.631579, 0.315789, 0.052632]), atol=1e-6, rtol=0)
