"""Run a scorer over test cases: ranked among a few candidates, or over the whole catalog.

Path    cases, candidate lists -> [evaluation.protocols] -> table, leaks, plots
Takes   a Scorer (language model, SASRec, popularity, chance, another tool's), Cases, CandidateLists
Gives   CandidateResult, FullResult: one value a case, from which all the figures and tests are made

The two protocols answer different questions (chance is 1/20 in one, 1/items in the other), so a result says under
which conditions it was made, and `table` refuses to mix them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napo.arrays import BoolArray, FloatArray, IntArray
from napo.errors import UserError
from napo.evaluation.bias_report import bias_report
from napo.evaluation.calibration import top_probability
from napo.evaluation.groups import case_groups
from napo.evaluation.ranks import OnNan, candidate_ranks, finite_scores
from napo.evaluation.results import CandidateResult, FullResult, Progress, PromptKind, SeenRule

if TYPE_CHECKING:
    from napo.data.candidates import CandidateLists
    from napo.data.item_groups import ItemGroups
    from napo.data.split import Cases


class CandidateScorer(Protocol):
    """Anything that can be judged among candidates. Histories are item ids, oldest first; several cases come at once.

    One whose scores are log-probs or logits may say so, `scores_are_logits = True`, and is judged by calibration too.
    """

    name: str

    def candidate_scores(self, histories: Sequence[IntArray], candidates: IntArray) -> FloatArray:
        """(n, C) scores of the candidates (n, C), higher is better; the place in the list must not matter."""


class Scorer(CandidateScorer, Protocol):
    """Anything that can be judged among candidates and over the whole catalog."""

    def top(self, histories: Sequence[IntArray], excluded: Sequence[IntArray], k: int) -> IntArray:
        """(n, k) the best items that are not excluded, best first, -1 where there are fewer."""

    def target_ranks(self, histories: Sequence[IntArray], excluded: Sequence[IntArray], targets: IntArray) -> IntArray:
        """(n,) ranks from 1 over all items not excluded, ties against the target; 0 where it was not reached."""


def evaluate_candidates(
    scorer: CandidateScorer,
    cases: Cases,
    lists: CandidateLists,
    max_history: int | None = None,
    batch: int = 256,
    *,
    ks: Sequence[int] | None = None,
    groups: Sequence[ItemGroups] = (),
    prompt: PromptKind | None = None,
    on_nan: OnNan = "error",
    progress: Progress | None = None,
) -> CandidateResult:
    """Rank each case's target among its candidates.

    max_history: at most so many of the user's newest earlier items are shown; None: all. ks: 1, 5, 10 where they fit.
    """
    ks = fitting_ks(ks, lists)
    check_cases(scorer.name, cases)
    lists.check(cases)
    scores = np.empty(lists.items.shape, dtype=np.float64)
    for part in batches(len(cases), batch, progress):
        candidates = lists.items[part]
        given = scorer.candidate_scores(histories_of(cases, part, max_history), candidates)
        _check_shape(scorer, "candidate_scores", given, candidates.shape)
        # here and not at the end: nobody should wait an hour for a model that broke in the first batch
        scores[part], _ = finite_scores(given, items=candidates, first_case=part.start, on_nan=on_nan)
    probability = top_probability(scores) if getattr(scorer, "scores_are_logits", False) else None
    return candidate_result(
        scorer.name, cases, lists, scores, ks=ks, groups=groups, probability=probability, prompt=prompt
    )


def fitting_ks(ks: Sequence[int] | None, lists: CandidateLists) -> Sequence[int]:
    """The k of HR@k and NDCG@k among the candidates: 1, 5, 10 where they fit, or those asked for, which must."""
    width = lists.items.shape[1]
    if ks is None:
        return [k for k in (1, 5, 10) if k <= width]
    if max(ks) > width:
        raise UserError(f"HR@{max(ks)} of {width} candidates", remedy=f"ask for k below {width}")
    return ks


def candidate_result(
    name: str,
    cases: Cases,
    lists: CandidateLists,
    scores: FloatArray,
    *,
    ks: Sequence[int],
    groups: Sequence[ItemGroups] = (),
    missing: BoolArray | None = None,
    probability: FloatArray | None = None,
    prompt: PromptKind | None = None,
    remarks: tuple[str, ...] = (),
) -> CandidateResult:
    """What scores (n, C) of the candidates come to; -inf or NaN ranks last. missing: (n,) cases nobody answered: 0."""
    ranks = candidate_ranks(scores, lists.slot, on_nan="worst")
    answered = np.ones(len(cases), dtype=bool) if missing is None else ~missing
    picks = np.where(answered, _picks(scores, lists.items, lists.slot), -1)
    popularity = cases.split.popularity.astype(np.float64)
    return CandidateResult(
        scorer=name,
        prompt=prompt,
        split=split_name(cases),
        part=cases.part,
        lists=lists.digest,
        negatives=lists.negatives,
        candidates=lists.items.shape[1],
        unit=cases.split.unit,
        users=cases.units,
        targets=cases.target,
        ranks=np.where(answered, ranks.worst, 0),
        best_ranks=np.where(answered, ranks.best, 0),
        picks=picks,
        broken=ranks.broken,
        pick_popularity=np.where(answered, popularity[picks], 0.0),  # a -1 reads the last item, and is masked
        target_popularity=popularity[cases.target],
        candidate_popularity=float(popularity[lists.items].mean()),
        ks=tuple(ks),
        remarks=remarks,
        probability=probability,
        groups=case_groups(cases, groups),
    )


def evaluate_full(
    scorer: Scorer,
    cases: Cases,
    max_history: int | None = None,
    k: int = 10,
    mask_seen: SeenRule = "history",
    batch: int = 256,
    *,
    groups: Sequence[ItemGroups] = (),
    prompt: PromptKind | None = None,
    progress: Progress | None = None,
) -> FullResult:
    """Rank each case's target among all the items, and keep the best k for the figures of popularity.

    mask_seen="history": nothing the user liked earlier is recommended, also what `max_history` hides from the scorer;
    a case whose target is among it is dropped and counted. "none": repeats are allowed, nothing is left out.
    """
    check_cases(scorer.name, cases)
    items = int(cases.split.popularity.size)
    if not 1 <= k <= items:
        raise UserError(f"lists of {k} from a catalog of {items} items", remedy=f"k from 1 to {items}")
    kept = cases_to_rank(cases, mask_seen)
    ranks = np.empty(kept.size, dtype=np.int64)
    top = np.empty((kept.size, k), dtype=np.int64)
    nothing = np.empty(0, dtype=np.int64)
    for part in batches(kept.size, batch, progress):
        mine = kept[part]
        past = [cases.history(case) for case in mine]
        histories = [newest(liked, max_history) for liked in past]
        excluded = [np.unique(liked) if mask_seen == "history" else nothing for liked in past]
        targets = cases.target[mine]
        given_ranks, given_top = scorer.target_ranks(histories, excluded, targets), scorer.top(histories, excluded, k)
        _check_shape(scorer, "target_ranks", given_ranks, (mine.size,))
        _check_shape(scorer, "top", given_top, (mine.size, k))
        _check_lists(scorer, given_top, excluded, mine)
        ranks[part], top[part] = given_ranks, given_top
    return full_result(scorer.name, cases, kept, ranks, top, mask_seen=mask_seen, groups=groups, prompt=prompt)


def cases_to_rank(cases: Cases, mask_seen: SeenRule) -> IntArray:
    """(n,) the places of the cases that can be ranked over the catalog: all but those whose target is left out."""
    if mask_seen == "none":
        return np.arange(len(cases))
    kept = np.array([case for case in range(len(cases)) if cases.target[case] not in cases.history(case)], np.int64)
    if not kept.size:
        raise UserError("every target is among its user's earlier items", remedy='mask_seen="none" where repeats count')
    return kept


def full_result(
    name: str,
    cases: Cases,
    kept: IntArray,
    ranks: IntArray,
    top: IntArray,
    *,
    mask_seen: SeenRule,
    groups: Sequence[ItemGroups] = (),
    prompt: PromptKind | None = None,
    remarks: tuple[str, ...] = (),
) -> FullResult:
    """What the ranks (n,) and best items (n, k) of the `kept` cases (n,) come to; rank 0 and item -1: none."""
    popularity, judged = cases.split.popularity, cases.take(kept)
    return FullResult(
        scorer=name,
        prompt=prompt,
        split=split_name(cases),
        part=cases.part,
        mask_seen=mask_seen,
        k=top.shape[1],
        items=int(popularity.size),
        cases=kept,
        dropped=np.setdiff1d(np.arange(len(cases)), kept),
        cold=int((popularity[judged.target] == 0).sum()),
        unit=cases.split.unit,
        users=judged.units,
        targets=judged.target,
        ranks=ranks,
        top=top,
        bias=bias_report(top, ranks, judged, groups),
        groups=case_groups(judged, groups),
        remarks=remarks,
    )


def _picks(scores: FloatArray, items: IntArray, slot: IntArray) -> IntArray:
    """(n,) the item on top: of equal scores the target comes last, as in its rank, and the lowest id first."""
    is_target = np.arange(items.shape[1]) == slot[:, None]
    order = np.lexsort((items, is_target, -scores), axis=1)
    return np.asarray(np.take_along_axis(items, order[:, :1], axis=1)[:, 0])


def newest(history: IntArray, limit: int | None) -> IntArray:
    """The last `limit` items; None: all of them."""
    return history if limit is None else history[max(0, history.size - limit) :]


def histories_of(cases: Cases, part: slice, limit: int | None = None) -> list[IntArray]:
    """The newest items of each case of a part."""
    return [newest(cases.history(case), limit) for case in range(part.start, part.stop)]


def batches(count: int, size: int, progress: Progress | None) -> Iterator[slice]:
    """Parts of `size` cases; progress is told when each is done."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
        if progress is not None:
            progress(min(start + size, count), count)


