"""Does something that cannot know the user's taste find the target? Then no figure of that table counts.

Path    cases, candidate lists, a Scorer -> [evaluation.leaks] -> table (LEAKED in its title), report
Takes   LeakInputs: the cases and lists that the results were made with; ScorerInputs: a model and 500 of the cases
Gives   Check(name, value, interval, reference, verdict): one line each, and as JSON

A check is a function LeakInputs -> Check or ScorerInputs -> Check, and CHECKS or SCORER_CHECKS lists it; QUESTIONS says
in words what it asks. Where a check has nothing to look at (no times, no prompt) it says so and passes. Of the lists in
another tool's file `file_checks` asks what a file can answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from napo.evaluation.leaks.candidates import popularity, shared_lists, target_in_history
from napo.evaluation.leaks.check import Check, LeakInputs, PromptText, leaked, worst_of_runs
from napo.evaluation.leaks.file import file_checks
from napo.evaluation.leaks.parts import duplicates, future
from napo.evaluation.leaks.scorer import ScorerInputs, integrity, no_history, order
from napo.evaluation.leaks.slots import BlindRule, slot_balance, slot_rule
from napo.evaluation.leaks.titles import title

__all__ = [
    "CHECKS",
    "QUESTIONS",
    "SCORER_CHECKS",
    "BlindRule",
    "Check",
    "LeakInputs",
    "PromptText",
    "ScorerInputs",
    "checks_for",
    "file_checks",
    "leak_checks",
    "leaked",
    "scorer_checks",
    "worst_of_runs",
]

CHECKS: tuple[Callable[[LeakInputs], Check], ...] = (
    slot_balance,
    slot_rule,
    shared_lists,
    target_in_history,
    popularity,
    title,
    duplicates,
    future,
    integrity,
)
SCORER_CHECKS: tuple[Callable[[ScorerInputs], Check], ...] = (no_history, order)

QUESTIONS = {
    "slot": "Is the target's place in the list drawn by chance?",
    "slot_rule": "Does a rule that knows places but no history find targets?",
    "shared_lists": "Do lists of one target have the same companions?",
    "target_in_history": "Had the user taken the target before?",
    "popularity": "How far does the most popular candidate get?",
    "title": "Do titles, places or the prompt's words give the target away?",
    "duplicates": "Are cases of the test in training or validation too?",
    "future": "Does training know what happened after a case?",
    "integrity": "Do scorers whose figures are known get just these?",
    "no_history": "How good is the model with another user's history?",
    "order": "Does the order of the candidates change the pick?",
    "file": "Does the other tool's file hold a list for every case?",
}


def leak_checks(inputs: LeakInputs) -> list[Check]:
    """The checks of lists, prompt and split. A failure lets the run go on, and puts LEAKED into the table's title."""
    return [check(inputs) for check in CHECKS]


def scorer_checks(inputs: ScorerInputs) -> list[Check]:
    """The checks of one model."""
    return [check(inputs) for check in SCORER_CHECKS]


def checks_for(protocol: str, checks: Sequence[Check]) -> list[Check]:
    """Those that a protocol's figures depend on: over the whole catalog there are no lists."""
    return [check for check in checks if protocol != "full" or check.about in ("prompt", "split", "file")]
