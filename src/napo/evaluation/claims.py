"""Claims and search budgets as they are typed, checked before anything is trained.

Path    `--claim "NAPO > S-DPO by 0.01 on NDCG"`, `--tried NAPO=8` -> [evaluation.claims] -> comparison
Takes   words of the command line; which rows and metrics each table will have
Gives   Claim; settings tried by row. Raises UserError for what no table could answer
"""

import re
from collections.abc import Collection, Mapping, Sequence

from napo.errors import UserError, raise_together
from napo.evaluation.comparison import Claim

FORM = "`NAPO > S-DPO`, behind it `by 0.01` or `by 15%`, and `on NDCG`"
_CLAIM = re.compile(
    r"(?P<better>[^>]+?)\s*>\s*(?P<worse>[^>]+?)"
    r"(?:\s+by\s+(?P<size>\d+(?:\.\d+)?|\.\d+)\s*(?P<percent>%)?)?(?:\s+on\s+(?P<metric>\S+))?"
)


def parse_claim(text: str) -> Claim:
    """`A > B`, `A > B by 0.01` (a difference), `A > B by 15%` (a ratio), each with ` on METRIC`."""
    found = _CLAIM.fullmatch(text.strip())
    if found is None:
        raise UserError(f"{text!r} is no claim", where="--claim", remedy=FORM)
    better, worse, size, percent, metric = found.group("better", "worse", "size", "percent", "metric")
    if better == worse:
        raise UserError(f"{text!r}: no row is better than itself", where="--claim", remedy=FORM)
    if percent:
        return Claim(better, worse, ratio=1 + float(size) / 100, metric=metric)
    return Claim(better, worse, margin=float(size or 0), metric=metric)


def parse_tried(words: Sequence[str]) -> dict[str, int]:
    """`NAPO=8`: settings of the row NAPO that were tried on validation, the one that is shown among them."""
    tried: dict[str, int] = {}
    for word in words:
        row, _, count = word.rpartition("=")
        if not row or not count.isdecimal() or int(count) < 1:
            raise UserError(f"{word!r} is no search budget", where="--tried", remedy="`NAPO=8`: a row, and how many")
        if row in tried:
            raise UserError(f"{row!r} has two search budgets", where="--tried", remedy="name each row once")
        tried[row] = int(count)
    return tried


def accuracy_metrics(protocol: str, ks: Sequence[int], list_length: int) -> list[str]:
    """What a protocol's table can be asked a claim on: figures of which more is better for any data."""
    if protocol == "gen20":
        return ["HitRatio@1", "ValidRatio"]
    if protocol == "full":
        return [f"HR@{k}" for k in sorted({1, list_length})] + [f"NDCG@{list_length}", f"MRR@{list_length}"]
    ks = sorted({1, *ks})
    return [*(f"HR@{k}" for k in ks), "NDCG", *(f"NDCG@{k}" for k in ks if k > 1), "MRR", "AUC"]


def check_question(
    base: str | None,
    claims: Sequence[Claim],
    tried: Collection[str],
    *,
    rows: Mapping[str, Collection[str]],
    metrics: Mapping[str, Collection[str]],
    trained: Collection[str],
) -> None:
    """Raises UserError, all mistakes together, for what no table has.

    rows, metrics: of each protocol's table. trained: the rows that can have been searched for.
    """
    every = list(dict.fromkeys(name for names in rows.values() for name in names))
    there = f"rows: {', '.join(every)}"
    wrong = []
    if base is not None and base not in every:
        wrong.append(UserError(f"there will be no row {base!r} to compare with", where="--against", remedy=there))
    for claim in claims:
        place = f"--claim {str(claim)!r}"
        unknown = [name for name in (claim.better, claim.worse) if name not in every]
        known = list(dict.fromkeys(name for names in metrics.values() for name in names))
        if unknown:
            named = " and ".join(map(repr, unknown))
            wrong.append(UserError(f"there will be no row {named}", where=place, remedy=f"{there}; {FORM}"))
        elif claim.metric is not None and claim.metric not in known:
            said = f"there is no metric {claim.metric!r} to claim something of"
            wrong.append(UserError(said, where=place, remedy=f"one of: {', '.join(known)}"))
        elif not any(can_answer(claim, rows[name], metrics[name]) for name in rows):
            said = "no table has both rows and the metric"
            wrong.append(UserError(said, where=place, remedy=f"judge by other `evaluation.protocols`; {there}"))
    for name in tried:
        if name not in trained:
            said = f"there will be no row {name!r} that is trained"
            wrong.append(UserError(said, where="--tried", remedy=f"one of: {', '.join(trained)}"))
    raise_together(wrong)


def can_answer(claim: Claim, rows: Collection[str], metrics: Collection[str]) -> bool:
    """Whether a table of these rows and metrics can say something of the claim."""
    return {claim.better, claim.worse} <= set(rows) and (claim.metric is None or claim.metric in metrics)
