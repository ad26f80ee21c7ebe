import pytest
import torch

from napo.objectives.simpo import Settings, simpo_loss

POLICY = torch.tensor([[-6.0, -10.0]], dtype=torch.float64)
LENGTHS = torch.tensor([[4, 5]])  # means -1.5 and -2


@pytest.mark.parametrize(("beta", "gamma", "expected"), [(2.0, 0.5, 0.474077), (2.5, 1.5, 0.825939)])
def test_simpo_by_hand(beta, gamma, expected):
    # softplus(0.5 - 2 * 0.5), softplus(1.5 - 2.5 * 0.5)
    assert simpo_loss(POLICY, LENGTHS, beta=beta, gamma=gamma).item() == pytest.approx(expected, abs=1e-6)


def test_simpo_of_several_rejected_titles_is_the_mean_over_pairs():
    # second pair: means -1.5 and -1: softplus(0.5 + 2 * 0.5) = 1.701413
    policy, lengths = torch.cat([POLICY, POLICY.new_tensor([[-2]])], 1), torch.tensor([[4, 5, 2]])
    assert simpo_loss(policy, lengths).item() == pytest.approx((0.474077 + 1.701413) / 2, abs=1e-6)


def test_simpo_with_a_reference_compares_log_ratios():
    reference = torch.tensor([[-5.0, -10.0]], dtype=torch.float64)
    # ratios -1 and 0, means -0.25 and 0: softplus(0.5 + 2 * 0.25)
    assert simpo_loss(POLICY, LENGTHS, reference=reference).item() == pytest.approx(1.313262, abs=1e-6)


def test_simpos_defaults_are_the_papers_ratio_of_a_quarter_stated_as_gamma():
    assert Settings().gamma / Settings().beta == 0.25
    assert not Settings().reference
