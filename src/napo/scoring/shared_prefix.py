"""Log-probabilities of many titles behind shared prefixes.

Path    token batch -> [scoring.shared_prefix] -> objectives, ranking
Takes   TokenBatch: packed rows (B, L), flat places and targets of title tokens
Gives   log-probs summed over each title (titles,), nats, float32 (float64 where the model is)
Oracle  scoring.naive; tests/scoring/test_shared_prefix.py holds the two equal, gradients included
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napo.scoring.batch import Normalize, TokenBatch
from napo.scoring.tree import PrefixTree


class Policy(Protocol):
    """A causal language model, cut at its head."""

    def hidden(self, input_ids: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        """(B, L) ids and positions, (B, 1, L, L) bool mask or None for causal -> (B, L, d)."""

    def head(self, hidden: Tensor, tokens: Tensor | None) -> Tensor:
        """(P, d) -> logits (P, V), or of `tokens` alone (P, len(tokens))."""


class TreeOnDevice:
    """The tree's arrays that scoring needs, as tensors, with each edge's column among the used tokens."""

    def __init__(self, tree: PrefixTree, device: torch.device | str = "cpu") -> None:
        self.vocabulary = torch.tensor(tree.vocabulary, device=device)
        self.child_start = torch.tensor(tree.child_start, device=device)
        self.edge_column = torch.searchsorted(self.vocabulary, torch.tensor(tree.child_token, device=device))
        self.first_choice = int(tree.onward[0])  # the root, or where titles that all begin alike first differ
        # of titles that came after training (scoring.newcomers): None where there are none, as in training itself
        self.ceiling = torch.tensor(tree.ceiling, device=device) if tree.trained < tree.items else None
        owner = torch.repeat_interleave(torch.arange(tree.nodes, device=device), self.child_start.diff())
        self.edge_key = owner * len(self.vocabulary) + self.edge_column  # ascends: a node's edges do, by token
        self.first_bias = self._first_bias()

    def _first_bias(self) -> Tensor | None:
        """(U,) 0 where a title may begin with the token, else -inf; None where few of the used tokens begin one."""
        begin = slice(int(self.child_start[self.first_choice]), int(self.child_start[self.first_choice + 1]))
        columns = self.edge_column[begin]
        if self.ceiling is not None or 2 * len(columns) < len(self.vocabulary):
            return None
        bias = torch.full((len(self.vocabulary),), -torch.inf, device=columns.device)
        return bias.index_fill(0, columns, 0.0)


# Gives the temperature (0-d) for the logits (P, U) of a batch's places; see scoring.temperature.
Temperature = Callable[[Tensor, TokenBatch, "TreeOnDevice"], Tensor]


def title_log_probs(
    policy: Policy,
    batch: TokenBatch,
    tree: TreeOnDevice,
    normalize: Normalize,
    temperature: Temperature | None = None,
) -> Tensor:
    """(titles,) summed log-probability of each title of the batch, in nats.

    `vocabulary`: softmax over all tokens at every place. `catalog`: over the tokens that continue some title (MSL,
    arXiv 2504.04178), so that the probabilities of all distinct titles sum to 1. temperature: of the catalog's softmax;
    the log-probabilities come multiplied by it, so that the gradient of a logit keeps its size.
    """
    return summed(token_log_probs(policy, batch, tree, normalize, temperature), batch)


def token_log_probs(
    policy: Policy,
    batch: TokenBatch,
    tree: TreeOnDevice,
    normalize: Normalize,
    temperature: Temperature | None = None,
) -> Tensor:
    """(M,) log-probability of each scored token of the batch; summed over titles they are `title_log_probs`."""
    return out_of_logits(place_logits(policy, batch, tree, normalize), batch, tree, normalize, temperature)


def place_logits(policy: Policy, batch: TokenBatch, tree: TreeOnDevice, normalize: Normalize) -> Tensor:
    """Logits at the batch's places, from one pass: (P, V), or under `catalog` (P, U), of the tree's tokens alone."""
    hidden = policy.hidden(batch.input_ids, batch.positions, None if batch.plain else batch.mask())
    at_places = hidden.flatten(0, 1)[batch.places]  # (P, d)
    return policy.head(at_places, None if normalize == "vocabulary" else tree.vocabulary)


def out_of_logits(
    logits: Tensor, batch: TokenBatch, tree: TreeOnDevice, normalize: Normalize, temperature: Temperature | None = None
) -> Tensor:
    """(M,) `token_log_probs`, out of what `place_logits` gives."""
    if normalize == "vocabulary":
        return vocabulary_log_probs(logits, batch)
    logits = at_least_float32(logits)
    tau = None if temperature is None else temperature(logits.detach(), batch, tree)
    by_token = catalog_log_probs(logits if tau is None else logits / tau, batch, tree)
    return by_token if tau is None else by_token * tau


def summed(by_token: Tensor, batch: TokenBatch) -> Tensor:
    """(titles,) of scored tokens (M,)."""
    return by_token.new_zeros(batch.titles).index_add(0, batch.title, by_token)


def vocabulary_log_probs(logits: Tensor, batch: TokenBatch) -> Tensor:
    """logits (P, V) -> (M,) log-prob of each scored token among all tokens."""
    log_probs = F.log_softmax(at_least_float32(logits), dim=1)
    return log_probs[batch.place, batch.target]


def catalog_log_probs(logits: Tensor, batch: TokenBatch, tree: TreeOnDevice) -> Tensor:
    """logits of the used tokens (P, U) -> (M,) log-prob of each scored token among its node's children."""
    logits = at_least_float32(logits)
    sums = children_logsumexp(logits, batch.nodes, tree)  # (P,)
    column = torch.searchsorted(tree.vocabulary, batch.target)
    log_probs = logits[batch.place, column] - sums[batch.place]
    if tree.ceiling is None:
        return log_probs
    edge = torch.searchsorted(tree.edge_key, batch.nodes[batch.place] * len(tree.vocabulary) + column)
    return torch.minimum(log_probs, tree.ceiling[edge].to(log_probs))


