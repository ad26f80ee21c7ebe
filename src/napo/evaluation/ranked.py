"""Lists that another tool has ranked, judged by the same code as our models.

Path    ranked_files -> [evaluation.ranked] -> results -> table
Takes   RankedRows, Prepared, the protocol
Gives   CandidateResult, FullResult: as of any Scorer, for the same cases

What a file does not hold counts against its tool and is said: a case without rows is a miss, a candidate without a
score stands below all that have one, a target outside its case's list was not found.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from napo.arrays import FloatArray, IntArray
from napo.data.prepare import Prepared
from napo.errors import UserError
from napo.evaluation.judge import LIST_LENGTH, full_cases_of
from napo.evaluation.protocols import candidate_result, cases_to_rank, fitting_ks, full_result
from napo.evaluation.ranked_files import RankedRows, read_ranked
from napo.evaluation.results import CandidateResult, FullResult


def judge_ranked(
    path: Path,
    prepared: Prepared,
    protocol: str,
    *,
    name: str | None = None,
    ks: Sequence[int] | None = None,
    full_cases: int | None = None,
) -> CandidateResult | FullResult:
    """The lists in a file, as `judge` does it with a Scorer. name: of the tool; by default the file's.

    Raises UserError for what does not belong in the file: see `read_ranked`, and items that are no candidates
    (`cand20`) or that the user has seen (`full`, where seen items are left out).
    """
    rows = read_ranked(path, prepared.test)
    name = name or path.stem
    if protocol == "full":
        return _judge_full(rows, prepared, name, full_cases)
    return _judge_candidates(rows, prepared, name, None if ks is None else sorted({1, *ks}))


def _judge_candidates(rows: RankedRows, prepared: Prepared, name: str, ks: Sequence[int] | None) -> CandidateResult:
    lists = prepared.test_lists
    ks = fitting_ks(ks, lists)
    is_theirs = lists.items[rows.case] == rows.item[:, None]  # (rows, C)
    column = is_theirs.argmax(axis=1)
    foreign = np.flatnonzero(~is_theirs.any(axis=1))
    if foreign.size:
        row = int(foreign[0])
        raise UserError(
            f"item {rows.item_key(rows.item[row])!r} is no candidate of {rows.case_name(rows.case[row])}",
            where=f"{rows.place(row)}; {foreign.size:,} of {rows.case.size:,} rows",
            remedy="score the candidates that `napo data export-cases` wrote; for lists of all items: --protocol full",
        )
    # places in the order of scores: whatever their size, there is room for one more below the last
    _, order = np.unique(rows.score, return_inverse=True)
    scores = np.full(lists.items.shape, -1.0)
    scores[rows.case, column] = order
    unscored = (scores < 0).sum(axis=1)  # (n,)
    missing = unscored == lists.items.shape[1]
    partly = (unscored > 0) & ~missing
    remarks = _missing_cases(name, int(missing.sum()))
    if partly.any():
        remarks += (
            f"{name}: {int(unscored[partly].sum()):,} candidates of {int(partly.sum()):,} cases have no score"
            " and stand below the others",
        )
    return candidate_result(
        name, prepared.test, lists, scores, ks=ks, groups=prepared.groups, missing=missing, remarks=remarks
    )


def _judge_full(rows: RankedRows, prepared: Prepared, name: str, full_cases: int | None) -> FullResult:
    cases, mask_seen = full_cases_of(prepared, full_cases), prepared.split.mask_seen
    kept = cases_to_rank(cases, mask_seen)
    number = {pair: case for case, pair in enumerate(zip(rows.cases.user, rows.cases.position, strict=True))}
    theirs = [number[pair] for pair in zip(cases.user[kept], cases.position[kept], strict=True)]  # places in rows.cases
    order = np.lexsort((rows.item, -rows.score, rows.case))
    starts = np.searchsorted(rows.case[order], np.arange(len(rows.cases) + 1))
    ranks = np.zeros(kept.size, dtype=np.int64)
    top = np.full((kept.size, LIST_LENGTH), -1, dtype=np.int64)
    for place, (case, wide) in enumerate(zip(kept.tolist(), theirs, strict=True)):
        mine = order[starts[wide] : starts[wide + 1]]
        if mask_seen == "history":
            _check_unseen(rows, mine, wide, cases.history(case))
        ranks[place], best = _ranked(rows.item[mine], rows.score[mine], int(cases.target[case]))
        top[place, : min(best.size, LIST_LENGTH)] = best[:LIST_LENGTH]
    listed = (top >= 0).sum(axis=1)
    remarks = _missing_cases(name, int((listed == 0).sum()))
    if short := int(((listed > 0) & (listed < LIST_LENGTH)).sum()):
        remarks += (f"{name}: {short:,} lists are shorter than {LIST_LENGTH}",)
    if spare := np.setdiff1d(rows.case, theirs).size:
        remarks += (f"{name}: lists of {spare:,} cases that are not judged here are left aside",)
    return full_result(name, cases, kept, ranks, top, mask_seen=mask_seen, groups=prepared.groups, remarks=remarks)


def _ranked(items: IntArray, scores: FloatArray, target: int) -> tuple[int, IntArray]:
    """The target's rank among items sorted by falling score, 0 if absent; the items, the target last of its equals."""
    at = np.flatnonzero(items == target)
    if not at.size:
        return 0, items
    rank = int((scores >= scores[at[0]]).sum())
    return rank, np.insert(np.delete(items, at[0]), rank - 1, target)


def _check_unseen(rows: RankedRows, mine: IntArray, case: int, history: IntArray) -> None:
    seen = mine[np.isin(rows.item[mine], history)]
    if seen.size:
        raise UserError(
            f"item {rows.item_key(rows.item[seen[0]])!r} stands in the history of {rows.case_name(case)}",
            where=rows.place(int(seen[0])),
            remedy="leave out each case's history, as all the rows of the table do; or judge under"
            " `split.mask_seen: none`, where repeats count",
        )


def _missing_cases(name: str, count: int) -> tuple[str, ...]:
    return (f"{name}: {count:,} cases have no list and count as misses",) if count else ()
