import pytest
import torch

from napo.objectives.dmpo import dmpo_loss


def f64(rows):
    return torch.tensor(rows, dtype=torch.float64)


POLICY, REFERENCE = f64([[-2, -3, -4, -2.5]]), f64([[-2.5, -2.8, -4.5, -3]])  # log-ratios 0.5; -0.2, 0.5, 0.5


@pytest.mark.parametrize(("beta", "expected"), [(1.0, 0.583271), (0.1, 0.681549)])
def test_dmpo_by_hand(beta, expected):
    # softplus(-beta (0.5 - 0.8 / 3))
    assert dmpo_loss(POLICY, REFERENCE, beta=beta).item() == pytest.approx(expected, abs=1e-6)


def test_dmpo_at_the_start_is_log_two():
    assert dmpo_loss(POLICY, POLICY).item() == pytest.approx(0.693147, abs=1e-6)


def test_dmpo_pushes_every_rejected_title_alike():
    policy = POLICY.clone().requires_grad_()
    dmpo_loss(policy, REFERENCE).sum().backward()
    # sigmoid(-0.233333) = 0.441930, a third of it each
    torch.testing.assert_close(policy.grad, f64([[-0.441930, 0.147310, 0.147310, 0.147310]]), atol=1e-6, rtol=0)


def test_dmpo_lets_an_easy_rejected_title_switch_a_hard_one_off():
    # gaps 1 and -60: mean -29.5, nothing left to learn although one order is wrong
    assert dmpo_loss(f64([[-3, -2, -63]])).item() < 1e-12
