"""RosePO: DPO with labels softened pair by pair, as far as an oracle doubts that the pair's order is right.

Path    scoring -> [objectives.rosepo] -> update
Takes   Scored, with the reference's log-probs unless `reference: false`; where the factor is the oracle's, its Side
        with the auxiliary recommender's scores and vectors, and margins of held-out pairs to calibrate on beforehand
Gives   Loss, nats an example: the mean over its K pairs; state: the oracle's temperature
Relations   smoothing 0 is DPO, a constant one DPO with `label_smoothing`; `form: robust` is unbiased where a share of
            the labels is flipped by chance; NAPO answers the same doubt by a margin

RosePO-style: of the paper (arXiv 2410.12519) only the aim is known to us, a smoothing factor for each pair, which a
preference oracle predicts. Ours are the loss (cDPO's, with a factor for each pair), the factor (Bradley-Terry on the
auxiliary recommender's scores), its cap, the fit of the temperature, and the folds: a recommender that has trained on
the targets it judges is too sure of them, so that each user is judged by one that has trained on other folds' users.
Whether that does it shows in the log: `smoothing` beside `smoothing_held_out`, the mean over pairs of validation.
"""

from collections.abc import Callable
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from napo.errors import UserError
from napo.objectives._loss import Loss, log_ratios, mean, preference
from napo.scoring.scored import Scored, Side
from napo.settings import Strict

Form = Literal["smoothed", "robust"]
SHARPEST = 1e4  # the largest 1 / temperature, where the oracle orders all held-out pairs rightly and no fit has an end


def rosepo_loss(
    policy: Tensor,
    reference: Tensor | None = None,
    smoothing: Tensor | float = 0.0,
    *,
    beta: float = 1.0,
    form: Form = "smoothed",
) -> Tensor:
    """RosePO-style loss of each example (arXiv 2410.12519), the mean over its pairs.

        r = beta (policy - reference),   z_ik = r_i0 - r_ik
        smoothed   -(1 - e) log sigmoid(z) - e log sigmoid(-z) = softplus(-z) + e z,  least at z = log((1 - e) / e)
        robust     [(1 - e) softplus(-z) - e softplus(z)] / (1 - 2 e),  e < 1/2, without a least value

    policy, reference: (B, 1 + K) log-probs summed over title tokens, nats; column 0 is the chosen title.
    smoothing: e, the chance that a pair's order is wrong, in [0, 1]: one for all or (B, K), without gradient.
    Returns (B,), nats. policy == reference, smoothed: log 2, whatever e is.
    """
    rewards = beta * log_ratios(policy, reference)  # (B, 1 + K)
    z = rewards[:, :1] - rewards[:, 1:]  # (B, K), > 0 where the order is right
    losses = F.softplus(-z) + smoothing * z
    if form == "robust":
        # (1 - e) softplus(-z) - e softplus(z) = (1 - 2 e) softplus(-z) - e z
        losses = F.softplus(-z) - smoothing * z / (1 - 2 * smoothing)
    return losses.mean(dim=1)


def oracle_smoothing(
    chosen: Tensor, rejected: Tensor, *, temperature: Tensor | float = 1.0, cap: float = 0.5
) -> Tensor:
    """(B, K): the chance that a pair's order is wrong, by Bradley-Terry on an oracle's scores, at most `cap`.

        e_ik = min( sigmoid(-(s_i - s_ik) / temperature), cap )

    chosen: (B,), rejected: (B, K) scores, of any range. At temperature 1 and with logits of a softmax over the catalog
    e is p_k / (p_0 + p_k).
    """
    return ((rejected - chosen[:, None]) / temperature).sigmoid().clamp(max=cap)


def fitted_temperature(margins: Tensor) -> float:
    """The temperature at which sigmoid(margin / temperature) is most likely: that every pair's order is right.

    margins: (pairs,) chosen minus rejected score, held out from the oracle. The mean of softplus(-a margin) is convex
    in a = 1 / temperature; its slope is halved in on. Raises UserError where no a > 0 is better than a = 0.
    """
    margins = margins.double().flatten()
    if margins.numel() == 0 or margins.mean() <= 0:
        raise UserError(
            f"the auxiliary recommender orders {margins.numel():,} held-out pairs no better than chance:"
            " it would have every pair's order be wrong by a half",
            where="objective.smoothing",
            remedy="train it longer, draw negatives it does not favour, or a constant: `smoothing: 0.1`",
        )

    def slope(a: float) -> float:
        return -float((margins * (-a * margins).sigmoid()).mean())

    low, high = 0.0, 1.0 / float(margins.abs().mean())
    while slope(high) < 0 and high < SHARPEST:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 1 / high


