"""What a title that came after training gets: at most what an average old title does that begins as it does.

Path    logits of a node's children -> [scoring.newcomers] -> continuations, shared_prefix
Takes   logits by edge (E,), whose edges they are, PrefixTree.ceiling of each
Gives   log-probs by edge (E,), nats
Oracle  scoring.naive, by plain loops

The rule is ours. An edge of the prefix tree that no title used in training has a logit that nothing has taught: it is
about as likely as an average *edge*, which may lead to hundreds of titles. Of the item nothing is known, so it is at
most as likely as an average *item* of those that begin alike:

    log p(old edge) = z - logsumexp(z of the node's old edges)                             as before the others came
    log p(new edge) = min(z - logsumexp(the same), log(new items below the edge / old items below the node), 0)

So old titles keep their log-probs, whatever is added; theirs sum to 1, and what new titles get comes on top.
"""

import torch
from torch import Tensor

from napo.scoring.shared_prefix import grouped_logsumexp


def edge_log_probs(values: Tensor, place: Tensor, places: int, ceiling: Tensor) -> Tensor:
    """values (E,) logits of all the edges of some places, place (E,) whose each is, ceiling (E,) -> (E,) log-probs."""
    old = values.masked_fill(ceiling.isfinite(), -torch.inf)
    return torch.minimum(values - grouped_logsumexp(old, place, places)[place], ceiling.to(values))
