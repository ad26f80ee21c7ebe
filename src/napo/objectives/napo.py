"""NAPO: rejected titles shared between the examples of a batch, and a margin that follows an auxiliary recommender.

Path    scoring -> [objectives.napo] -> update
Takes   Scored of this rank with its Side; auxiliary scores and history vectors where `needs_auxiliary`
Gives   Loss with the losses of all ranks' examples, the same on every rank; state: the scores' moving average
Relations   no sharing, no margin: S-DPO without reference. No sharing, static margin, K = 1: SimPO on sums; with
            reference and no margin: DPO

Each half has its switch: `sharing: null` (or accept_ratio 0) shares nothing; `margin: null` (or base 0) has no margin,
`sensitivity: 0` a static one that needs no auxiliary recommender.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional as F

from napo.objectives._gather import gather_scored
from napo.objectives._loss import Loss, log_ratios, preference, token_means
from napo.objectives._margin import Margin, mean_scores, napo_margin, scaled_scores
from napo.objectives._peers import under_own_prompt
from napo.objectives._sharing import Average, Gradient, Sharing, borrowed, set_sizes, shared_titles
from napo.scoring.scored import Scored, Side
from napo.settings import Strict


def napo_loss(
    log_probs: Tensor,
    shared: Tensor | None = None,
    lent: Tensor | None = None,
    *,
    beta: float = 1.0,
    gamma: float | Tensor = 1.0,
    gradient: Gradient = "full",
    average: Average = "sum",
) -> Tensor:
    """NAPO loss of each example (arXiv 2508.09653).

        A_i = -log sum_{n in N_i} exp(beta (n - c_i)),   loss_i = softplus(gamma_i - A_i)

    log_probs: (N, 1 + K) nats, summed over title tokens; column 0 is the chosen title's c. N_i: i's own K rejected
    titles, and those that `shared` (N, N * K) names: True in column j * K + k where i takes example j's k-th, as scored
    under j's own prompt; or as `lent` (N, N * K) has it, where i has scored it under its own.
    gamma: the margin, one for all or (N,), without gradient; it multiplies N_i's mass by e^gamma.
    gradient: "full" through c and every title of N_i; "own" through c and i's own rejected titles; "none" through c
    alone, which is the authors' program with sharing on.
    average: "mean" scales N_i's mass to that of K titles, so that more peers do not by themselves raise the loss.
    Returns (N,), nats.
    """
    chosen, rejected = log_probs[:, 0], log_probs[:, 1:]
    own = rejected.detach() if gradient == "none" else rejected
    mass = (beta * own).logsumexp(dim=1)  # (N,) log of the sum of exponentials; the sum itself overflows at 90 nats
    if shared is not None:
        taken = rejected.flatten() if lent is None else lent
        taken = beta * (taken if gradient == "full" else taken.detach())
        mass = torch.logaddexp(mass, _log_mass(taken, shared) if lent is None else _log_mass_by_row(taken, shared))
    advantage = beta * chosen - mass  # (N,), A_i
    if average == "mean":
        advantage = advantage + (set_sizes(rejected, shared).log() - math.log(rejected.shape[1]))
    return F.softplus(gamma - advantage)


def _log_mass_by_row(values: Tensor, sets: Tensor) -> Tensor:
    """As _log_mass(), of values (N, M) that each row has for itself."""
    values = values.masked_fill(~sets, torch.finfo(values.dtype).min)  # not -inf: the gradient of an empty row is NaN
    return values.logsumexp(dim=1).masked_fill(~sets.any(dim=1), -torch.inf)


def _log_mass(values: Tensor, sets: Tensor) -> Tensor:
    """(N,) log of the sum of exp(value) over the values (M,) that each row of sets (N, M) names; of none: -inf.

    One product instead of (N, M) exponentials: the sets share their values. Double precision holds 700 nats of spread.
    """
    highest = values.detach().max()
    mass = sets.double() @ (values - highest).double().exp()
    log_mass = mass.clamp(min=torch.finfo(mass.dtype).tiny).log().to(values.dtype) + highest
    return log_mass.masked_fill(mass == 0, -torch.inf)


def flipped_share(log_probs: Tensor, lent: Tensor, shared: Tensor) -> Tensor:
    """0-d: of the shared titles, how many lie above the receiver's chosen title under one prompt and not the other.

    log_probs: (N, 1 + K). lent, shared: (N, N * K), as in napo_loss.
    """
    chosen, rejected = log_probs[:, :1], log_probs[:, 1:]
    flipped = shared & ((rejected.flatten() > chosen) != (lent > chosen))
    return flipped.sum() / shared.sum().clamp(min=1)


class Settings(Strict):
    beta: PositiveFloat = Field(
        default=1.0,
        description="Scale of the log-probs. Larger: the hardest rejected title takes more of the push, and an example"
        " in order is left alone sooner.",
    )
    margin: Margin | None = Field(default=Margin(), description="The adaptive margin; null: none.")
    sharing: Sharing | None = Field(default=Sharing(), description="The shared rejected titles; null: none.")
    per: Literal["title", "token"] = Field(
        default="title",
        description="title: log-probs summed over tokens. token: their means over a title's scored tokens.",
    )
    reference: bool = Field(default=False, description="true: compare log-probs relative to the frozen start.")
    sft_weight: NonNegativeFloat = Field(
        default=0.0, description="Weight of the supervised loss added to each example."
    )

    @property
    def active_sharing(self) -> Sharing | None:
        return self.sharing if self.sharing and self.sharing.accept_ratio else None


class Objective(nn.Module):
    """NAPO with its state: the moving average of auxiliary scores, and how often it has moved.

    Buffers, so they are saved and resumed. They move once a forward in training, before use, never in evaluation.
    With several ranks a forward is a collective: all ranks must come to it equally often, in evaluation too.
    Figures beside the preference ones: gamma; effective_negatives, the mean size of N_i; masked_share, the share of
    peers' titles left out as known to the receiver; auxiliary_mean and auxiliary_moving_mean, M and Mbar.
    Where sharing is exact, flipped_share in place of masked_share: the share of shared titles that lie on another side
    of the receiver's chosen title under its own prompt than under their owner's.
    """

    needs_rejected = True
    steps: Tensor
    moving_mean: Tensor
    moving_variance: Tensor

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.needs_reference = settings.reference
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("moving_mean", torch.zeros(()))
        self.register_buffer("moving_variance", torch.zeros(()))

    @property
    def needs_auxiliary(self) -> bool:
        """Does `scored.side` need an auxiliary recommender's scores (the margin) or history vectors (the peers)?"""
        margin, sharing = self.settings.margin, self.settings.active_sharing
        return bool((margin and margin.adaptive) or (sharing and sharing.needs_vectors))

    @property
    def borrow(self) -> Callable[[Side, Tensor], Tensor] | None:
        """(N, N * K) who takes over which rejected title of a step, to be asked before scoring; None: not asked."""
        sharing = self.settings.active_sharing
        return partial(borrowed, sharing=sharing) if sharing and sharing.exact else None

    def forward(self, scored: Scored) -> Loss:
        settings, sharing = self.settings, self.settings.active_sharing
        everyone = gather_scored(scored)
        log_probs = log_ratios(everyone.policy, everyone.reference_if(self.needs_reference))  # (N, 1 + K)
        if settings.per == "token":
            log_probs = token_means(log_probs, everyone.lengths)
        figures: dict[str, Tensor] = {}
        shared, lent = None, None
        if sharing and sharing.exact:
            side = everyone.side
            assert side is not None and side.lent is not None, "exact sharing needs the titles scored beforehand"
            own = 1 + side.rejected.shape[1]
            shared, lent = side.shared, under_own_prompt(side.lent, log_probs[:, own:], side.rejected)
            everyone, log_probs = everyone.without_lent(), log_probs[:, :own]
            assert shared is not None
            figures["flipped_share"] = flipped_share(log_probs.detach(), lent.detach(), shared)
        with torch.no_grad():
            self.steps += self.training
            if sharing and not sharing.exact:
                assert everyone.side is not None, "sharing needs the examples' ids"
                shared, figures["masked_share"] = shared_titles(everyone.side, sharing, self.steps)
            figures["effective_negatives"] = set_sizes(log_probs[:, 1:], shared).mean()
            gamma = self._margin(everyone, shared, figures)
            figures["gamma"] = gamma.mean()
        losses = napo_loss(
            log_probs,
            shared,
            lent,
            beta=settings.beta,
            gamma=gamma,
            gradient=sharing.gradient if sharing else "full",
            average=sharing.average if sharing else "sum",
        )
        loss = preference(everyone, losses, settings.beta * log_probs, sft_weight=settings.sft_weight)
        return Loss(loss.losses, loss.figures | figures)

    def _margin(self, everyone: Scored, shared: Tensor | None, figures: dict[str, Tensor]) -> Tensor:
        """gamma: 0-d, or (N,) with a margin per example. In training the moving averages move first."""
        margin, policy = self.settings.margin, everyone.policy
        if margin is None or not margin.adaptive:
            return policy.new_tensor(margin.base if margin else 0.0)
        assert everyone.side is not None, "an adaptive margin needs the auxiliary recommender's scores"
        scores, lent = scaled_scores(everyone.side, margin, shared, policy.dtype)
        own_mean, batch_mean = mean_scores(scores, shared, lent)
        batch_variance = scores.var(correction=0)
        if self.training:
            self.moving_mean.lerp_(batch_mean.to(self.moving_mean.dtype), 1 - margin.momentum)
            self.moving_variance.lerp_(batch_variance.to(self.moving_variance.dtype), 1 - margin.momentum)
        moving_mean = self._corrected(self.moving_mean, batch_mean, margin)
        figures |= {"auxiliary_mean": batch_mean, "auxiliary_moving_mean": moving_mean}
        unit = scores.new_ones(())
        if margin.normalise == "standardise":
            unit = self._corrected(self.moving_variance, batch_variance, margin).sqrt().clamp(min=1e-6)
        mean_score = batch_mean if margin.per == "batch" else own_mean
        return napo_margin(mean_score / unit, moving_mean / unit, base=margin.base, sensitivity=margin.sensitivity)

    def _corrected(self, moving: Tensor, now: Tensor, margin: Margin) -> Tensor:
        """The moving average without the bias of its start at 0; before any training step, the batch's own value."""
        if not margin.bias_corrected:
            return moving.to(now.dtype, copy=True)  # a figure must not move with the buffer
        weight = 1 - margin.momentum ** self.steps.to(now.dtype)
        return torch.where(self.steps > 0, moving.to(now.dtype) / weight.clamp(min=1e-6), now)
