"""SFT: the supervised loss, on the chosen title alone.

Path    scoring -> [objectives.sft] -> update
Takes   Scored: the chosen title's log-prob and length; rejected titles are ignored, none are needed
Gives   Loss, nats an example
Relations   with log-probs normalised over the catalogue this is S-DPO without reference (beta 1) against *all* other
            items: log(1 + sum_j P_j / P) = log(1 / P)
"""

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from napo.objectives._loss import Loss, mean, token_means
from napo.scoring.scored import Scored
from napo.settings import Strict


def sft_loss(policy: Tensor) -> Tensor:
    """Minus the chosen title's log-prob, of each example.

    policy: (B, 1 + K) log-probs of titles, nats, summed over tokens or their means; column 0 is the chosen title.
    Returns (B,), nats.
    """
    return -policy[:, 0]


class Settings(Strict):
    per: Literal["title", "token"] = Field(
        default="title",
        description="title: the likelihood, a long title weighs more. token: each title's mean over its scored tokens.",
    )


class Objective(nn.Module):
    needs_reference = False
    needs_rejected = False
    needs_auxiliary = False

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, scored: Scored) -> Loss:
        by_token = token_means(scored.policy, scored.lengths)
        losses = sft_loss(scored.policy if self.settings.per == "title" else by_token)
        figures = {"chosen_log_prob": scored.policy[:, 0], "chosen_token_log_prob": by_token[:, 0]}
        return Loss(losses, {name: mean(values.detach()) for name, values in figures.items()})