class Settings(Strict):
    beta: PositiveFloat = Field(
        default=1.0,
        description="Scale of the rewards. Larger: the policy stays nearer to the reference. A smoothed pair rests at"
        " the same gap of rewards, so at a smaller one of log-probs: at smoothing 0.1 22 nats at beta 0.1, 2.2 at 1.",
    )
    smoothing: Annotated[float, Field(ge=0, lt=0.5)] | None = Field(
        default=None,
        description="Assumed chance that a pair's order is wrong, one for all pairs; null: what the oracle, the"
        " auxiliary recommender, says of each.",
    )
    folds: Annotated[int, Field(ge=2)] | None = Field(
        default=2,
        description="So many oracles, each trained on the users outside its fold and judging those in it; together they"
        " cost folds - 1 auxiliary recommenders, and runs on the same data share them. null: the one auxiliary"
        " recommender, which has trained on the targets that it judges, so that its factors come out too small.",
    )
    per: Literal["pair", "user"] = Field(
        default="pair", description="Whose the oracle's factor is. user: the mean over the user's pairs in the step."
    )
    temperature: PositiveFloat | None = Field(
        default=None,
        description="What the oracle's scores are divided by; null: fitted to held-out pairs, the targets of the"
        " validation against items drawn as `negatives` has it.",
    )
    cap: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Largest factor of the oracle's. Above 0.5 it may reverse what the log says.",
    )
    form: Form = Field(
        default="smoothed",
        description="smoothed: doubtful pairs get less push, and a target. robust: more push, right on average where"
        " labels are flipped by chance; wants a `cap` well below 0.5.",
    )
    reference: bool = Field(
        default=True, description="Compare log-probs relative to the frozen start; false: as they are."
    )
    sft_weight: NonNegativeFloat = Field(
        default=0.0, description="Weight of the supervised loss added to each example."
    )

    @model_validator(mode="after")
    def _robust_below_a_half(self) -> Self:
        if self.form == "robust" and self.smoothing is None and self.cap >= 0.5:
            raise ValueError("with `cap` below 0.5, such as 0.3, where `form` is robust: it divides by 1 - 2 smoothing")
        return self


class Objective(nn.Module):
    """RosePO-style loss. Buffers: the oracle's temperature, 1 until calibrated, and its mean factor on held-out pairs.

    Figures beside the preference ones: smoothing, the mean factor; where the oracle gives it also smoothing_held_out,
    oracle_temperature, and capped_share, the share of pairs whose factor is the cap.
    """

    needs_rejected = True
    temperature: Tensor
    held_out: Tensor

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.needs_reference = settings.reference
        self.needs_auxiliary = settings.smoothing is None
        self.folds = settings.folds or 1
        self.register_buffer("temperature", torch.tensor(settings.temperature or 1.0))
        self.register_buffer("held_out", torch.tensor(0.0))

    @property
    def calibrate(self) -> Callable[[Tensor], None] | None:
        """To be called once before training, with the oracle's margins (pairs,) on held-out pairs; None: no need."""
        return self._calibrate if self.needs_auxiliary else None

    def _calibrate(self, margins: Tensor) -> None:
        if self.settings.temperature is None:
            self.temperature.fill_(fitted_temperature(margins))
        factors = oracle_smoothing(
            margins.new_zeros(1), -margins[None], temperature=float(self.temperature), cap=self.settings.cap
        )
        self.held_out.fill_(mean(factors))

    def forward(self, scored: Scored) -> Loss:
        settings, reference = self.settings, scored.reference_if(self.needs_reference)
        smoothing, figures = self._smoothing(scored)
        losses = rosepo_loss(scored.policy, reference, smoothing, beta=settings.beta, form=settings.form)
        rewards = settings.beta * log_ratios(scored.policy, reference)
        loss = preference(scored, losses, rewards, sft_weight=settings.sft_weight)
        return Loss(loss.losses, loss.figures | figures)

    @torch.no_grad()
    def _smoothing(self, scored: Scored) -> tuple[Tensor | float, dict[str, Tensor]]:
        """The factor, one for all or (B, K), and what the log says of it."""
        settings, policy = self.settings, scored.policy
        if settings.smoothing is not None:
            return settings.smoothing, {"smoothing": policy.new_tensor(settings.smoothing)}
        side = scored.side
        assert side is not None and side.auxiliary is not None, "the oracle's factor needs the auxiliary scores"
        factors = oracle_smoothing(
            _chosen_scores(side).to(policy.dtype),
            side.auxiliary.to(policy.dtype),
            temperature=self.temperature.to(policy.dtype),
            cap=settings.cap,
        )
        figures = {
            "smoothing": mean(factors),
            "smoothing_held_out": self.held_out.to(policy.dtype, copy=True),  # a figure must not move with the buffer
            "oracle_temperature": self.temperature.to(policy.dtype, copy=True),
            "capped_share": mean((factors >= settings.cap).to(policy.dtype)),
        }
        return (factors if settings.per == "pair" else _means_by_user(factors, side.user)), figures


def _chosen_scores(side: Side) -> Tensor:
    """(B,): the auxiliary recommender's score of each example's chosen item."""
    histories, items = side.history_vectors, side.item_vectors
    assert histories is not None and items is not None, "the oracle's factor needs the auxiliary recommender's vectors"
    # a product and a sum: under autocast a matrix product would be rounded to half precision
    return (histories * items[side.chosen].to(histories.dtype)).sum(dim=1)


def _means_by_user(factors: Tensor, user: Tensor) -> Tensor:
    """(B, K): in place of each factor the mean over all of its user's."""
    number: Tensor = torch.unique(user, return_inverse=True)[1]
    own = factors.mean(dim=1)
    sums = torch.zeros_like(own).index_add_(0, number, own)
    counts = torch.zeros_like(own).index_add_(0, number, torch.ones_like(own))
    return (sums / counts.clamp(min=1))[number][:, None].expand_as(factors)
