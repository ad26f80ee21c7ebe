"""Log-probabilities of titles, and what is known beside them: what every objective takes.

Path    token batch -> scoring.shared_prefix -> [scoring.scored] -> objectives
Takes   the tensors of one batch, on one device; a batch may hold B examples or B positions of a few long rows
Gives   Scored, with its Side and Tokens: checked once, when built: shapes, kinds, devices, never values, which would
        stall a GPU
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

LOWEST = -1e9  # the logit of what can't be: its exponential is 0, and products with that stay numbers


@dataclass(frozen=True, eq=False)
class Side:
    """What sharing and margins need to know of each example; B examples, K rejected.

    chosen: (B,) item. rejected: (B, K) items, the columns of `Scored.policy` after the first. user: (B,) dense user.
    seen: (B, S) the user's training items, padded with -1.
    history_vectors: (B, d) the auxiliary recommender's vectors of the histories; None where nobody asked for them.
    history_means: (B, d) means of its item vectors over the histories. item_vectors: (items, d) of the whole catalog.
    auxiliary: (B, K) the auxiliary recommender's raw scores of the example's own rejected items; None likewise.
    lent: (B, E) other examples' rejected items that are scored beside the own ones, padded with -1: the last columns of
    `Scored.policy`. shared: (B, N * K) for which of the step's N examples' rejected items that was done.
    """

    chosen: Tensor
    rejected: Tensor
    user: Tensor
    seen: Tensor
    history_vectors: Tensor | None = None
    auxiliary: Tensor | None = None
    history_means: Tensor | None = None
    item_vectors: Tensor | None = None
    lent: Tensor | None = None
    shared: Tensor | None = None

    def __post_init__(self) -> None:
        assert self.rejected.ndim == 2, f"rejected: (B, K) items, not {tuple(self.rejected.shape)}"
        examples = self.rejected.shape[0]
        assert self.chosen.shape == (examples,), f"chosen: ({examples},) items, not {tuple(self.chosen.shape)}"
        assert self.user.shape == (examples,), f"user: ({examples},) users, not {tuple(self.user.shape)}"
        assert self.seen.ndim == 2, f"seen: ({examples}, S) items, not {tuple(self.seen.shape)}"
        assert self.seen.shape[0] == examples, f"seen: ({examples}, S) items, not {tuple(self.seen.shape)}"
        for name in ("chosen", "rejected", "user", "seen"):
            assert getattr(self, name).dtype == torch.int64, f"{name} holds ids: int64, not {getattr(self, name).dtype}"
        for name in ("history_vectors", "history_means"):
            if (vectors := getattr(self, name)) is not None:
                assert vectors.ndim == 2, f"{name}: ({examples}, d), not {tuple(vectors.shape)}"
                assert vectors.shape[0] == examples, f"{name}: ({examples}, d), not {tuple(vectors.shape)}"
        for name in ("lent", "shared"):
            if (beside := getattr(self, name)) is not None:
                assert beside.ndim == 2, f"{name}: two dimensions, not {tuple(beside.shape)}"
                assert beside.shape[0] == examples, f"{name}: ({examples}, ...), not {tuple(beside.shape)}"
        if self.item_vectors is not None:
            assert self.item_vectors.ndim == 2, f"item_vectors: (items, d), not {tuple(self.item_vectors.shape)}"
        if self.auxiliary is not None:
            shape = self.auxiliary.shape
            assert shape == self.rejected.shape, f"auxiliary: {tuple(self.rejected.shape)} scores, not {tuple(shape)}"


@dataclass(frozen=True, eq=False)
class Leads:
    """Which items tokens lead to: the token in column column[e] of place place[e] to order[first[e] : last[e]].

    place, column, first, last: (E,) int64. order: (items,) all items, those whose titles begin alike side by side.
    A token that leads to no title has no e.
    """

    place: Tensor
    column: Tensor
    first: Tensor
    last: Tensor
    order: Tensor

    def mass(self, weights: Tensor, example: Tensor, like: Tensor) -> Tensor:
        """(T, C), as `like`: the summed weights of the items that each token leads to; 0 where it leads to none.

        weights: (B, items), not negative. example: (T,) whose weights count at each place.
        """
        # in double precision: differences of running sums would lose a small weight behind large ones
        sums = nn.functional.pad(weights[:, self.order].double().cumsum(dim=1), (1, 0))  # (B, items + 1)
        row = example[self.place]
        found = torch.zeros_like(like)
        found[self.place, self.column] = (sums[row, self.last] - sums[row, self.first]).to(like.dtype)
        return found


@dataclass(frozen=True, eq=False)
class Tokens:
    """What the chosen titles' log-probs are made of: T places where a token of one is predicted, C tokens at most each.

    logits: (T, C) of the tokens that compete at a place: all that continue some title, or the whole vocabulary; float32
    or float64, LOWEST where `allowed` (T, C) is false, behind a place's last token. Their log-softmax at the right
    token, summed over an example's places, is its chosen log-prob.
    layers: (layers, T, C) the same of the layers asked for, through the last norm and head, which get no gradient.
    right: (T,) the column of the title's own token. example: (T,) whose chosen title, in 0 .. B - 1.
    """

    logits: Tensor
    layers: Tensor
    allowed: Tensor
    right: Tensor
    example: Tensor
    leads: Leads

    def __post_init__(self) -> None:
        shape = self.logits.shape
        assert len(shape) == 2, f"logits: (T, C), not {tuple(shape)}"
        assert self.logits.dtype in (torch.float32, torch.float64), f"logits in {self.logits.dtype}"
        assert self.layers.shape[1:] == shape, (
            f"layers: (layers, {shape[0]}, {shape[1]}), not {tuple(self.layers.shape)}"
        )
        assert self.allowed.shape == shape, f"allowed: {tuple(shape)}, not {tuple(self.allowed.shape)}"
        for name in ("right", "example"):
            assert getattr(self, name).shape == shape[:1], f"{name}: ({shape[0]},), one a place"


@dataclass(frozen=True, eq=False)
class Scored:
    """The scored titles of B examples: column 0 is the chosen title, the K columns after it the rejected ones.

    policy: (B, 1 + K) log-probs summed over title tokens, nats. lengths: (B, 1 + K) how many places were summed.
    reference: (B, 1 + K) the same under the frozen start; None where there is none. side: see Side. tokens: see Tokens;
    None where the objective has no `token_layers`.
    K may be 0: the supervised loss needs no rejected titles. Where sharing is exact E columns more come after the K.
    """

    policy: Tensor
    lengths: Tensor
    reference: Tensor | None = None
    side: Side | None = None
    tokens: Tokens | None = None

    def __post_init__(self) -> None:
        shape = self.policy.shape
        assert len(shape) == 2, f"policy: (B, 1 + K), not {tuple(shape)}"
        assert shape[1] >= 1, f"policy: (B, 1 + K), not {tuple(shape)}"
        # Half precision has lost two digits of a summed log-prob before a loss sees it; scoring sums in float32.
        assert self.policy.dtype in (torch.float32, torch.float64), f"log-probs in {self.policy.dtype}"
        assert self.lengths.shape == shape, f"lengths: {tuple(shape)}, not {tuple(self.lengths.shape)}"
        assert not self.lengths.is_floating_point(), f"lengths count places: integers, not {self.lengths.dtype}"
        if self.reference is not None:
            assert self.reference.shape == shape, f"reference: {tuple(shape)}, not {tuple(self.reference.shape)}"
            assert not self.reference.requires_grad, "the reference is frozen: no gradient"
        if self.side is not None:
            rejected, lent = self.side.rejected, self.side.lent
            columns = rejected.shape[1] + (0 if lent is None else lent.shape[1])
            assert (len(rejected), 1 + columns) == shape, f"{columns} rejected beside log-probs {tuple(shape)}"
            assert rejected.device == self.policy.device, f"side on {rejected.device}, policy on {self.policy.device}"

    def without_lent(self) -> "Scored":
        """The own titles alone, chosen and rejected."""
        if self.side is None or self.side.lent is None:
            return self
        own = slice(1 + self.side.rejected.shape[1])
        reference = None if self.reference is None else self.reference[:, own]
        return Scored(self.policy[:, own], self.lengths[:, own], reference, replace(self.side, lent=None), self.tokens)

    def reference_if(self, needed: bool) -> Tensor | None:
        """The reference's log-probs where they are needed, else None; a missing one is our fault, never silence."""
        assert not needed or self.reference is not None, "this objective needs the reference's log-probs"
        return self.reference if needed else None
