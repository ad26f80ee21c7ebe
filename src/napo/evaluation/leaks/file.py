"""Checks 9 and 10 as far as another tool's file can answer them: the tool itself is not here to be asked again.

Path    evaluation.ranked -> [evaluation.leaks.file] -> leaks
Takes   CandidateResult or FullResult of a file, and the candidate lists that it was judged on
Gives   Checks `file`, `no_history`, and among candidates `order`
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from napo.evaluation.leaks.check import Check
from napo.evaluation.results import CandidateResult
from napo.evaluation.statistics import bootstrap_interval

if TYPE_CHECKING:
    from napo.data.candidates import CandidateLists
    from napo.evaluation.results import FullResult


def file_checks(result: CandidateResult | FullResult, lists: CandidateLists) -> list[Check]:
    """What can be asked of lists that were made elsewhere. The checks are about the result's row."""
    silent = Check(
        "no_history",
        None,
        "ok",
        note="a file can't be asked with another user's history",
        scorer=result.scorer,
        about="file",
    )
    ordered = [places(result, lists)] if isinstance(result, CandidateResult) else []
    return [complete(result), silent, *ordered]


def complete(result: CandidateResult | FullResult) -> Check:
    """The share of cases without a list; tied: of cases whose target ties with another candidate; short: of lists.

    WARN where there are any. NaN, infinite scores, items named twice, items that are no candidates or were seen before
    are refused when the file is read, so there are none.
    """
    if isinstance(result, CandidateResult):
        missing, beside = result.picks < 0, {"tied": result.tie_share}
    else:
        missing, beside = result.top[:, 0] < 0, {"short": float((result.top[:, -1] < 0).mean())}
    estimate = bootstrap_interval(missing.astype(np.float64), result.users, proportion=True)
    warned = bool(missing.any()) or any(share > 0.01 for share in beside.values())
    note = "what is missing or tied counts against the tool" if warned else "no NaN, nothing twice, nothing foreign"
    interval = (estimate.low, estimate.high)
    return Check("file", estimate.value, "WARN" if warned else "ok", interval, beside, note, result.scorer, "file")


def places(result: CandidateResult, lists: CandidateLists) -> Check:
    """The share of picks in the slot that is picked most; of a tool that reads items alone, each slot has 1/C.

    WARN where chance spreads picks so unevenly less than once in a thousand times (chi-square): then either the places
    of the targets are uneven, which the check `slot` finds, or the tool has read them.
    """
    width = lists.items.shape[1]
    given = result.picks >= 0
    slots = (lists.items[given] == result.picks[given, None]).argmax(axis=1)
    if not slots.size:
        return Check("order", None, "ok", note="no case has a list", scorer=result.scorer, about="file")
    counts = np.bincount(slots, minlength=width)
    p_value = float(stats.chisquare(counts).pvalue)
    warned = p_value < 0.001
    note = "a file can't be asked in another order; its picks " + ("favour places" if warned else "favour no place")
    reference = {"chance": 1 / width, "p": p_value}
    value = float(counts.max() / slots.size)
    return Check("order", value, "WARN" if warned else "ok", None, reference, note, result.scorer, "file")
