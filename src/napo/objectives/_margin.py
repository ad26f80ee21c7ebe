"""NAPO's margin: how surely an example's rejected titles are disliked, as an auxiliary recommender judges.

Path    Side of all ranks -> [margin] -> objectives.napo
Takes   the auxiliary recommender's scores, raw; who takes whose titles
Gives   M_i of each example and M of all pairs, in the recipe's scale; gamma
"""

from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor

from napo.objectives._sharing import set_sizes
from napo.scoring.scored import Side
from napo.settings import Strict

Scale = Literal["none", "sigmoid", "probability", "rank", "standardise"]


class Margin(Strict):
    base: NonNegativeFloat = Field(
        default=1.0, description="gamma0, the margin at an average auxiliary score; 0: no margin."
    )
    sensitivity: float = Field(
        default=0.3, description="alpha: how much the margin moves with the auxiliary score; 0: it stays at base."
    )
    per: Literal["batch", "example"] = Field(
        default="batch",
        description="batch: one margin from the batch's mean score. example: one from each example's own mean.",
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Share of the past in the scores' moving average.")
    bias_corrected: bool = Field(
        default=True,
        description="false: the moving average starts at 0 and needs some 20 steps, as in the authors' program.",
    )
    normalise: Scale = Field(
        default="none",
        description="The scale of the scores. none: raw. sigmoid: through it first. probability: of the softmax over"
        " the catalog, so small that sensitivity wants to be tens or hundreds. rank: the share of the catalog's other"
        " items that score lower. standardise: M - Mbar is counted in moving standard deviations of the scores. All but"
        " none make sensitivity mean nearly the same for any auxiliary model.",
    )
    scored_by: Literal["owner", "receiver"] = Field(
        default="owner",
        description="Whose score a shared title has. owner: of the user it was drawn for, as in the authors' program."
        " receiver: of the user who takes it over.",
    )

    @property
    def adaptive(self) -> bool:
        return self.base > 0 and self.sensitivity != 0


def napo_margin(mean_score: Tensor, moving_mean: Tensor, *, base: float, sensitivity: float) -> Tensor:
    """gamma = base (1 - sensitivity (M - Mbar)): low auxiliary scores are surely disliked and widen the margin.

    It is in units of A, beta inside; a score far above the average can turn it negative.
    """
    return base * (1 - sensitivity * (mean_score - moving_mean))


def mean_scores(scores: Tensor, shared: Tensor | None, lent: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(N,) M_i, the mean auxiliary score over N_i, and 0-d M, the mean over all pairs (i, n in N_i).

    scores: (N, K) of each example's own rejected titles. lent: (N, N * K) the scores that the titles which `shared`
    names have for their receiver; None: a shared title keeps the score it has for its owner.
    """
    sums = scores.sum(dim=1)
    if shared is not None and lent is None:
        sums = sums + shared.to(scores.dtype) @ scores.flatten()
    elif shared is not None and lent is not None:
        sums = sums + lent.masked_fill(~shared, 0).sum(dim=1)
    sizes = set_sizes(scores, shared)
    return sums / sizes, sums.sum() / sizes.sum()


def scaled_scores(
    side: Side, margin: Margin, shared: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor, Tensor | None]:
    """(N, K) the auxiliary scores of own rejected titles, in the recipe's scale, and (N, N * K) the receivers'.

    The second is None where nobody asks for it. `standardise` scales means, not scores: it leaves them raw here.
    """
    assert side.auxiliary is not None, "an adaptive margin needs the auxiliary recommender's scores"
    received = margin.scored_by == "receiver" and shared is not None
    if not received and margin.normalise not in ("probability", "rank"):
        scores = side.auxiliary.to(dtype)
        return (scores.sigmoid() if margin.normalise == "sigmoid" else scores), None
    catalog = catalog_scores(side).to(dtype)  # (N, items)
    if margin.normalise == "probability":
        catalog = catalog.softmax(dim=1)
    elif margin.normalise == "sigmoid":
        catalog = catalog.sigmoid()
    own = catalog.gather(1, side.rejected)
    lent = catalog[:, side.rejected.flatten()] if received else None
    if margin.normalise == "rank":
        own, lent = share_below(catalog, own), None if lent is None else share_below(catalog, lent)
    return own, lent


def catalog_scores(side: Side) -> Tensor:
    """(N, items): the auxiliary recommender's score of every item after each example's history."""
    histories, items = side.history_vectors, side.item_vectors
    assert histories is not None and items is not None, "this margin needs the auxiliary recommender's vectors"
    # Under autocast the product would be rounded to half precision.
    with torch.autocast(histories.device.type, enabled=False):
        return histories @ items.to(histories.dtype).T


def share_below(catalog: Tensor, values: Tensor) -> Tensor:
    """(N, M): the share of the other items of the catalog that score lower than each value, in its row; 1 is the top.

    catalog: (N, items). values: (N, M), each an item's of its row.
    """
    lower = torch.searchsorted(catalog.sort(dim=1).values, values.contiguous())
    return lower.to(values.dtype) / max(catalog.shape[1] - 1, 1)
