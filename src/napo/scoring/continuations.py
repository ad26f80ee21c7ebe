"""Log-probabilities of what may come next after unfinished titles: one step of a search over the catalog.

Path    histories, tree nodes -> [scoring.continuations] -> search
Takes   for each history the tree nodes to go on from
Gives   Children: the nodes behind the next choice of a token, and the log-probs of getting there, nats
Oracle  scoring.naive, through tests/scoring/test_search.py
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
import torch
from torch import Tensor

from napo.arrays import FloatArray, IntArray
from napo.errors import UserError
from napo.scoring.batch import NONE, Beginnings, Frame, Normalize, batches_by_width, pack_beginnings
from napo.scoring.encoded import Encoded, KeepingPolicy
from napo.scoring.newcomers import edge_log_probs
from napo.scoring.prefix_cache import PrefixCache
from napo.scoring.shared_prefix import Policy, at_least_float32, device_of
from napo.scoring.tree import PrefixTree, slices

PLACES_AT_ONCE = 256  # logits of so many places over 128,000 tokens take 131 MB
BESIDE = 256  # tokens that may stand beside a shorter prompt


@dataclass(frozen=True)
class TitleModel:
    """What gives titles their probability, and in which portions it is asked.

    batch_tokens: most tokens of one forward pass, padding included; a single row may need more.
    shared: whether the model takes a 4-D mask. If not, each unfinished title is a row of its own.
    keeps: whether it goes on from rows that it has run (encoded.KeepingPolicy). If not, or not `shared`, each round of
    a search runs the histories again. remembers: states of histories from earlier searches, while the weights stay.
    """

    policy: Policy
    tree: PrefixTree
    frame: Frame
    normalize: Normalize
    batch_tokens: int = 8192
    shared: bool = True
    keeps: bool = False
    remembers: PrefixCache | None = None


@dataclass(frozen=True)
class Children:
    """Where one gets to from the nodes asked about, node by node.

    parent: (E,) index into the nodes asked about. node: (E,) reached by one token, or by several where all but the last
    are forced. log_prob: (E,) of these tokens together, float64.
    """

    parent: IntArray
    node: IntArray
    log_prob: FloatArray


# Gives the children of each case's nodes (c,), for the cases of one group.
Ask = Callable[[Sequence[IntArray]], list[Children]]


def groups(model: TitleModel, histories: Sequence[IntArray]) -> Iterator[tuple[IntArray, Ask]]:
    """Cases in groups, each with what answers about its nodes: where histories are kept, as many as one pass takes."""
    if not (model.keeps and model.shared):
        yield np.arange(len(histories)), partial(continuations, model, histories)
        return
    policy = cast(KeepingPolicy, model.policy)
    for cases in batches_by_width(_prompt_lengths(model, histories), model.batch_tokens):
        own = [histories[case] for case in cases]
        encoded = Encoded(policy, model.tree, model.frame, own, model.remembers)
        yield cases, partial(continuations, model, own, encoded=encoded)


@torch.no_grad()
def continuations(
    model: TitleModel, histories: Sequence[IntArray], nodes: Sequence[IntArray], *, encoded: Encoded | None = None
) -> list[Children]:
    """Children of each history's nodes (c,), no leaves among them; c may be 0 and may differ.

    encoded: of these histories; None: they are run as well.

    Under `catalog` a node's children are those of `tree.onward`, since forced tokens are certain; where that is a leaf
    there is nothing to ask. Under `vocabulary` forced tokens have a probability too, and are read at once.
    """
    tree, prompts = model.tree, _prompt_lengths(model, histories)
    by_case = [_rows(model, asked, int(prompt)) for asked, prompt in zip(nodes, prompts, strict=True)]
    rows = [row for some in by_case for row in some]
    owner = np.repeat(np.arange(len(nodes)), [len(some) for some in by_case])
    widths = prompts[owner] + np.array([tree.paths[1][row.last].sum() for row in rows], dtype=np.int64)

    begins = np.cumsum([0, *(len(row.last) for row in rows)])
    parts = []
    for batch in map(np.sort, batches_by_width(widths, model.batch_tokens)):
        some = [rows[index] for index in batch]
        if encoded is None:
            at_places, asked = _run(model, [histories[owner[index]] for index in batch], some)
        else:
            at_places, asked = encoded.at_places(owner[batch], some)
        found = _children(model, at_places, asked, some)
        numbers = slices(begins[batch], begins[batch + 1] - begins[batch])  # of the batch's nodes, among all of them
        parts.append(Children(numbers[found.parent], found.node, found.log_prob))
    return _by_case(parts, nodes)


def _rows(model: TitleModel, nodes: IntArray, prompt: int) -> list[Beginnings]:
    """The nodes of one case, dealt out to rows."""
    lengths = model.tree.paths[1]
    last = nodes if model.normalize == "catalog" else model.tree.last_place[nodes]
    row: IntArray = np.arange(len(nodes))
    if model.shared:
        # attention is dense in a row's length: about as many tokens beside a prompt as it has itself
        row = np.cumsum(lengths[last]) // max(prompt, BESIDE)
    cuts = np.flatnonzero(np.diff(row)) + 1
    parts = zip(np.split(last, cuts), np.split(lengths[nodes], cuts), strict=True)
    return [Beginnings(some, since) for some, since in parts if len(some)]


def _by_case(parts: list[Children], nodes: Sequence[IntArray]) -> list[Children]:
    """The children of each case's nodes, with parents counted within the case. parts: counted through all cases."""
    parent = np.concatenate([NONE, *(part.parent for part in parts)])
    node = np.concatenate([NONE, *(part.node for part in parts)])
    log_prob = np.concatenate([np.empty(0), *(part.log_prob for part in parts)])
    if len(parts) > 1:  # batches are of like width
        order = np.argsort(parent, kind="stable")
        parent, node, log_prob = parent[order], node[order], log_prob[order]
    begins = np.cumsum([0, *map(len, nodes)])
    cuts = np.searchsorted(parent, begins)
    return [
        Children(parent[low:high] - first, node[low:high], log_prob[low:high])
        for first, low, high in zip(begins[:-1], cuts[:-1], cuts[1:], strict=True)
    ]


