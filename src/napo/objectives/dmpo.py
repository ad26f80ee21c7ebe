"""DMPO: the chosen title against the mean of its rejected ones.

Path    scoring -> [objectives.dmpo] -> update
Takes   Scored, with the reference's log-probs unless `reference: false`
Gives   Loss, nats an example
Relations   K = 1, or all rejected titles equal, is DPO; with the same inputs
            DMPO <= softplus(logsumexp(gaps) - log K) <= S-DPO, where gaps = rejected - chosen
"""

from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional as F

from napo.objectives._loss import Loss, log_ratios, preference
from napo.scoring.scored import Scored
from napo.settings import Strict


def dmpo_loss(policy: Tensor, reference: Tensor | None = None, *, beta: float = 1.0) -> Tensor:
    """DMPO loss of each example (arXiv 2405.16127).

        r = beta (policy - reference),   loss_i = softplus( mean_k r_ik - r_i0 )

    Every rejected title gets the same push, whatever its rank: easy ones can switch the hard ones off.
    policy, reference: (B, 1 + K) log-probs summed over title tokens, nats; column 0 is the chosen title.
    Returns (B,), nats. policy == reference gives log 2.
    """
    rewards = beta * log_ratios(policy, reference)  # (B, 1 + K)
    return F.softplus(rewards[:, 1:].mean(dim=1) - rewards[:, 0])  # (B,)


class Settings(Strict):
    beta: PositiveFloat = Field(
        default=1.0,
        description="Scale of the rewards. Larger: the policy stays nearer to the reference, an example in order is"
        " left alone sooner.",
    )
    reference: bool = Field(
        default=True, description="Compare log-probs relative to the frozen start; false: as they are."
    )
    sft_weight: NonNegativeFloat = Field(
        default=0.0, description="Weight of the supervised loss added to each example; the authors' program has 1."
    )


class Objective(nn.Module):
    needs_rejected = True
    needs_auxiliary = False

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.needs_reference = settings.reference

    def forward(self, scored: Scored) -> Loss:
        reference, beta = scored.reference_if(self.needs_reference), self.settings.beta
        losses = dmpo_loss(scored.policy, reference, beta=beta)
        rewards = beta * log_ratios(scored.policy, reference)
        return preference(scored, losses, rewards, sft_weight=self.settings.sft_weight)
