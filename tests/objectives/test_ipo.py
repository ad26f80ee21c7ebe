import pytest
import torch

from napo.objectives.ipo import ipo_loss


def f64(rows):
    return torch.tensor(rows, dtype=torch.float64)


POLICY, REFERENCE = f64([[-2, -3]]), f64([[-2.5, -2.8]])  # log-ratios 0.5 and -0.2


def test_ipo_by_hand_with_token_means():
    # (0.5 / 4 + 0.2 / 5 - 5)^2
    loss = ipo_loss(POLICY, REFERENCE, torch.tensor([[4, 5]]), beta=0.1)
    assert loss.item() == pytest.approx(23.377225, abs=1e-6)


def test_ipo_with_lengths_of_one_is_the_form_on_sums():
    assert ipo_loss(POLICY, REFERENCE, torch.tensor([[1, 1]]), beta=0.1).item() == pytest.approx(18.49, abs=1e-6)


def test_ipo_of_several_rejected_titles_is_the_mean_over_pairs():
    # second pair: (0.5 / 4 - 0.5 / 1 - 5)^2 = 28.890625
    policy, reference = f64([[-2, -3, -4]]), f64([[-2.5, -2.8, -4.5]])
    loss = ipo_loss(policy, reference, torch.tensor([[4, 5, 1]]), beta=0.1)
    assert loss.item() == pytest.approx((23.377225 + 28.890625) / 2, abs=1e-6)


def test_ipo_is_zero_where_the_gap_is_the_target():
    # beta 0.25: the target is 2 nats a token; (-1 / 1) - (-9 / 3) = 2
    assert ipo_loss(f64([[-1, -9]]), None, torch.tensor([[1, 3]]), beta=0.25).item() == pytest.approx(0, abs=1e-12)