def split_name(cases: Cases) -> str:
    return f"{cases.split.name} {cases.split.digest[:12]}"


def check_cases(name: str, cases: Cases) -> None:
    """Raises UserError where there is nothing to judge the scorer of that name on."""
    if not len(cases):
        raise UserError(f"no {cases.part} cases to judge {name} on", remedy="see what the split left out")


def _check_shape(scorer: CandidateScorer, method: str, given: NDArray[Any], shape: tuple[int, ...]) -> None:
    if given.shape != shape:
        raise UserError(f"{scorer.name}.{method} gave an array of {given.shape}, not {shape}")


def _check_lists(scorer: Scorer, top: IntArray, excluded: Sequence[IntArray], cases: IntArray) -> None:
    """A list names an item once, and none that is left out: or every figure of the table would be another task's."""
    for row, out, case in zip(top, excluded, cases, strict=True):
        items = row[row >= 0]
        if np.unique(items).size != items.size:
            raise UserError(f"{scorer.name} lists an item twice", where=f"case {case}: {row.tolist()}")
        if np.isin(items, out).any():
            raise UserError(
                f"{scorer.name} lists an item the user has seen",
                where=f"case {case}: {row.tolist()}",
                remedy='leave out what `excluded` names, or allow repeats: mask_seen="none"',
            )
