import pytest
import torch

from napo.objectives.sft import Objective, Settings, sft_loss
from napo.scoring.scored import Scored


def test_sft_is_minus_the_chosen_log_prob_and_ignores_rejected_titles():
    assert sft_loss(torch.tensor([[-6.0, -1.0], [-2.0, -9.0]])).tolist() == [6, 2]


@pytest.mark.parametrize(("per", "expected"), [("title", [6.0, 2.0]), ("token", [1.5, 1.0])])
def test_sft_counts_a_title_by_its_sum_or_by_its_mean_over_tokens(per, expected):
    scored = Scored(torch.tensor([[-6.0], [-2.0]]), torch.tensor([[4], [2]]))
    loss = Objective(Settings(per=per))(scored)
    assert loss.losses.tolist() == expected
    assert loss.figures["chosen_log_prob"].item() == -4
    assert loss.figures["chosen_token_log_prob"].item() == -1.25
