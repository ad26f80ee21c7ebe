import pytest
import torch

from napo.objectives._loss import mean, preference, preference_figures, token_means
from napo.scoring.scored import Scored


def scored() -> Scored:
    policy = torch.tensor([[-2.0, -3.0, -1.0], [-4.0, -4.0, -6.0]], requires_grad=True)
    return Scored(policy, torch.full((2, 3), 2))


def test_figures_by_hand():
    figures = preference_figures(scored(), torch.tensor([[1.0, 0.0, 2.0], [0.5, 0.5, -0.5]]))
    assert {name: value.item() for name, value in figures.items()} == pytest.approx(
        {
            "chosen_log_prob": -3.0,  # (-2 - 4) / 2
            "rejected_log_prob": -3.5,  # (-3 - 1 - 4 - 6) / 4
            "chosen_reward": 0.75,
            "rejected_reward": 0.5,
            "reward_margin": 0.25,  # (1 - 1 + 0 + 1) / 4
            "preference_accuracy": 0.625,  # in order, not, tied, in order: (1 + 0 + 1/2 + 1) / 4
        }
    )
    assert all(not value.requires_grad for value in figures.values())


def test_the_supervised_term_adds_its_weight_times_the_chosen_titles_loss():
    losses = torch.tensor([1.0, 1.0])
    found = preference(scored(), losses, torch.zeros(2, 3), sft_weight=0.5).losses
    torch.testing.assert_close(found, torch.tensor([2.0, 3.0]))  # 1 + 0.5 * 2, 1 + 0.5 * 4
    assert preference(scored(), losses, torch.zeros(2, 3), sft_weight=0.0).losses is losses


def test_a_title_without_a_place_to_choose_at_has_mean_zero_and_no_nan():
    found = token_means(torch.tensor([[-6.0, 0.0]]), torch.tensor([[3, 0]]))
    torch.testing.assert_close(found, torch.tensor([[-2.0, 0.0]]))


def test_the_mean_of_nothing_is_zero_so_that_an_empty_rank_spoils_no_figure():
    assert mean(torch.empty(0, 3)).item() == 0
