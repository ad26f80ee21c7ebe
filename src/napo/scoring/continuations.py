"""Log-probabilities of what may come next after unfinished titles: one step of a search over the catalog.

Path    histories, tree nodes -> [scoring.continuations] -> search
Takes   for each history the tree nodes to go on from
Gives   Children: all the nodes one token further, and the log-prob of that token, nats
Oracle  scoring.naive, through tests/scoring/test_search.py
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napo.arrays import FloatArray, IntArray
from napo.errors import UserError
from napo.scoring.batch import NONE, Frame, Normalize, batches_by_width, pack_nodes
from napo.scoring.shared_prefix import Policy, at_least_float32, device_of, grouped_logsumexp
from napo.scoring.tree import PrefixTree, slices

PLACES_AT_ONCE = 256  # logits of so many places over 128,000 tokens take 131 MB


@dataclass(frozen=True)
class TitleModel:
    """What gives titles their probability, and in which portions it is asked.

    batch_tokens: most tokens of one forward pass, padding included; a single row may need more.
    shared: whether the model takes a 4-D mask. If not, each unfinished title is a row of its own.
    """

    policy: Policy
    tree: PrefixTree
    frame: Frame
    normalize: Normalize
    batch_tokens: int = 8192
    shared: bool = True


@dataclass(frozen=True)
class Children:
    """The children of the nodes asked about, node by node. parent: (E,) index into these nodes; log_prob: float64."""

    parent: IntArray
    node: IntArray
    log_prob: FloatArray


def continuations(model: TitleModel, histories: Sequence[IntArray], nodes: Sequence[IntArray]) -> list[Children]:
    """What may follow after each history's nodes (c,), no leaves among them; c may be 0 and may differ."""
    tree, frame = model.tree, model.frame
    owner = np.repeat(np.arange(len(nodes)), [min(len(asked), 1) if model.shared else len(asked) for asked in nodes])
    rows = [asked for asked in nodes if len(asked)]
    if not model.shared:
        rows = [asked[index : index + 1] for asked in rows for index in range(len(asked))]
    prompts = np.array([tree.lengths[history].sum() for history in histories], dtype=np.int64)
    widths = frame.words + prompts[owner] + np.array([tree.paths[1][row].sum() for row in rows], dtype=np.int64)

    log_probs = [np.empty(0)] * len(rows)
    for batch in batches_by_width(widths, model.batch_tokens):
        asked = [rows[index] for index in batch]
        found = _log_probs(model, [histories[owner[index]] for index in batch], asked)
        ends = np.cumsum([int(_child_counts(tree, row).sum()) for row in asked])
        for index, part in zip(batch, np.split(found, ends[:-1]), strict=True):
            log_probs[index] = part
    return [
        _children(tree, asked, [log_probs[row] for row in np.flatnonzero(owner == case)])
        for case, asked in enumerate(nodes)
    ]


def _children(tree: PrefixTree, asked: IntArray, log_probs: list[FloatArray]) -> Children:
    if not len(asked):
        return Children(NONE, NONE, np.empty(0))
    counts = _child_counts(tree, asked)
    edges = slices(tree.child_start[asked], counts)
    return Children(np.repeat(np.arange(len(asked)), counts), tree.child_node[edges], np.concatenate(log_probs))


def _child_counts(tree: PrefixTree, nodes: IntArray) -> IntArray:
    return tree.child_start[nodes + 1] - tree.child_start[nodes]


@torch.no_grad()
def _log_probs(model: TitleModel, histories: Sequence[IntArray], nodes: Sequence[IntArray]) -> FloatArray:
    """(E,) log-prob of each child edge of the nodes, row by row, node by node: one forward pass."""
    tree = model.tree
    batch = pack_nodes(histories, nodes, tree, model.frame).to(device_of(model.policy))
    hidden = model.policy.hidden(batch.input_ids, batch.positions, None if batch.plain else batch.mask())
    at_places = hidden.flatten(0, 1)[batch.places]  # (P, d)
    flat = np.concatenate(nodes)
    parts = []
    for start in range(0, len(flat), PLACES_AT_ONCE):
        some = slice(start, start + PLACES_AT_ONCE)
        parts.append(_edge_log_probs(model, at_places[some], flat[some]).double().cpu().numpy())
    found = np.concatenate(parts)
    if np.isnan(found).any():
        raise UserError(
            "the model's log-probabilities are not numbers (NaN)",
            remedy="an earlier checkpoint, or training again at a lower rate",
        )
    return found


def _edge_log_probs(model: TitleModel, at_places: Tensor, nodes: IntArray) -> Tensor:
    """at_places (P, d) -> (E,) log-probs of the tokens on the nodes' child edges."""
    tree, device = model.tree, at_places.device
    counts = _child_counts(tree, nodes)
    tokens = tree.child_token[slices(tree.child_start[nodes], counts)]
    place = torch.from_numpy(np.repeat(np.arange(len(nodes)), counts)).to(device)
    if model.normalize == "vocabulary":
        logits = at_least_float32(model.policy.head(at_places, None))  # (P, V)
        return logits[place, torch.from_numpy(tokens).to(device)] - logits.logsumexp(dim=1)[place]
    # below the root few tokens can follow at all: the head runs on these alone
    used, column = np.unique(tokens, return_inverse=True)
    logits = at_least_float32(model.policy.head(at_places, torch.from_numpy(used).to(device)))  # (P, U)
    values = logits[place, torch.from_numpy(column).to(device)]
    return values - grouped_logsumexp(values, place, len(nodes))[place]
