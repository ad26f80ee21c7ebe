import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from napo.data.candidates import draw_candidates
from napo.evaluation.leaks import (
    CHECKS,
    QUESTIONS,
    ScorerInputs,
    checks_for,
    leak_checks,
    leaked,
    scorer_checks,
)


def all_checks(world, scorer):
    asked = ScorerInputs.of(scorer, world.test_cases, world.test_lists, name="taste")
    return [*leak_checks(world), *scorer_checks(asked)]


def test_every_check_has_a_line_json_and_a_question(world, taste):
    checks = all_checks(world, taste(world))
    assert [*(check.name for check in checks), "file"] == list(QUESTIONS)  # which is asked of other tools' files
    for check in checks:
        assert check.line.startswith(check.title)
        assert check.line.endswith(check.verdict)
        assert json.loads(json.dumps(check.to_json()))["line"] == check.line


def test_nothing_fires_where_nothing_leaks(build_world, taste):
    # 8 worlds x 11 checks: at the levels they fail at (1 in 100 to 1 in 1000) none is expected to
    words = Counter()
    for seed in range(8):
        world = build_world(seed)
        words.update((check.name, check.verdict) for check in all_checks(world, taste(world)) if check.verdict != "ok")
    assert not [key for key in words if key[1] == "FAIL"], words
    assert words[("title", "WARN")] <= 1
    assert words[("future", "WARN")] == 0
    assert words[("no_history", "WARN")] == 0


@pytest.mark.parametrize("negatives", ["popularity", "matched"])
def test_nothing_fires_where_candidates_are_drawn_by_popularity(world, negatives):
    drawn = [draw_candidates(cases, negatives=negatives) for cases in (world.valid_cases, world.test_cases)]
    checks = leak_checks(replace(world, valid_lists=drawn[0], test_lists=drawn[1]))
    assert not leaked(checks), [check.line for check in checks]


def test_where_there_is_nothing_to_look_at_a_check_says_so_and_passes(world):
    split = replace(world.split, times=None)
    bare = replace(
        world,
        valid_cases=replace(world.valid_cases, split=split),
        test_cases=replace(world.test_cases, split=split),
        prompt=None,
    )
    lines = {check.name: check for check in leak_checks(bare)}
    assert lines["future"].line == "future: nothing to measure (the log has no times) ok"
    assert "no prompt" in lines["title"].note
    assert "in_prompt" not in lines["title"].reference
    assert not leaked(list(lines.values()))


def test_one_case_is_enough_for_every_check(world, taste):
    one = np.array([0])
    small = replace(world, test_cases=world.test_cases.take(one), test_lists=world.test_lists.take(one))
    small = replace(small, valid_cases=world.valid_cases.take(one), valid_lists=world.valid_lists.take(one))
    checks = all_checks(small, taste(small))
    assert len(checks) == len(CHECKS) + 2
    assert not leaked(checks), [check.line for check in checks]


def test_a_table_over_the_whole_catalog_does_not_depend_on_lists(world):
    checks = leak_checks(world)
    assert [check.name for check in checks_for("full", checks)] == ["title", "duplicates", "future"]
    assert checks_for("cand20", checks) == checks