def _run(model: TitleModel, histories: Sequence[IntArray], rows: Sequence[Beginnings]) -> tuple[Tensor, IntArray]:
    """(P, d) states at the rows' places and (P,) their nodes: one forward pass."""
    batch = pack_beginnings(histories, rows, model.tree, model.frame)
    nodes = batch.nodes.numpy()
    batch = batch.to(device_of(model.policy))
    hidden = model.policy.hidden(batch.input_ids, batch.positions, None if batch.plain else batch.mask())
    return hidden.flatten(0, 1)[batch.places], nodes


def _children(model: TitleModel, at_places: Tensor, nodes: IntArray, rows: Sequence[Beginnings]) -> Children:
    """The children of the rows' nodes, one row after the other. at_places: (P, d), nodes: (P,), of the places."""
    tree = model.tree
    portions = [slice(start, start + PLACES_AT_ONCE) for start in range(0, len(nodes), PLACES_AT_ONCE)]
    by_edge = torch.cat([_edge_log_probs(model, at_places[some], nodes[some]) for some in portions])
    log_prob = by_edge.double().cpu().numpy()
    if np.isnan(log_prob).any():
        raise UserError(
            "the model's log-probabilities are not numbers (NaN)",
            remedy="an earlier checkpoint, or training again at a lower rate",
        )

    last, since = (np.concatenate([getattr(row, name) for row in rows]) for name in ("last", "since"))
    places = tree.paths[1][last] - since + 1  # of each node asked about
    counts = _child_counts(tree, nodes)
    parent = np.repeat(np.repeat(np.arange(len(last)), places), counts)
    ends = np.zeros(len(nodes), dtype=np.bool_)
    ends[np.cumsum(places) - 1] = True
    end = np.repeat(ends, counts)  # (E,) whether the edge goes out from the last place, not from a forced one before it
    before = np.bincount(parent[~end], log_prob[~end], minlength=len(last))
    return Children(
        parent[end],
        tree.child_node[slices(tree.child_start[nodes], counts)][end],
        log_prob[end] + before[parent[end]],
    )


def _edge_log_probs(model: TitleModel, at_places: Tensor, nodes: IntArray) -> Tensor:
    """at_places (P, d) -> (E,) log-probs of the tokens on the nodes' child edges."""
    tree, device = model.tree, at_places.device
    counts = _child_counts(tree, nodes)
    edges = slices(tree.child_start[nodes], counts)
    place = torch.from_numpy(np.repeat(np.arange(len(nodes)), counts)).to(device)
    if model.normalize == "vocabulary":
        logits = at_least_float32(model.policy.head(at_places, None))  # (P, V)
        tokens = torch.from_numpy(tree.child_token[edges]).to(device)
        return logits[place, tokens] - logits.logsumexp(dim=1)[place]
    # below the root few tokens can follow at all: the head runs on these alone
    among = tree.child_column[edges]
    used = np.zeros(len(tree.vocabulary), dtype=np.bool_)
    used[among] = True
    column = (np.cumsum(used) - 1)[among]
    logits = at_least_float32(
        model.policy.head(at_places, torch.from_numpy(tree.vocabulary[used]).to(device))
    )  # (P, U)
    values = logits[place, torch.from_numpy(column).to(device)]
    return edge_log_probs(values, place, len(nodes), torch.from_numpy(tree.ceiling[edges]).to(device))


def _prompt_lengths(model: TitleModel, histories: Sequence[IntArray]) -> IntArray:
    """(n,) tokens before the title."""
    lengths = model.frame.history_tokens(model.tree).lengths
    return model.frame.words + np.array([lengths[history].sum() for history in histories], dtype=np.int64)


def _child_counts(tree: PrefixTree, nodes: IntArray) -> IntArray:
    return tree.child_start[nodes + 1] - tree.child_start[nodes]
