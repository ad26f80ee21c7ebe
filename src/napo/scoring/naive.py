"""Log-probabilities of titles, each title a sequence of its own: small and obvious, several times the work.

Path    prompts, examples -> [scoring.naive] -> objectives, ranking
Takes   the rows that `scoring.batch` packs; plain causal attention is all it asks of a model
Gives   log-probs summed over each title (titles,), nats, in the order of a TokenBatch
Oracle  tests/scoring/test_naive.py: by hand. This is itself the oracle of scoring.shared_prefix, and serves the models
        that take no 4-D mask.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from napo.arrays import IntArray
from napo.scoring.batch import Frame, Normalize, Row, batches_by_width
from napo.scoring.shared_prefix import Policy, at_least_float32, device_of
from napo.scoring.tree import PrefixTree


def naive_title_log_probs(
    policy: Policy,
    rows: Sequence[Row],
    tree: PrefixTree,
    frame: Frame,
    normalize: Normalize,
    *,
    batch_tokens: int = 8192,
) -> Tensor:
    """(titles,) summed log-probability of each title: row by row, first those on the main path, then the branches.

    batch_tokens: most tokens of one forward pass, padding included. Without gradients that bounds the memory.
    """
    prompts, items = sequences_of(rows, tree, frame)
    widths = np.array([len(prompt) for prompt in prompts], dtype=np.int64) + tree.lengths[items]
    order, sums = [], []
    for batch in batches_by_width(widths, batch_tokens):
        order.append(batch)
        sums.append(_log_probs(policy, [prompts[index] for index in batch], items[batch], tree, normalize))
    if not sums:
        return torch.zeros(0, device=device_of(policy))
    return torch.cat(sums)[torch.from_numpy(np.argsort(np.concatenate(order)))]


def sequences_of(rows: Sequence[Row], tree: PrefixTree, frame: Frame) -> tuple[list[IntArray], IntArray]:
    """The prompt of each title, as tokens, and the titles' items (titles,)."""
    prompts, items = [], []
    history, listed = frame.history_tokens(tree), frame.listed_tokens(tree)

    def add(row: Row, item: int, sees: int, after: Sequence[IntArray]) -> None:
        prompts.append(np.concatenate([frame.header, history.of(row.items[:sees]), *after]))
        items.append(item)

    for row in rows:
        for index in row.scored:  # what it saw is what stands before it
            add(row, int(row.items[index]), int(index), [])
        after = [frame.middle, listed.of(row.listed), frame.tail]
        for item, sees in zip(row.branches, row.sees, strict=True):
            add(row, int(item), int(sees), after if sees == len(row.items) else [])
    return prompts, np.array(items, dtype=np.int64)


def _log_probs(
    policy: Policy, prompts: Sequence[IntArray], items: IntArray, tree: PrefixTree, normalize: Normalize
) -> Tensor:
    """(n,) one forward pass over n whole sequences, padded at the end, where causal attention never looks."""
    device = device_of(policy)
    ids = [np.concatenate([prompt, tree.title(item)]) for prompt, item in zip(prompts, items, strict=True)]
    padded = np.zeros((len(ids), max(map(len, ids))), dtype=np.int64)
    for row, sequence in zip(padded, ids, strict=True):
        row[: len(sequence)] = sequence
    input_ids = torch.from_numpy(padded).to(device)
    positions = torch.arange(input_ids.shape[1], device=device).expand_as(input_ids)
    hidden = policy.hidden(input_ids, positions, None)  # (n, L, d)

    sums = []
    for states, prompt, item in zip(hidden, prompts, items, strict=True):
        places = slice(int(tree.title_start[item]), int(tree.title_start[item + 1]))
        # the last token of the prompt predicts the first of the title, and so on
        logits = policy.head(states[len(prompt) - 1 : len(prompt) - 1 + int(tree.lengths[item])], None)  # (T, V)
        logits = at_least_float32(logits)
        target = torch.tensor(tree.token[places], device=device)
        if normalize == "vocabulary":
            sums.append(logits.log_softmax(dim=1).gather(1, target[:, None]).sum())
        else:
            sums.append(_among_children(logits, target, tree.node[places], tree).sum())
    return torch.stack(sums)


def _among_children(logits: Tensor, target: Tensor, nodes: IntArray, tree: PrefixTree) -> Tensor:
    """(T,) log-prob of each token among its node's children that training knew; of others, at most their ceiling."""
    log_probs = []
    for at_place, token, node in zip(logits, target, nodes, strict=True):  # at_place: (V,)
        edges = slice(int(tree.child_start[node]), int(tree.child_start[node + 1]))
        tokens, ceiling = (torch.tensor(of[edges], device=at_place.device) for of in (tree.child_token, tree.ceiling))
        log_prob = at_place[token] - at_place[tokens[ceiling.isinf()]].logsumexp(dim=0)
        log_probs.append(torch.minimum(log_prob, ceiling[tokens == token].to(log_prob)).squeeze())
    return torch.stack(log_probs)
