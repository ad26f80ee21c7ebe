"""Checks 3 to 5: what else of a list may point at its target: its companions, the history, popularity.

Path    candidate lists -> [evaluation.leaks.candidates] -> leaks
Takes   LeakInputs
Gives   Checks `shared_lists`, `target_in_history`, `popularity`
"""

from __future__ import annotations

import numpy as np

from napo.arrays import BoolArray, IntArray
from napo.data.candidates import CandidateLists, popularity_tenths
from napo.data.split import Cases
from napo.evaluation.leaks.check import Check, LeakInputs, first_places, popularity_scores, share
from napo.evaluation.metrics import auc
from napo.evaluation.ranks import candidate_ranks
from napo.rng import rng_for

MOST_CASES = 10_000  # of the lists compared with each other: more would add seconds and no certainty
SHUFFLES = 40


# --- 3: the companions --------------------------------------------------------------------------------------------


def shared_lists(inputs: LeakInputs) -> Check:
    """Two lists of one target have no more names in common than lists of two targets alike in popularity.

    value: the mean number of common names, the target among them. expected: the same where targets change places within
    their tenth by popularity, 1 + (C-1)^2 / (items - 1) for uniform draws from a large catalog; measured, because small
    catalogs, what users know, and draws by popularity raise it. FAIL: an excess above 0.2 (and a tenth of what is
    expected) which chance gives less than once in a thousand times.
    """
    items = np.concatenate([inputs.valid_lists.items, inputs.test_lists.items])
    slots = np.concatenate([inputs.valid_lists.slot, inputs.test_lists.slot])
    targets = np.concatenate([inputs.valid_cases.target, inputs.test_cases.target])
    rng = rng_for("leaks", "shared lists")
    if len(targets) > MOST_CASES:
        some = rng.choice(len(targets), size=MOST_CASES, replace=False)
        items, slots, targets = items[some], slots[some], targets[some]
    _, sizes = np.unique(targets, return_counts=True)
    pairs = int((sizes * (sizes - 1) // 2).sum())
    if not pairs:
        return Check("shared_lists", None, "ok", note="no target is met twice")
    others = items[np.arange(items.shape[1]) != slots[:, None]].reshape(len(items), -1)  # (cases, C - 1)
    tenth = popularity_tenths(inputs.split.popularity)[targets]
    found = common_names(targets, others)
    shuffled = [common_names(_shuffled_within(targets, tenth, rng), others) for _ in range(SHUFFLES)]
    expected, spread = float(np.mean(shuffled)), float(np.std(shuffled, ddof=1))
    failed = found - expected > max(0.2, 0.1 * expected, 3.09 * spread)
    return Check(
        "shared_lists",
        1 + found,
        "FAIL" if failed else "ok",
        (1 + found - 1.96 * spread, 1 + found + 1.96 * spread),
        {"expected": 1 + expected, "pairs": float(pairs)},
    )


def common_names(labels: IntArray, others: IntArray) -> float:
    """The mean number of common items over the pairs of rows of one label. labels: (cases,); others: (cases, C - 1)."""
    _, sizes = np.unique(labels, return_counts=True)
    _, times = np.unique(labels[:, None] * (int(others.max()) + 1) + others, return_counts=True)
    return float((times * (times - 1) // 2).sum() / (sizes * (sizes - 1) // 2).sum())


def _shuffled_within(labels: IntArray, groups: IntArray, rng: np.random.Generator) -> IntArray:
    """The labels, dealt anew among the rows of each group."""
    shuffled = np.empty_like(labels)
    shuffled[np.argsort(groups, kind="stable")] = labels[np.lexsort((rng.random(len(labels)), groups))]
    return shuffled


# --- 4: the history -----------------------------------------------------------------------------------------------


def target_in_history(inputs: LeakInputs) -> Check:
    """The share of targets that the user had taken before: none may, unless repeats are allowed.

    seen_rule: HR@1 of "the candidate seen before". others: the share of the other candidates that were seen.
    """
    cases, lists = inputs.test_cases, inputs.test_lists
    seen = seen_before(cases, lists)
    of_target = seen[np.arange(len(seen)), lists.slot].astype(np.float64)
    value, interval = share(of_target, cases)
    reference = {
        "seen_rule": float(first_places(seen.astype(np.float64), lists).mean()),
        "others": float((seen.sum() - of_target.sum()) / (seen.size - len(seen))),
        "chance": inputs.chance,
    }
    if inputs.split.mask_seen == "history":
        return Check("target_in_history", value, "FAIL" if value > 0 else "ok", interval, reference)
    note = "repeats are allowed: compare with a row that repeats the last item" if value > 0.01 else ""
    return Check("target_in_history", value, "WARN" if value > 0.01 else "ok", interval, reference, note)


def seen_before(cases: Cases, lists: CandidateLists) -> BoolArray:
    """(cases, C) whether a candidate is in the case's history."""
    return np.array([np.isin(row, cases.history(case)) for case, row in enumerate(lists.items)])


# --- 5: popularity ------------------------------------------------------------------------------------------------


def popularity(inputs: LeakInputs) -> Check:
    """HR@1 of the most popular candidate, and the AUC of popularity between the target and the others; warns above .7.

    No fault of the lists, but what popularity alone finds says nothing of taste.
    """
    lists = inputs.test_lists
    scores = popularity_scores(inputs)
    ranks = candidate_ranks(scores, lists.slot)
    area = float(auc(ranks.worst, scores.shape[1], ranks.best).mean())
    value, interval = share(first_places(scores, lists), inputs.test_cases)
    easy = area > 0.7
    note = "popularity alone tells many targets from the others; see candidates.negatives: matched" if easy else ""
    reference = {"auc": area, "chance": inputs.chance}
    return Check("popularity", value, "WARN" if easy else "ok", interval, reference, note)
