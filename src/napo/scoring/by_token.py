"""Token by token: what competes at each place of the chosen titles, in the last layer and in layers before it.

Path    token batch -> [scoring.by_token] -> objectives that ask for tokens
Takes   TokenBatch, a policy whose layers can be looked into, which titles are chosen, which layers
Gives   log-probs of all titles, as scoring.shared_prefix has them, and Tokens; from one and the same pass
Oracle  tests/scoring/test_by_token.py: the layers' states that transformers itself gives; titles' sums
"""

from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import Tensor

from napo.scoring.batch import Normalize, TokenBatch
from napo.scoring.scored import LOWEST, Leads, Tokens
from napo.scoring.shared_prefix import (
    Policy,
    TreeOnDevice,
    at_least_float32,
    edges_of,
    out_of_logits,
    place_logits,
    summed,
)
from napo.scoring.tree import PrefixTree


class Lens(Protocol):
    """A look into a policy's layers; layer 1 is the first, layer `depth` the one that the head reads from."""

    @property
    def depth(self) -> int: ...

    def caught(self, layers: tuple[int, ...], places: Tensor) -> AbstractContextManager[list[Tensor]]:
        """The states (P, d) of these layers at flat places, put into the list as a pass within comes by."""

    def logits(self, states: Tensor, tokens: Tensor | None) -> Tensor:
        """(P, d) -> logits (P, V), or of `tokens` alone; without gradient to norm and head."""


class SeenThrough(Policy, Protocol):
    @property
    def lens(self) -> Lens: ...


class ItemsBelow:
    """Which items each node's titles are, as slices of one order of all items."""

    def __init__(self, tree: PrefixTree, device: torch.device | str = "cpu") -> None:
        order, begins = tree.in_order
        self.order = torch.tensor(order, device=device)
        self.first = torch.tensor(begins[tree.child_node], device=device)  # by edge
        self.last = self.first + torch.tensor(tree.below[tree.child_node], device=device)


def titles_and_tokens(
    policy: SeenThrough,
    batch: TokenBatch,
    tree: TreeOnDevice,
    below: ItemsBelow,
    normalize: Normalize,
    chosen: Tensor,
    layers: tuple[int, ...],
) -> tuple[Tensor, Tokens]:
    """(titles,) log-probs, and what competes with the tokens of the chosen titles, in the last layer and in `layers`.

    chosen: (B,) the number of each example's chosen title. Forced places, under `catalog`, are left out there too.
    Memory: T rows of V logits a layer, or of U under `catalog`; T places of chosen titles.
    """
    numbers = torch.arange(len(chosen), device=chosen.device)
    example = chosen.new_full((batch.titles,), -1).index_copy(0, chosen, numbers)[batch.title]  # (M,)
    own = example >= 0
    rows, target = batch.place[own], batch.target[own]  # (T,)
    nodes = batch.nodes[rows]
    with policy.lens.caught(layers, batch.places[rows]) as states:
        logits = place_logits(policy, batch, tree, normalize)
    by_title = summed(out_of_logits(logits, batch, tree, normalize), batch)

    used = tree.vocabulary if normalize == "catalog" else None
    before = policy.lens.logits(torch.cat(states), used) if layers else logits[:0]
    before = at_least_float32(before).reshape(len(layers), len(rows), logits.shape[1])
    last = at_least_float32(logits)[rows]  # (T, U or V)
    edge, place = edges_of(nodes, tree)  # (E,)
    column = tree.edge_column[edge]
    if normalize == "vocabulary":
        allowed, right, leads_to = torch.ones_like(last, dtype=torch.bool), target, tree.vocabulary[column]
    else:
        # from columns of all used tokens to those of a node's children alone
        leads_to = edge - tree.child_start[nodes][place]
        children = tree.child_start[nodes + 1] - tree.child_start[nodes]  # (T,)
        allowed = torch.arange(int(children.max()) if len(rows) else 1, device=rows.device) < children[:, None]
        columns = torch.zeros_like(allowed, dtype=torch.int64)
        columns[place, leads_to] = column
        last = last.gather(1, columns).masked_fill(~allowed, LOWEST)
        before = before.gather(2, columns.expand(len(layers), -1, -1)).masked_fill(~allowed, LOWEST)
        smaller = column < torch.searchsorted(tree.vocabulary, target)[place]  # a node's children ascend by token
        right = torch.zeros_like(rows).index_add(0, place, smaller.long())
    leads = Leads(place, leads_to, below.first[edge], below.last[edge], below.order)
    return by_title, Tokens(last, before, allowed, right, example[own], leads)
