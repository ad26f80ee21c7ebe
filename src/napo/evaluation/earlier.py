"""A model that knows fewer items than the catalog has by now, judged by the same cases as its successor.

Path    an earlier run's model, today's cases -> [evaluation.earlier] -> training.before
Takes   TitleRanker over its own catalog, whose items are the first `known` of today's
Gives   a Scorer; CandidateResult and FullResult in which targets that it can't name are missed

It reads of a history what it knows, and ranks what it can name: a new item stands below all of these.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from napo.arrays import FloatArray, IntArray
from napo.data.prepare import Prepared
from napo.evaluation.judge import judge
from napo.evaluation.results import CandidateResult, FullResult, PromptKind, Result
from napo.scoring.ranker import TitleRanker


class Earlier:
    """A ranker of the first `known` items among more."""

    def __init__(self, ranker: TitleRanker, known: int, name: str) -> None:
        self.ranker, self.known, self.name = ranker, known, name

    def candidate_scores(self, histories: Sequence[IntArray], candidates: IntArray) -> FloatArray:
        """(n, C): new items get the lowest score of all, less one."""
        can = candidates < self.known
        named = [row[mine] if mine.any() else np.zeros(1, np.int64) for row, mine in zip(candidates, can, strict=True)]
        given = self.ranker.title_scores(self._of(histories), named)
        scores = np.empty(candidates.shape)
        for row, mine, values in zip(scores, can, given, strict=True):
            row[mine] = values[: int(mine.sum())]
            row[~mine] = float(np.min(values)) - 1
        return scores

    def top(self, histories: Sequence[IntArray], excluded: Sequence[IntArray], k: int) -> IntArray:
        return self.ranker.top(self._of(histories), self._of(excluded), k)

    def target_ranks(self, histories: Sequence[IntArray], excluded: Sequence[IntArray], targets: IntArray) -> IntArray:
        """(n,) ranks over what it knows; 0 for a new target."""
        can = np.flatnonzero(targets < self.known).tolist()
        ranks = np.zeros(len(targets), dtype=np.int64)
        if can:
            read, gone = self._of([histories[case] for case in can]), self._of([excluded[case] for case in can])
            ranks[can] = self.ranker.target_ranks(read, gone, targets[can])
        return ranks

    def _of(self, lists: Sequence[IntArray]) -> list[IntArray]:
        return [items[items < self.known] for items in lists]


def judge_earlier(
    scorer: Earlier,
    prepared: Prepared,
    protocol: str,
    *,
    prompt: PromptKind,
    ks: tuple[int, ...],
    full_cases: int | None,
) -> Result:
    """The earlier model on today's test cases; a target that it can't name is missed, wherever it would stand."""
    result = judge(scorer, prepared, protocol, prompt=prompt, ks=ks, full_cases=full_cases)
    assert isinstance(result, CandidateResult | FullResult)
    new = result.targets >= scorer.known
    remarks = (f"{scorer.name}: {int(new.sum()):,} targets are new to it, counted as misses",)
    if isinstance(result, FullResult):
        return replace(result, remarks=remarks)
    ranks, best = (np.where(new, 0, given) for given in (result.ranks, result.best_ranks))
    return replace(result, ranks=ranks, best_ranks=best, remarks=remarks)
