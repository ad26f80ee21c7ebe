"""The examples of all ranks on every rank, this rank's own with their gradient.

Path    scoring -> [Scored of one rank -> Scored of all] -> an objective that shares
Takes   Scored; ranks may hold different numbers of examples
Gives   Scored of all examples, in rank order. A no-op without torch.distributed, or with one rank

Every rank then computes the loss of all N examples, times the number of ranks. The gradients that DDP averages are
those of one process with the whole batch: rank r adds all that the loss of anyone asks of r's own log-probs. (Own
rows live but only own losses summed would miss what other ranks' examples ask of our rejected titles.)
"""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from napo.scoring.scored import Scored, Side


def gather_rows(rows: Tensor, *, fill: float = 0) -> Tensor:
    """The rows of all ranks, in rank order; this rank's keep their graph, the others have none.

    rows: (n, ...), n may differ among ranks. Where other dimensions differ too, `fill` pads them to the largest.
    A collective: every rank must call it, and equally often.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return rows
    shape = torch.tensor(rows.shape, device=rows.device)
    shapes = [torch.empty_like(shape) for _ in range(dist.get_world_size())]
    dist.all_gather(shapes, shape)
    sizes: list[list[int]] = torch.stack(shapes).tolist()  # (ranks, dimensions)
    largest = [max(dimension) for dimension in zip(*sizes, strict=True)]

    # F.pad counts from the last dimension: (0, missing of the last, 0, missing of the one before, ...)
    missing = [pad for here, most in zip(rows.shape, largest, strict=True) for pad in (most - here, 0)]
    padded = F.pad(rows, missing[::-1], value=fill)
    # all_gather returns copies without gradient; putting our own rows back keeps this rank's part of the loss alive.
    parts = [torch.empty_like(padded, memory_format=torch.contiguous_format) for _ in sizes]
    dist.all_gather(parts, padded.detach().contiguous())
    parts[dist.get_rank()] = padded
    return torch.cat([part[: size[0]] for part, size in zip(parts, sizes, strict=True)])


def gather_scored(scored: Scored) -> Scored:
    """The examples of all ranks; on every rank the same optional parts must be there."""
    side = scored.side
    return Scored(
        policy=gather_rows(scored.policy),
        lengths=gather_rows(scored.lengths),
        reference=_gather_if(scored.reference),
        side=None
        if side is None
        else Side(
            chosen=gather_rows(side.chosen),
            rejected=gather_rows(side.rejected),
            user=gather_rows(side.user),
            seen=gather_rows(side.seen, fill=-1),
            history_vectors=_gather_if(side.history_vectors),
            auxiliary=_gather_if(side.auxiliary),
            history_means=_gather_if(side.history_means),
            item_vectors=side.item_vectors,  # the catalog's, not the examples'
            lent=_gather_if(side.lent, fill=-1),
            shared=_gather_if(side.shared),
        ),
    )


def _gather_if(rows: Tensor | None, *, fill: float = 0) -> Tensor | None:
    return None if rows is None else gather_rows(rows, fill=fill)
