"""DPO: the chosen title against each rejected one, pair by pair.

Path    scoring -> [objectives.dpo] -> update
Takes   Scored, with the reference's log-probs unless `reference: false`
Gives   Loss, nats an example: the mean over its K pairs
Relations   K = 1 is S-DPO and DMPO; without reference, BPR on beta times the log-probs
"""

from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional as F

from napo.objectives._loss import Loss, log_ratios, preference
from napo.scoring.scored import Scored
from napo.settings import Strict


def dpo_loss(
    policy: Tensor, reference: Tensor | None = None, *, beta: float = 1.0, label_smoothing: float = 0.0
) -> Tensor:
    """DPO loss of each example (arXiv 2305.18290), the mean over its pairs.

        r = beta (policy - reference),   z_ik = r_i0 - r_ik
        loss_i = mean_k [ (1 - e) softplus(-z_ik) + e softplus(z_ik) ],   e = label_smoothing

    policy, reference: (B, 1 + K) log-probs summed over title tokens, nats; column 0 is the chosen title.
    label_smoothing: the assumed share of pairs whose order is wrong. Returns (B,), nats. policy == reference: log 2.
    """
    rewards = beta * log_ratios(policy, reference)  # (B, 1 + K)
    gaps = rewards[:, 1:] - rewards[:, :1]  # (B, K), > 0 where the order is wrong
    losses = (1 - label_smoothing) * F.softplus(gaps) + label_smoothing * F.softplus(-gaps)
    return losses.mean(dim=1)


class Settings(Strict):
    beta: PositiveFloat = Field(
        default=1.0,
        description="Scale of the rewards. Larger: the policy stays nearer to the reference, a pair in order is left"
        " alone sooner. 1 is usual in recommendation, 0.1 in chat.",
    )
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=0.5, description="Assumed share of pairs whose order is wrong."
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
        losses = dpo_loss(scored.policy, reference, beta=beta, label_smoothing=self.settings.label_smoothing)
        rewards = beta * log_ratios(scored.policy, reference)
        return preference(scored, losses, rewards, sft_weight=self.settings.sft_weight)
