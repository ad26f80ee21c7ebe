"""Who takes over which rejected titles: NAPO's sharing as a recipe sets it.

Path    Side of all ranks -> [sharing] -> objectives.napo; before scoring, to training.batches, where it is exact
Takes   ids and vectors of the N examples of a step, the recipe's `sharing`, the step's number
Gives   boolean (N, N * K): True in column j * K + k where i takes over example j's k-th rejected title
"""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator
from torch import Tensor

from napo.objectives._peers import (
    choose_peers,
    closeness_by,
    eligible_peers,
    known_items,
    one_copy,
    peer_counts,
)
from napo.scoring.scored import Side
from napo.settings import Strict

Gradient = Literal["full", "own", "none"]
Average = Literal["sum", "mean"]


class Sharing(Strict):
    accept_ratio: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=0.7,
        description="Share of the pool's other examples whose rejected titles are taken; null or 0: no sharing.",
    )
    gradient: Gradient = Field(
        default="full", description="What learns: full, all titles; own, no shared ones; none, the chosen title alone."
    )
    peers: Literal["similar", "random", "least", "all"] = Field(
        default="similar",
        description="Which: by history vectors the most similar, by chance, the least, or the whole pool.",
    )
    similarity: Literal["sequence", "item_mean"] = Field(
        default="sequence",
        description="Of what likeness is the dot product. sequence: the auxiliary model's states after the histories."
        " item_mean: the means of its item vectors over the histories. For none at all: `peers: random`.",
    )
    pool: Literal["batch", "row"] = Field(
        default="batch", description="batch: all examples of a step, on all ranks. row: the same user's other examples."
    )
    max_peers: PositiveInt | None = Field(default=None, description="At most so many peers an example.")
    dedup: bool = Field(
        default=False,
        description="true: an item counts once in an example's set, however many peers rejected it: its own copy, or"
        " else that of the peer who comes first by `peers`. false: once for each peer, as in the authors' program.",
    )
    average: Average = Field(
        default="sum", description="mean: shared titles do not add to the loss's size, only to its base."
    )
    exact: bool = Field(
        default=False,
        description="true: shared titles are scored under the receiver's own prompt, beside its own titles: like is"
        " compared with like, and each of them is run once more for each receiver (see `max_peers`). false: as scored"
        " under their owners' prompts, which costs nothing.",
    )

    @model_validator(mode="after")
    def _no_key_without_a_say(self) -> Self:
        if self.peers == "all" and self.max_peers is not None:
            raise ValueError("without `max_peers` where `peers` is `all`")
        if self.similarity != "sequence" and self.peers not in ("similar", "least"):
            raise ValueError(f"without `similarity` where `peers` is `{self.peers}`: no likeness has a say there")
        return self

    @property
    def whole_pool(self) -> bool:
        return self.peers == "all" or (self.accept_ratio == 1 and self.max_peers is None)

    @property
    def needs_vectors(self) -> bool:
        """Whether likeness has a say: in who is a peer, or in whose copy of a title counts."""
        return self.peers in ("similar", "least") and (self.dedup or not self.whole_pool)


def set_sizes(rejected: Tensor, shared: Tensor | None) -> Tensor:
    """(N,) the number of rejected titles in each N_i; (N, K) gives the type."""
    sizes = rejected.new_full((rejected.shape[0],), rejected.shape[1])
    return sizes if shared is None else sizes + shared.sum(dim=1)


def shared_titles(side: Side, sharing: Sharing, step: Tensor) -> tuple[Tensor, Tensor]:
    """(N, N * K) who takes over which rejected title, and the share of offered ones that the receiver knew.

    side: of all the examples of a step, on all ranks. step: 0-d, counted from 1, for peers by chance.
    """
    assert sharing.accept_ratio is not None
    peers = eligible_peers(side.user, side.chosen, side.rejected, pool=sharing.pool)
    closeness = None
    if sharing.dedup or not sharing.whole_pool:
        closeness = _closeness(side, sharing, step)
    if not sharing.whole_pool:
        assert closeness is not None
        counts = peer_counts(peers, accept_ratio=sharing.accept_ratio, max_peers=sharing.max_peers)
        peers = choose_peers(peers, counts, closeness)
    offered = peers.repeat_interleave(side.rejected.shape[1], dim=1)  # (N, N * K)
    known = known_items(side.chosen, side.seen, side.rejected)
    shared, masked_share = offered & ~known, (offered & known).sum() / offered.sum().clamp(min=1)
    if sharing.dedup:
        assert closeness is not None
        shared = one_copy(shared, side.rejected, closeness)
    return shared, masked_share


def borrowed(side: Side, step: Tensor, *, sharing: Sharing) -> Tensor:
    """The first part of shared_titles: what has to be known before scoring where sharing is exact."""
    return shared_titles(side, sharing, step)[0]


def _closeness(side: Side, sharing: Sharing, step: Tensor) -> Tensor:
    """(N, N): who comes first among the examples; where all are peers in no order, chance says."""
    order = "random" if sharing.peers == "all" else sharing.peers
    vectors = side.history_vectors if sharing.similarity == "sequence" else side.history_means
    return closeness_by(order, side.user, side.chosen, vectors, step)
