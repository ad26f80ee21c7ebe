"""ILRec: hard negatives out of the model's own intermediate layers, token by token; no rejected titles, no reference.

Path    scoring -> [objectives.ilrec] -> update
Takes   Scored with Tokens: what competes at each place of the chosen titles, in the last layer and in `layers`; with
        `reward` also its Side, the auxiliary recommender's vectors in it
Gives   Loss, nats an example; state: how many steps it has made, for `rivals: random`
Relations   strength, distillation and reward 0 is SFT; all rivals with weight 1 have NAPO's margin, token by token

ILRec-style: of the paper (arXiv 2602.17410) the ingredients are known to us, not the formulas, and the released program
does not run them. Theirs are negatives from intermediate layers above a moving threshold, a penalty on them in the last
layer, distillation from the last layer to these, and soft labels of a collaborative model on the same tokens. Ours are:
tokens compete with those that go on to a title (under `normalize: catalog`), probabilities in the threshold, the mean
of the layers' logits, the additive penalty, no gradient to teacher, norm and head, sums over a title's places.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from napo.errors import UserError
from napo.objectives._loss import Loss, mean, token_means
from napo.objectives._self_hard import (
    Form,
    Threshold,
    Weighing,
    as_many,
    distillation,
    penalty,
    random_keys_at,
    self_hard,
    soft_label_gap,
    weights_of,
)
from napo.scoring.scored import Scored, Side, Tokens
from napo.settings import Strict

DEEP = 24  # blocks of a model that is asked for four layers by default, others for two
TOP = 20  # of the auxiliary recommender's items: a negative that leads there may well be liked


def ilrec_loss(
    chosen: Tensor,
    example: Tensor,
    penalties: Tensor,
    distillations: Tensor,
    rewards: Tensor,
    *,
    distil: float = 0.1,
    reward: float = 0.1,
) -> Tensor:
    """ILRec-style loss of each example (arXiv 2602.17410), summed over its title's places.

        loss_i = sum_t ( -log softmax(zt_t)(y_t) + lam KL(p_t || p^l_t) + b KL(g_t || p_t) )

    chosen: (B,) log-probs of the titles, nats: minus the cross-entropy of the unpenalised softmax, to which each place
    adds what the penalty makes of it. example: (T,) whose place. penalties, distillations, rewards: (T,) nats, as
    objectives._self_hard has them. distil, reward: lam and b. Returns (B,), nats.
    """
    added = penalties + distil * distillations + reward * rewards
    return -chosen + torch.zeros_like(chosen).index_add(0, example, added.to(chosen.dtype))


def layers_asked(layers: int | Sequence[int] | None, depth: int) -> tuple[int, ...]:
    """The numbers of the intermediate layers, ascending. depth: the model's layers, the first being 1, the last depth.

    layers: so many before the last; or their numbers, the last one allowed; None: four before the last of a model of 24
    or more, else two, and of a model of two the one that there is. Raises UserError for layers that don't exist.
    """
    if depth < 2 and not isinstance(layers, Sequence):
        raise UserError(
            "the model has a single layer: there is none before it to take negatives from",
            where="objective.layers",
            remedy="a model of two layers or more (`model.layers: 2` of `tiny`), or `layers: [1]`, the last one itself",
        )
    if layers is None:
        layers = min(4 if depth >= DEEP else 2, depth - 1)
    if isinstance(layers, int):
        if layers >= depth:
            raise UserError(
                f"{layers} layers before the last are asked for, and the model has {depth} layers in all",
                where="objective.layers",
                remedy=f"at most {depth - 1}",
            )
        return tuple(range(depth - layers, depth))
    if missing := [layer for layer in layers if layer > depth]:
        raise UserError(
            f"no layer {', '.join(map(str, missing))}: the model has {depth}",
            where="objective.layers",
            remedy=f"numbers from 1 to {depth}, the last layer, or how many before the last: `layers: 1`",
        )
    return tuple(sorted(set(layers)))


class Settings(Strict):
    layers: PositiveInt | Annotated[tuple[PositiveInt, ...], Field(min_length=1)] | None = Field(
        default=None,
        description="Which layers the negatives come from: so many before the last, or their numbers ([1, 2]); null:"
        " the four before the last of a model of 24 layers or more, else two, of a model of two the first.",
    )
    threshold: Threshold = Field(
        default="final",
        description="What a rival has to reach in those layers. final: phi times the last layer's probability of the"
        " right token, which rises as it learns. own: phi times their own of it. constant: phi.",
    )
    phi: PositiveFloat = Field(default=1.0, description="Factor of the threshold. Smaller: more negatives a place.")
    top: PositiveInt | None = Field(
        default=None, description="So many negatives at each place, the likeliest, without a threshold; null: by it."
    )
    rivals: Literal["self_hard", "random"] = Field(
        default="self_hard",
        description="random: as many negatives as there would be, by chance: the control of whether hard matters.",
    )
    weights: Weighing = Field(
        default="sum",
        description="How a place's negatives share the penalty. sum: by their probability in those layers, together 1."
        " max: so that the hardest weighs 1, however many there are. uniform: all alike, together 1.",
    )
    penalty: Form = Field(
        default="add",
        description="add: to a negative's logit. multiply: the logit itself, as the released program means it; that"
        " rewards negatives with a logit below 0, and wants a strength near 0.1.",
    )
    strength: NonNegativeFloat = Field(
        default=1.0, description="a, nats: the most that the penalty can raise a negative's logit; 0: none."
    )
    distillation: NonNegativeFloat = Field(
        default=0.1, description="lam: weight of the last layer's teaching the others; 0: none."
    )
    reward: NonNegativeFloat = Field(
        default=0.1,
        description="b: weight of the auxiliary recommender's soft labels on negatives and right token; 0: none.",
    )
    temperature: PositiveFloat = Field(
        default=1.0,
        description="What the auxiliary recommender's scores are divided by before their softmax over the catalog.",
    )
    folds: Annotated[int, Field(ge=2)] | None = Field(
        default=None,
        description="So many recommenders in place of the one, each judging the users that it has not trained on; they"
        " cost folds - 1 of it. null: the auxiliary recommender, which has trained on the targets that it softens.",
    )
    per: Literal["title", "token"] = Field(
        default="title", description="title: sums over a title's places, as in SFT. token: means over them."
    )


class Objective(nn.Module):
    """ILRec-style loss. Buffer: the steps made in training.

    Figures: chosen_log_prob; self_hard, the mean number of negatives a place; no_self_hard, the share of places without
    any; self_hard_mass, the last layer's probability of all of a place's negatives; penalty, distillation, reward:
    means over the places, nats, before their weights; doubtful, where there is a reward: the share of negatives that
    lead to one of the 20 items that the auxiliary recommender rates highest.
    """

    needs_rejected = False
    needs_reference = False
    steps: Tensor

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.needs_auxiliary = settings.reward > 0
        self.folds = settings.folds or 1
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def token_layers(self, depth: int) -> tuple[int, ...]:
        """Which layers' logits the scoring has to give in Scored.tokens, of a model of so many."""
        return layers_asked(self.settings.layers, depth)

    def forward(self, scored: Scored) -> Loss:
        settings, tokens = self.settings, scored.tokens
        assert tokens is not None, "ILRec needs what competes at each place, beside the titles' log-probs"
        self.steps += self.training
        negatives, weights = self._negatives(tokens, scored.side)
        penalties = penalty(tokens.logits, weights, strength=settings.strength, form=settings.penalty)
        distillations = distillation(tokens.logits, tokens.layers)
        rewards, figures = self._rewards(tokens, negatives, scored.side)
        losses = ilrec_loss(
            scored.policy[:, 0],
            tokens.example,
            penalties,
            distillations,
            rewards,
            distil=settings.distillation,
            reward=settings.reward,
        )
        if settings.per == "token":
            losses = token_means(losses, scored.lengths[:, 0])
        with torch.no_grad():
            found = negatives.sum(dim=1).to(losses.dtype)
            shown = {
                "chosen_log_prob": scored.policy[:, 0],
                "self_hard": found,
                "no_self_hard": (found == 0).to(losses.dtype),
                "self_hard_mass": tokens.logits.softmax(dim=1).masked_fill(~negatives, 0).sum(dim=1),
                "penalty": penalties,
                "distillation": distillations,
            }
            return Loss(losses, {name: mean(values.detach()) for name, values in shown.items()} | figures)

    def _negatives(self, tokens: Tokens, side: Side | None) -> tuple[Tensor, Tensor]:
        """(T, C) bool and their weights."""
        settings = self.settings
        negatives, beneath = self_hard(
            tokens.logits,
            tokens.layers,
            tokens.right,
            tokens.allowed,
            threshold=settings.threshold,
            phi=settings.phi,
            top=settings.top,
        )
        if settings.rivals == "self_hard":
            return negatives, weights_of(negatives, beneath, settings.weights)
        assert side is not None, "chance is keyed by the examples' ids"
        keys = random_keys_at(side.user, side.chosen, tokens.example, negatives.shape[1], self.steps)
        negatives = as_many(negatives, tokens.right, tokens.allowed, keys)
        return negatives, weights_of(negatives, beneath, "uniform")

    def _rewards(self, tokens: Tokens, negatives: Tensor, side: Side | None) -> tuple[Tensor, dict[str, Tensor]]:
        """(T,) the reward term, and what the log says of it; without a reward 0, and nothing."""
        if not self.needs_auxiliary:
            return tokens.logits.new_zeros(len(tokens.right)), {}
        assert side is not None, "the reward needs the auxiliary recommender's vectors"
        histories, items = side.history_vectors, side.item_vectors
        assert histories is not None and items is not None, "the reward needs the auxiliary recommender's vectors"
        with torch.no_grad(), torch.autocast(histories.device.type, enabled=False):
            scores = histories @ items.to(histories.dtype).T / self.settings.temperature  # (B, items)
            likely = tokens.leads.mass(scores.softmax(dim=1), tokens.example, tokens.logits)
            best = torch.zeros_like(scores).scatter(1, scores.topk(min(TOP, scores.shape[1]), dim=1).indices, 1.0)
            doubtful = negatives & (tokens.leads.mass(best, tokens.example, tokens.logits) > 0)
        rewards = soft_label_gap(tokens.logits, negatives, tokens.right, likely)
        share = doubtful.sum() / negatives.sum().clamp(min=1)
        return rewards, {"reward": mean(rewards.detach()), "doubtful": share.to(rewards.dtype)}
