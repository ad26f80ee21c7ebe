"""SASRec behind the protocol by which every recommender is judged.

Path    models.sasrec -> [models.sasrec_scorer] -> evaluation; negatives (scores of all items)
Takes   histories of item ids, oldest first; candidates, excluded items, targets
Gives   numpy arrays on the CPU: scores (n, C), best items (n, k), ranks from 1 (n,)
Oracle  tests/models/test_sasrec.py holds ranks and tops to a plain loop over sorted scores
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from napo.arrays import FloatArray, IntArray
from napo.models.sasrec import SASRec


class SASRecScorer:
    """A frozen SASRec that scores candidates and ranks the catalog."""

    scores_are_logits = True  # so that their softmax is judged by calibration

    def __init__(self, model: SASRec, name: str = "SASRec", batch_size: int = 256) -> None:
        self.model, self.name, self.batch_size = model, name, batch_size

    def candidate_scores(self, histories: Sequence[IntArray], candidates: IntArray) -> FloatArray:
        """(n, C): the score of each candidate after its case's history; higher is better."""
        vectors = self.model.sequence_vectors(histories, batch_size=self.batch_size)  # (n, d)
        chosen = self.model.item_vectors[torch.from_numpy(np.asarray(candidates, dtype=np.int64))]  # (n, C, d)
        scores: FloatArray = torch.einsum("nd,ncd->nc", vectors, chosen).cpu().numpy()
        return scores

    def item_scores(self, history: IntArray) -> FloatArray:
        """(items,): the score of every item after one history; what samplers of hard negatives ask for."""
        scores: FloatArray = self.model.scores([history])[0].cpu().numpy()
        return scores

    def top(self, histories: Sequence[IntArray], excluded: Sequence[IntArray], k: int) -> IntArray:
        """(n, k): the best items that are not excluded, best first; -1 where fewer than k are left."""
        best = np.full((len(histories), k), -1, dtype=np.int64)
        for rows, scores in self._allowed_scores(histories, excluded):
            # stable: equal scores are listed by id, on every machine
            values, items = (part[:, :k] for part in scores.sort(dim=1, descending=True, stable=True))
            best[rows, : items.shape[1]] = items.masked_fill(values == -torch.inf, -1).cpu().numpy()
        return best

    def target_ranks(self, histories: Sequence[IntArray], excluded: Sequence[IntArray], targets: IntArray) -> IntArray:
        """(n,) from 1: the items not excluded that score at least as high, the target among them; 0 if excluded."""
        ranks = np.zeros(len(histories), dtype=np.int64)
        for rows, scores in self._allowed_scores(histories, excluded):
            columns = torch.from_numpy(np.asarray(targets[rows], dtype=np.int64)).to(scores.device)
            own = scores.gather(1, columns[:, None])  # (B, 1)
            ranks[rows] = ((scores >= own) & (own > -torch.inf)).sum(dim=1).cpu().numpy()
        return ranks

    def _allowed_scores(
        self, histories: Sequence[IntArray], excluded: Sequence[IntArray]
    ) -> Iterator[tuple[slice, Tensor]]:
        """Batch by batch: which cases, and their scores (B, items), -inf at excluded items."""
        for start in range(0, len(histories), self.batch_size):
            rows = slice(start, min(start + self.batch_size, len(histories)))
            scores = self.model.scores(histories[rows], batch_size=self.batch_size)
            lengths = [len(items) for items in excluded[rows]]
            where = np.repeat(np.arange(len(lengths)), lengths)
            items = np.concatenate([*excluded[rows], np.zeros(0, dtype=np.int64)]).astype(np.int64)
            scores[torch.from_numpy(where), torch.from_numpy(items)] = -torch.inf
            yield rows, scores
