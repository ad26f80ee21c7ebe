"""Whose rejected titles an example may take over, and which of them it must not.

Path    Scored of all ranks -> [peers, known items] -> objectives.napo
Takes   ids and vectors of the N examples of a batch, as in Side
Gives   boolean masks: (N, N) who is whose peer, (N, N * K) which rejected item an example knows already

Only masks of the batch's size, no loop over examples: a batch of trajectories holds hundreds of positions.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

Order = Literal["similar", "random", "least"]


def eligible_peers(user: Tensor, chosen: Tensor, rejected: Tensor, *, pool: Literal["batch", "row"]) -> Tensor:
    """(N, N) bool: the other examples of the pool; never an example itself, nor a copy of it.

    Copies (same user, chosen and rejected) come from samplers that fill up the last batch. pool "row": same user only.
    """
    examples = torch.cat([user[:, None], chosen[:, None], rejected], dim=1)
    number: Tensor = torch.unique(examples, dim=0, return_inverse=True)[1]  # equal for copies
    others = number[:, None] != number
    return others & (user[:, None] == user) if pool == "row" else others


def peer_counts(eligible: Tensor, *, accept_ratio: float, max_peers: int | None) -> Tensor:
    """(N,) int64: floor(accept_ratio * eligible peers), at most max_peers."""
    # 0.7 * 10 is 6.9999 in some arithmetic; the small addend keeps the floor what a pencil says.
    by_eligible = np.floor(accept_ratio * np.arange(eligible.shape[0] + 1) + 1e-9).astype(np.int64)
    counts = torch.from_numpy(by_eligible).to(eligible.device)[eligible.sum(dim=1)]
    return counts if max_peers is None else counts.clamp(max=max_peers)


def choose_peers(eligible: Tensor, counts: Tensor, closeness: Tensor) -> Tensor:
    """(N, N) bool: of each row's eligible examples the counts[i] closest; ties go to the earlier example."""
    lowest = -torch.inf if closeness.is_floating_point() else torch.iinfo(closeness.dtype).min
    closeness = closeness.masked_fill(~eligible, lowest)
    last = (closeness.shape[1] - counts).clamp(max=closeness.shape[1] - 1)  # the place of a row's last peer
    bar = _ascending(closeness).gather(1, last[:, None])
    above, level = closeness > bar, closeness == bar
    room = counts[:, None] - above.sum(dim=1, keepdim=True)
    return (above | (level & (level.cumsum(dim=1) <= room))) & eligible


def _ascending(values: Tensor) -> Tensor:
    """Each row sorted. On a CPU by numpy, which is ten times as fast."""
    if values.device.type == "cpu" and values.dtype != torch.bfloat16:
        return torch.from_numpy(np.sort(values.numpy(), axis=1))
    return values.sort(dim=1).values


def closeness_by(order: Order, user: Tensor, chosen: Tensor, vectors: Tensor | None, step: Tensor) -> Tensor:
    """(N, N): what `choose_peers` sorts by. Dot products of the history vectors, the same negated, or chance."""
    if order == "random":
        return random_keys(user, chosen, step)
    assert vectors is not None, f"peers: {order} needs the auxiliary recommender's history vectors"
    # Under autocast the product would be rounded to half precision and near peers tied.
    with torch.autocast(vectors.device.type, enabled=False):
        products = vectors.detach() @ vectors.detach().T
    return products if order == "similar" else -products


def random_keys(user: Tensor, chosen: Tensor, step: Tensor) -> Tensor:
    """(N, N) int64, as good as random, from (i's user and item, j's user and item, step) alone.

    So ranks, a resumed run and another order of the batch draw the same peers; the global generator is not asked.
    """
    own = mixed(mixed(user) ^ chosen)
    return mixed(own[:, None] ^ mixed(own + step))


def known_items(chosen: Tensor, seen: Tensor, rejected: Tensor) -> Tensor:
    """(N, N * K) bool: is column j * K + k, item rejected[j, k], the chosen item of i or among its seen items?

    Through a table of the batch's distinct rejected items, never (N, N * K, S).
    """
    items, column = torch.unique(rejected.flatten(), return_inverse=True)  # sorted
    known = torch.cat([chosen[:, None], seen], dim=1)  # (N, 1 + S)
    place = torch.searchsorted(items, known).clamp(max=items.numel() - 1)
    # What nobody rejected goes to one more column, which no one reads; so does the padding, -1.
    place = place.where(items[place] == known, items.numel())
    table = known.new_zeros((known.shape[0], items.numel() + 1), dtype=torch.bool).scatter_(1, place, True)
    return table[:, column]


def one_copy(shared: Tensor, rejected: Tensor, closeness: Tensor) -> Tensor:
    """(N, N * K) bool: of the titles that a row of `shared` names, each item once, and none of i's own rejected items.

    The copy that stays is the closest example's; ties go to the earlier one. closeness: (N, N). rejected: (N, K).
    """
    examples, count = rejected.shape
    distinct, column = torch.unique(rejected.flatten(), return_inverse=True)  # (G,), (N * K,)
    item = column.expand(examples, -1)  # (N, N * K), indices into distinct
    near = closeness.repeat_interleave(count, dim=1)
    lowest = -torch.inf if near.is_floating_point() else torch.iinfo(near.dtype).min
    top = near.new_full((examples, len(distinct)), lowest)
    top = top.scatter_reduce(1, item, near.masked_fill(~shared, lowest), "amax")
    nearest = shared & (near == top.gather(1, item))
    place = torch.arange(examples * count, device=shared.device).expand(examples, -1)
    first = place.new_full((examples, len(distinct)), examples * count)
    first = first.scatter_reduce(1, item, place.masked_fill(~nearest, examples * count), "amin")
    own = torch.zeros_like(first, dtype=torch.bool).scatter_(1, column.reshape(examples, count), True)
    return nearest & (place == first.gather(1, item)) & ~own.gather(1, item)


def under_own_prompt(items: Tensor, values: Tensor, rejected: Tensor) -> Tensor:
    """(N, N * K): in column j * K + k the value that i has for item rejected[j, k]; 0 where it has none.

    items: (N, E) whose values i has, padded with -1. values: (N, E), with their graph.
    """
    distinct, column = torch.unique(rejected.flatten(), return_inverse=True)  # sorted
    place = torch.searchsorted(distinct, items.contiguous()).clamp(max=distinct.numel() - 1)
    place = place.where(distinct[place] == items, distinct.numel())  # padding goes to a column that no one reads
    table = values.new_zeros((items.shape[0], distinct.numel() + 1)).scatter(1, place, values)
    return table[:, column]


def mixed(keys: Tensor) -> Tensor:
    """The finaliser of SplitMix64, a bijection of int64 that leaves no pattern; products wrap around."""
    keys = keys + -7046029254386353131
    keys = (keys ^ _shifted(keys, 30)) * -4658895280553007687
    keys = (keys ^ _shifted(keys, 27)) * -7723592293110705685
    return keys ^ _shifted(keys, 31)


def _shifted(keys: Tensor, bits: int) -> Tensor:
    """Shifted right with zeros; int64's own shift would copy the sign."""
    return (keys >> bits) & ((1 << (64 - bits)) - 1)
