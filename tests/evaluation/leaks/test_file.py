from dataclasses import replace

import numpy as np
import pytest

from napo.evaluation.leaks import checks_for, file_checks
from napo.evaluation.leaks.file import complete, places
from napo.evaluation.protocols import candidate_result, evaluate_full


def judged(world, scores, **more):
    return candidate_result("tool", world.test_cases, world.test_lists, scores, ks=(1,), **more)


@pytest.fixture(scope="module")
def honest(world):
    """Scores that depend on items alone."""
    return np.random.default_rng(0).random(160)[world.test_lists.items]


def test_a_whole_file_of_a_tool_that_reads_items_passes_and_says_what_cannot_be_asked(world, honest):
    whole, silent, order = file_checks(judged(world, honest), world.test_lists)
    assert whole.line == "file, tool: 0.000 [0.000, 0.046] tied 0 (no NaN, nothing twice, nothing foreign) ok"
    assert silent.line == (
        "no_history, tool: nothing to measure (a file can't be asked with another user's history) ok"
    )
    assert (order.title, order.verdict) == ("order, tool", "ok")
    assert order.reference["p"] > 0.001


def test_cases_without_a_list_and_ties_warn(world, honest):
    missing = np.zeros(len(honest), dtype=bool)
    missing[:40] = True
    check = complete(judged(world, honest, missing=missing))
    assert (check.value, check.verdict) == (40 / len(honest), "WARN")
    tied = complete(judged(world, np.zeros_like(honest)))
    assert (tied.value, tied.reference["tied"], tied.verdict) == (0.0, 1.0, "WARN")


def test_picks_that_favour_places_warn(world, honest):
    first = np.broadcast_to(-np.arange(20.0), honest.shape)
    check = places(judged(world, first), world.test_lists)
    assert (check.value, check.verdict) == (1.0, "WARN")
    assert check.reference["chance"] == 0.05
    nobody = judged(world, honest, missing=np.ones(len(honest), dtype=bool))
    assert places(nobody, world.test_lists).value is None


def test_short_lists_of_the_whole_catalog_are_counted_and_the_checks_stand_in_its_table(world, taste):
    class Lists:
        name = "tool"

        def target_ranks(self, histories, excluded, targets):
            return np.ones(len(targets), dtype=np.int64)

        def top(self, histories, excluded, k):
            found = np.full((len(histories), k), -1, dtype=np.int64)
            found[:, 0] = [np.setdiff1d(np.arange(160), out)[0] for out in excluded]
            return found

    checks = file_checks(evaluate_full(Lists(), world.test_cases), world.test_lists)
    assert [check.name for check in checks] == ["file", "no_history"]
    assert (checks[0].value, checks[0].reference, checks[0].verdict) == (0.0, {"short": 1.0}, "WARN")
    assert checks_for("full", checks) == checks
    assert checks_for("full", [replace(checks[0], about="scorer")]) == []
