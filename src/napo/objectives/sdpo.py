"""S-DPO: the chosen title against all its rejected ones at once, the hardest weighing most.

Path    scoring -> [objectives.sdpo] -> update
Takes   Scored, with the reference's log-probs unless `reference: false`
Gives   Loss, nats an example
Relations   K = 1 is DPO; without reference the softmax loss (InfoNCE, temperature 1 / beta), which is NAPO without
            sharing and margin; DMPO has the mean where this has the log-sum-exp, and is never larger
"""

from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional as F

from napo.objectives._loss import Loss, log_ratios, preference
from napo.scoring.scored import Scored
from napo.settings import Strict


def sdpo_loss(policy: Tensor, reference: Tensor | None = None, *, beta: float = 1.0) -> Tensor:
    """S-DPO loss of each example (arXiv 2406.09215).

        r = beta (policy - reference),   loss_i = log(1 + sum_k exp(r_ik - r_i0))

    policy, reference: (B, 1 + K) log-probs summed over title tokens, nats; column 0 is the chosen title.
    Returns (B,), nats. policy == reference gives log(1 + K).
    """
    rewards = beta * log_ratios(policy, reference)  # (B, 1 + K)
    gaps = rewards[:, 1:] - rewards[:, :1]  # (B, K), > 0 where the order is wrong
    # Not log(1 + exp(gaps).sum()): a gap of 90 nats overflows float32.
    return F.softplus(gaps.logsumexp(dim=1))  # (B,)


class Settings(Strict):
    beta: PositiveFloat = Field(
        default=1.0,
        description="Scale of the rewards. Larger: the policy stays nearer to the reference, and the hardest rejected"
        " title takes more of the push.",
    )
    reference: bool = Field(
        default=True, description="Compare log-probs relative to the frozen start; false: as they are."
    )
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
        losses = sdpo_loss(scored.policy, reference, beta=beta)
        rewards = beta * log_ratios(scored.policy, reference)
        return preference(scored, losses, rewards, sft_weight=self.settings.sft_weight)