def children_logsumexp(logits: Tensor, nodes: Tensor, tree: TreeOnDevice) -> Tensor:
    """(P,) log of the summed exponentials of the logits (P, U) of each node's children, those of training.

    Where most titles are told by their first token, most places are at the root, and most tokens are its children: to
    sum over all, the few others masked, is quicker than to gather these.
    """
    rows = torch.arange(len(nodes), device=nodes.device)
    if tree.first_bias is None:
        return _of_few_children(logits, rows, nodes, tree)
    first = nodes == tree.first_choice
    if first.all():
        return (logits + tree.first_bias).logsumexp(1)
    at_first, others = rows[first], rows[~first]
    dense = (logits.index_select(0, at_first) + tree.first_bias).logsumexp(1)
    sums = torch.cat([dense, _of_few_children(logits, others, nodes[others], tree)])
    return sums[torch.cat([at_first, others]).argsort()]


def _of_few_children(logits: Tensor, rows: Tensor, nodes: Tensor, tree: TreeOnDevice) -> Tensor:
    """(R,) `children_logsumexp` at these rows of the logits (P, U), whose nodes are given (R,)."""
    children, place = edges_of(nodes, tree)
    index = rows.index_select(0, place) * logits.shape[1] + tree.edge_column.index_select(0, children)
    values = logits.flatten().index_select(0, index)  # (E,)
    if tree.ceiling is not None:
        values = values.masked_fill(tree.ceiling[children].isfinite(), -torch.inf)
    return grouped_logsumexp(values, place, len(nodes))


def grouped_logsumexp(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """(groups,) log of the summed exponentials of each group's values. values, group: (E,); no group is empty."""
    with torch.no_grad():  # the shift by the maximum cancels out
        top = values.new_full((groups,), -torch.inf).scatter_reduce(0, group, values, "amax")
    sums = values.new_zeros(groups).index_add(0, group, (values - top.index_select(0, group)).exp())
    return sums.log() + top


def edges_of(nodes: Tensor, tree: TreeOnDevice) -> tuple[Tensor, Tensor]:
    """All child edges of the nodes (P,): edge numbers (E,) and whose they are, indices into nodes (E,)."""
    starts = tree.child_start[nodes]
    counts = tree.child_start[nodes + 1] - starts
    place = torch.repeat_interleave(torch.arange(len(nodes), device=nodes.device), counts)
    offsets = counts.cumsum(0) - counts
    return torch.arange(len(place), device=nodes.device) - offsets[place] + starts[place], place


def at_least_float32(logits: Tensor) -> Tensor:
    """bfloat16 and float16 lose two to three digits of a log-softmax; float64 stays what it is."""
    return logits if logits.dtype == torch.float64 else logits.float()


def device_of(policy: Policy) -> torch.device:
    """Where the policy's batches have to lie: at its first parameter; on the CPU where it has none."""
    if isinstance(policy, nn.Module):
        for parameter in policy.parameters():
            return parameter.device
    return torch.device("cpu")


@contextmanager
def judging(policy: Policy) -> Iterator[None]:
    """No gradients and no dropout inside; afterwards every module is in the mode it was in."""
    modules = list(policy.modules()) if isinstance(policy, nn.Module) else []
    before = [module.training for module in modules]
    try:
        for module in modules:
            module.training = False
        with torch.no_grad():
            yield
    finally:
        for module, training in zip(modules, before, strict=True):
            module.training = training
