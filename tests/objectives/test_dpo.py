import pytest
import torch
from pydantic import ValidationError

from napo.objectives.dpo import Objective, Settings, dpo_loss
from napo.scoring.scored import Scored


def f64(rows):
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize(("beta", "expected"), [(1.0, 0.403186), (0.1, 0.658760)])
def test_dpo_by_hand(beta, expected):
    # log-ratios 0.5 and -0.2: softplus(-0.7 beta)
    policy, reference = f64([[-2, -3]]), f64([[-2.5, -2.8]])
    assert dpo_loss(policy, reference, beta=beta).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("beta", "expected"), [(0.1, 0.66846), (1.0, 0.47408)])
def test_dpo_uses_beta_exactly_once(beta, expected):
    # log-ratios 0.3 and -0.2; beta twice would give 0.69065 at 0.1
    assert dpo_loss(f64([[0.3, -0.2]]), f64([[0, 0]]), beta=beta).item() == pytest.approx(expected, abs=1e-5)


def test_dpo_without_reference_is_bpr():
    assert dpo_loss(f64([[1.3, 0.4]])).item() == pytest.approx(0.341154, abs=1e-6)


def test_dpo_of_several_rejected_titles_is_the_mean_over_pairs():
    # gaps -0.7, 0, 0: (0.403186 + 2 * 0.693147) / 3
    policy, reference = f64([[-2, -3, -4, -2.5]]), f64([[-2.5, -2.8, -4.5, -3]])
    assert dpo_loss(policy, reference).item() == pytest.approx(0.596493, abs=1e-6)


def test_dpo_smoothed_takes_a_share_of_the_opposite_order():
    # 0.9 * 0.403186 + 0.1 * (0.403186 + 0.7): softplus(0.7) = softplus(-0.7) + 0.7
    policy, reference = f64([[-2, -3]]), f64([[-2.5, -2.8]])
    assert dpo_loss(policy, reference, label_smoothing=0.1).item() == pytest.approx(0.473186, abs=1e-6)


def test_dpo_at_the_start_is_log_two_with_reward_and_margin_zero():
    policy = f64([[-2, -3, -4]])
    loss = Objective(Settings())(Scored(policy, torch.ones(1, 3, dtype=torch.int64), policy.clone()))
    assert loss.losses.item() == pytest.approx(0.693147, abs=1e-6)
    assert loss.figures["chosen_reward"].item() == 0
    assert loss.figures["reward_margin"].item() == 0


def test_dpo_gradient_of_a_pair_is_beta_sigma_of_minus_its_reward_gap():
    policy = f64([[-2, -3]]).requires_grad_()
    dpo_loss(policy, f64([[-2.5, -2.8]]), beta=0.5).sum().backward()
    # sigmoid(-0.35) = 0.413382, times beta
    torch.testing.assert_close(policy.grad, f64([[-0.206691, 0.206691]]), atol=1e-6, rtol=0)


def test_the_reference_can_be_switched_off_and_the_help_says_what_beta_does():
    assert Objective(Settings()).needs_reference
    assert not Objective(Settings(reference=False)).needs_reference
    assert "nearer to the reference" in Settings.model_fields["beta"].description
    with pytest.raises(ValidationError):
        Settings(beta=0)
