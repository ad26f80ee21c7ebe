"""ILRec's self-hard negatives and the terms made of them, place by place.

Path    Tokens -> [self_hard] -> objectives.ilrec
Takes   logits (T, C) of the tokens that compete at T places, in the last layer and in others; the right token's column
Gives   which rivals are negatives and what each weighs (T, C); penalty, distillation and gap to soft labels (T,), nats

What stands behind a place's last token has a logit so low that its probability is 0, and `allowed` leaves it out.
"""

from typing import Literal

import torch
from torch import Tensor

from napo.objectives._peers import mixed

Threshold = Literal["final", "own", "constant"]
Weighing = Literal["sum", "max", "uniform"]
Form = Literal["add", "multiply"]


def rivals_of(right: Tensor, allowed: Tensor) -> Tensor:
    """(T, C) bool: the allowed tokens but the right one."""
    return allowed.scatter(1, right[:, None], False)


@torch.no_grad()
def self_hard(
    logits: Tensor,
    layers: Tensor,
    right: Tensor,
    allowed: Tensor,
    *,
    threshold: Threshold = "final",
    phi: float = 1.0,
    top: int | None = None,
) -> tuple[Tensor, Tensor]:
    """(T, C) bool N_t, the rivals that the intermediate layers rate high, and (T, C) pb, these layers' probabilities.

        pb = softmax(mean_l z^l),   N_t = { v != y_t : pb_t(v) >= theta_t }

    layers: (layers, T, C). theta_t: phi times the last layer's probability of the right token; `own`: phi times pb's of
    it; `constant`: phi. top: no threshold, but the so many rivals with the highest pb.
    """
    beneath = layers.mean(dim=0).softmax(dim=1)
    rivals = rivals_of(right, allowed)
    if top is not None:
        best = beneath.masked_fill(~rivals, -1).topk(min(top, beneath.shape[1]), dim=1).indices
        return rivals & torch.zeros_like(rivals).scatter(1, best, True), beneath
    bar = torch.full_like(beneath[:, :1], phi)
    if threshold != "constant":
        judge = logits.softmax(dim=1) if threshold == "final" else beneath
        bar = phi * judge.gather(1, right[:, None])
    return rivals & (beneath >= bar), beneath


@torch.no_grad()
def as_many(negatives: Tensor, right: Tensor, allowed: Tensor, keys: Tensor) -> Tensor:
    """(T, C) bool: in place of each row's negatives as many of its rivals, those with the highest keys (T, C)."""
    rivals = rivals_of(right, allowed)
    order = keys.masked_fill(~rivals, torch.iinfo(keys.dtype).min).argsort(dim=1, descending=True)
    taken = torch.arange(order.shape[1], device=order.device) < negatives.sum(dim=1, keepdim=True)
    return torch.zeros_like(negatives).scatter(1, order, taken) & rivals


@torch.no_grad()
def weights_of(negatives: Tensor, beneath: Tensor, weighing: Weighing = "sum") -> Tensor:
    """(T, C): what each negative weighs, 0 elsewhere; of an empty row 0 throughout.

    sum: pb, so scaled that a row's sum is 1. max: that its largest is 1. uniform: all the same, sum 1.
    """
    weights = beneath.masked_fill(~negatives, 0) if weighing != "uniform" else negatives.to(beneath.dtype)
    size = weights.amax(dim=1, keepdim=True) if weighing == "max" else weights.sum(dim=1, keepdim=True)
    return weights / size.clamp(min=torch.finfo(weights.dtype).tiny)


def penalty(logits: Tensor, weights: Tensor, *, strength: float = 1.0, form: Form = "add") -> Tensor:
    """(T,) what the penalised softmax adds to the cross-entropy: log sum_v exp(zt(v)) - log sum_v exp(z(v)).

        add        zt = z + a w: a negative's mass counts e^(a w) times; between 0 and a
        multiply   zt = z (1 + a w): the released program's intent; rewards negatives whose logit is below 0

    The right token weighs 0, so that  -log softmax(zt)(y) = -log softmax(z)(y) + this.
    """
    raised = logits + strength * weights if form == "add" else logits * (1 + strength * weights)
    return raised.logsumexp(dim=1) - logits.logsumexp(dim=1)


def distillation(logits: Tensor, layers: Tensor) -> Tensor:
    """(T,) mean over the layers of KL(p || p^l), p being the last layer's probabilities, without gradient."""
    teacher = logits.detach().log_softmax(dim=1)
    gaps = teacher - layers.log_softmax(dim=2)  # (layers, T, C)
    return (teacher.exp() * gaps).sum(dim=2).mean(dim=0)


def soft_label_gap(logits: Tensor, negatives: Tensor, right: Tensor, likely: Tensor) -> Tensor:
    """(T,) KL(g || p), g being the collaborative model's probabilities of the negatives and the right token alone.

    likely: (T, C) R_t(v), not negative; g is R so scaled that these sum to 1. Where there are no negatives, or R is 0
    on all of them, there is nothing to say: 0.
    """
    support = negatives.scatter(1, right[:, None], True)
    likely = likely.masked_fill(~support, 0)
    total = likely.sum(dim=1, keepdim=True)
    soft = likely / total.clamp(min=torch.finfo(likely.dtype).tiny)
    found = (torch.xlogy(soft, soft) - soft * logits.log_softmax(dim=1)).sum(dim=1)
    return found.where(negatives.any(dim=1) & (total[:, 0] > 0), 0)


def random_keys_at(user: Tensor, chosen: Tensor, example: Tensor, columns: int, step: Tensor) -> Tensor:
    """(T, columns) int64, as good as random, from (the example's user and item, which of its places, column, step)."""
    place = torch.arange(len(example), device=example.device)
    first = torch.full_like(user, len(example)).scatter_reduce(0, example, place, "amin")
    own = mixed(mixed(user) ^ chosen)[example]
    at_place = mixed(mixed(own + step) ^ (place - first[example]))
    return mixed(at_place[:, None] ^ torch.arange(columns, device=example.device))
