"""IPO: each pair's gap is drawn to a fixed target, 1 / (2 beta), instead of growing without end.

Path    scoring -> [objectives.ipo] -> update
Takes   Scored with lengths, and the reference's log-probs unless `reference: false`
Gives   Loss, squared nats an example: the mean over its K pairs
Relations   DPO's gaps under a square instead of a logistic loss; means over tokens here, sums there
"""

from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from napo.objectives._loss import Loss, log_ratios, preference, token_means
from napo.scoring.scored import Scored
from napo.settings import Strict


def ipo_loss(policy: Tensor, reference: Tensor | None, lengths: Tensor, *, beta: float = 0.1) -> Tensor:
    """IPO loss of each example (arXiv 2310.12036), the mean over its pairs.

        m = (policy - reference) / lengths,   loss_i = mean_k ( m_i0 - m_ik - 1 / (2 beta) )^2

    Token means, as the authors advise; sums would move the target by the length of the titles (lengths of 1 give them).
    policy, reference: (B, 1 + K) log-probs summed over title tokens, nats; lengths: (B, 1 + K); column 0 is the chosen
    title. Returns (B,). policy == reference gives 1 / (4 beta^2).
    """
    ratios = token_means(log_ratios(policy, reference), lengths)  # (B, 1 + K)
    margins = ratios[:, :1] - ratios[:, 1:]  # (B, K)
    return (margins - 1 / (2 * beta)).square().mean(dim=1)


class Settings(Strict):
    beta: PositiveFloat = Field(
        default=0.1,
        description="The wanted gap is 1 / (2 beta) nats a token. Larger: a smaller gap is wanted, less change.",
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
        losses = ipo_loss(scored.policy, reference, scored.lengths, beta=beta)
        rewards = beta * token_means(log_ratios(scored.policy, reference), scored.lengths)
        return preference(scored, losses, rewards, sft_weight=self.settings.sft_weight)
