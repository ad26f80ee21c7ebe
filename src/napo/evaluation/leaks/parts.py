"""Checks 7 and 8: whether training has met the cases before, or what came after them.

Path    Split, Cases -> [evaluation.leaks.parts] -> leaks
Takes   LeakInputs
Gives   Checks `duplicates`, `future`
"""

from __future__ import annotations

from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from napo.arrays import FloatArray, IntArray
from napo.data.split import Split
from napo.evaluation.leaks.check import Check, LeakInputs, first_places, popularity_scores, share
from napo.rng import rng_for

DAY = 86_400_000  # milliseconds


# --- 7: the same example twice ------------------------------------------------------------------------------------


def duplicates(inputs: LeakInputs) -> Check:
    """No (user, history, target) is in two of training, validation and test: the share of test cases that are.

    twins: the share of held-out cases whose history and target are another user's too; above 1 % one person may have
    two names. pairs: held-out (user, item) pairs that are in the user's training events as well.
    """
    split, cases = inputs.split, (inputs.valid_cases, inputs.test_cases)
    starts = _starts(split)
    items = np.concatenate(split.sequences).astype(np.int64)
    users = np.repeat(np.arange(len(split.sequences)), np.diff(starts))
    position = np.arange(len(items)) - starts[users]
    own = position >= split.begins[users]
    trained = own & (position < split.valid_from[users])
    held = [starts[part.user] + part.position for part in cases]  # places among all the events
    prefixes = _prefixes(items, users, position, starts)
    owner = users if split.rows is None or split.rows.users is None else split.rows.users[users]
    # a history is what stands before its target, so one place in two parts is one example in both
    example = np.arange(len(items)) if split.rows is None else prefixes  # rows may repeat each other
    again = np.isin(example[held[1]], example[held[0]]) | np.isin(example[held[1]], example[trained])
    across = int(again.sum()) + int(np.isin(example[held[0]], example[trained]).sum())
    both = np.concatenate(held)
    twins = _repeated(prefixes, own, position)[both].mean()
    owned = owner * len(split.catalog) + items
    pairs = int(np.isin(owned[both], owned[trained]).sum())
    value, interval = share(again.astype(np.float64), inputs.test_cases)
    note = "two users with one history may be one person, or a robot" if twins > 0.01 else ""
    nameless = split.unit == "rows"  # then two users with one short history can't be told from one row in two parts
    if across and nameless:
        note = "rows carry no user: equal ones may be those of two"
    return Check(
        "duplicates",
        value,
        "FAIL" if across and not nameless else "WARN" if note else "ok",
        interval,
        {"in_two_parts": float(across), "twins": float(twins), "pairs": float(pairs)},
        note,
        about="split",
    )


def _starts(split: Split) -> IntArray:
    """(users + 1,) where each user's events begin, laid end to end."""
    return np.array([0, *accumulate(len(sequence) for sequence in split.sequences)], dtype=np.int64)


def _prefixes(items: IntArray, users: IntArray, position: IntArray, starts: IntArray) -> NDArray[np.uint64]:
    """(events,) equal where two users have the same items up to there.

    Histories are told apart by a sum of random numbers, one for each (item, position), modulo 2^64.
    """
    weight = rng_for("leaks", "prefixes").integers(1, 2**63, size=int(items.max()) + 1).astype(np.uint64)
    with np.errstate(over="ignore"):  # wrapping is what it is meant to do
        total = np.cumsum(weight[items] * (2 * position + 1).astype(np.uint64), dtype=np.uint64)
        before = np.concatenate([np.zeros(1, dtype=np.uint64), total])[starts[users]]
        return np.asarray(total - before)


def _repeated(prefixes: NDArray[np.uint64], own: NDArray[np.bool_], position: IntArray) -> NDArray[np.bool_]:
    """(events,) whether another user has the same items up to this one; a first item alone does not count."""
    _, which, times = np.unique(prefixes[own], return_inverse=True, return_counts=True)
    repeated = np.zeros(len(own), dtype=np.bool_)
    repeated[own] = times[which] > 1
    return repeated & (position > 0)


# --- 8: what came later -------------------------------------------------------------------------------------------


def future(inputs: LeakInputs) -> Check:
    """The share of test cases that happened before some event of training: it may know what became popular later.

    lag_days: from such a case to the last training event, the median. later: the mean share of training events that
    come after a case. popular, popular_before: HR@1 of the most popular candidate by all of training, and by what of
    it came before the case.
    """
    split, cases, lists = inputs.split, inputs.test_cases, inputs.test_lists
    if split.times is None:
        return Check("future", None, "ok", note="the log has no times", about="split")
    times = np.concatenate([mine[:end] for mine, end in zip(split.times, split.valid_from, strict=True)])
    items = np.concatenate([split.train(user) for user in range(len(split.sequences))])
    when = np.array([split.times[user][at] for user, at in zip(cases.user, cases.position, strict=True)])
    instants = np.sort(times)
    after = len(instants) - np.searchsorted(instants, when, side="right")  # (cases,) training events that come later
    value, interval = share((after > 0).astype(np.float64), cases)
    early = after > 0
    reference = {
        "lag_days": float(np.median(instants[-1] - when[early]) / DAY) if early.any() else 0.0,
        "later": float(after.mean() / len(instants)),
        "popular": float(first_places(popularity_scores(inputs), lists).mean()),
        "popular_before": float(first_places(_popularity_before(items, times, lists.items, when), lists).mean()),
    }
    warned = value > 0.01
    note = "judge by split.name: global_time too" if warned else ""
    return Check("future", value, "WARN" if warned else "ok", interval, reference, note, about="split")


def _popularity_before(items: IntArray, times: IntArray, candidates: IntArray, when: IntArray) -> FloatArray:
    """(cases, C) training events of each candidate before the case. items, times: of the training events."""
    instants = np.sort(times)
    base = len(instants) + 1
    # events by item, then by time: an item's events before an instant are a stretch of them
    events = np.sort(items * base + np.searchsorted(instants, times, side="left"))
    until = candidates * base + np.searchsorted(instants, when, side="left")[:, None]
    counts = np.searchsorted(events, until) - np.searchsorted(events, candidates * base)
    return counts.astype(np.float64)
