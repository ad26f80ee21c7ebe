"""How an auxiliary recommender orders pairs that it has not trained on: what its trust in itself is fitted to.

Path    validation cases, negatives, models.sasrec -> [training.oracle] -> objectives
Takes   Cases, a sampler of rejected items, a frozen SASRec
Gives   margins: scores of targets minus those of items drawn as training draws them
"""

import numpy as np
import torch
from torch import Tensor

from napo.data.split import Cases
from napo.models.sasrec import SASRec
from napo.models.sasrec_scorer import SASRecScorer
from napo.negatives._protocol import Example, NegativeSampler
from napo.rng import rng_for


def held_out_margins(cases: Cases, sampler: NegativeSampler, model: SASRec, count: int, seed: int) -> Tensor:
    """(cases * count,) float64: each target's score minus that of each of `count` items rejected in its place."""
    split, histories = cases.split, cases.histories()
    items = np.empty((len(cases), 1 + count), dtype=np.int64)
    for case, (user, target) in enumerate(zip(cases.user.tolist(), cases.target.tolist(), strict=True)):
        rng = rng_for(seed, "held out", split.user_keys[user], int(cases.position[case]))
        seen = np.append(split.seen(user), target)
        items[case] = [target, *sampler.draw(Example(user, histories[case], target), seen, count, rng)]
    scores = SASRecScorer(model).candidate_scores(histories, items)
    return torch.from_numpy((scores[:, :1] - scores[:, 1:]).astype(np.float64).flatten())
