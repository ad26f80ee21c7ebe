"""SimPO: token means instead of sums, a fixed margin, and no reference.

Path    scoring -> [objectives.simpo] -> update
Takes   Scored with lengths (and the reference's log-probs only with `reference: true`)
Gives   Loss, nats an example: the mean over its K pairs
Relations   titles of one length L, gamma 0: DPO without reference at beta / L. On sums instead of means, K = 1: NAPO
            without sharing and with a static margin
"""

from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional as F

from napo.objectives._loss import Loss, log_ratios, preference, token_means
from napo.scoring.scored import Scored
from napo.settings import Strict


def simpo_loss(
    policy: Tensor, lengths: Tensor, *, beta: float = 2.0, gamma: float = 0.5, reference: Tensor | None = None
) -> Tensor:
    """SimPO loss of each example (arXiv 2405.14734), the mean over its pairs.

        m = policy / lengths,   loss_i = mean_k softplus( gamma - beta (m_i0 - m_ik) )

    gamma is the margin itself, in units of beta times nats a token; the authors' program asks for the ratio
    gamma / beta instead: its 0.25 at beta 2 is our 0.5.
    policy: (B, 1 + K) log-probs summed over title tokens, nats; lengths: (B, 1 + K); column 0 is the chosen title.
    reference: (B, 1 + K), off in the paper; given, policy - reference takes the policy's place. Returns (B,), nats.
    """
    rewards = beta * token_means(log_ratios(policy, reference), lengths)  # (B, 1 + K)
    gaps = rewards[:, 1:] - rewards[:, :1]  # (B, K), > 0 where the order is wrong
    return F.softplus(gamma + gaps).mean(dim=1)


class Settings(Strict):
    beta: PositiveFloat = Field(
        default=2.0, description="Scale of the token means. Larger: pairs in order are left alone sooner."
    )
    gamma: NonNegativeFloat = Field(
        default=0.5,
        description="The margin itself, not its ratio to beta. Larger: a wider lead of the chosen title is wanted.",
    )
    reference: bool = Field(default=False, description="true: compare log-probs relative to the frozen start.")
    sft_weight: NonNegativeFloat = Field(
        default=0.0, description="Weight of the supervised loss added to each example."
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
        losses = simpo_loss(scored.policy, scored.lengths, beta=beta, gamma=self.settings.gamma, reference=reference)
        rewards = beta * token_means(log_ratios(scored.policy, reference), scored.lengths)
        return preference(scored, losses, rewards, sft_weight=self.settings.sft_weight)
