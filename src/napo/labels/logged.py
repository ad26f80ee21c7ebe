"""The logged title is chosen, whatever else was proposed is rejected.

Path    training.pairs -> [labels.logged] -> training.batches
Takes   Proposals, as many as items are to be rejected
Gives   Labelled; an example is left out where its own title came up, or too little did
Relations   SPIN and SPRec label so. A title against itself has the loss log 2 and no gradient: leaving it out is the
            same but for the mean
"""

import numpy as np

from napo.labels._protocol import Labelled, Proposals
from napo.negatives._protocol import SamplerContext
from napo.settings import Strict


class Settings(Strict):
    pass


class Labeller:
    needs_auxiliary = False

    def __init__(self, context: SamplerContext, settings: Settings) -> None:
        pass

    def proposals(self, count: int) -> int:
        return count

    def label(self, proposals: Proposals, count: int) -> Labelled:
        chosen = np.array([example.chosen for example in proposals.examples], dtype=np.int64)
        rejected = proposals.items[:, :count]
        trains = (rejected >= 0).all(axis=1) & (rejected != chosen[:, None]).all(axis=1)
        return Labelled(chosen, rejected, trains)
