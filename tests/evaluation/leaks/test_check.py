import json

import numpy as np
import pytest

from napo.evaluation.leaks.check import Check, leaked, one_sided_mcnemar, worst_of_runs


def test_a_line_and_its_json():
    check = Check("slot_rule", 0.559, "FAIL", (0.540, 0.578), {"popular": 0.258, "chance": 0.05})
    assert check.line == "slot_rule: 0.559 [0.540, 0.578] popular 0.258 chance 0.05 FAIL"
    assert json.loads(json.dumps(check.to_json()))["line"] == check.line


def test_a_line_about_a_model_names_its_row_and_says_what_to_do():
    check = Check("order", 0.2, "WARN", reference={"most_moved": 1234.5}, note="a remedy", scorer="NAPO")
    assert check.line == "order, NAPO: 0.200 most_moved 1,234 (a remedy) WARN"


def test_one_failure_is_a_leak_and_a_warning_is_none():
    assert leaked([Check("a", 0.0, "ok"), Check("b", 0.0, "FAIL")])
    assert not leaked([Check("a", 0.0, "ok"), Check("b", 0.0, "WARN")])


def test_of_several_runs_of_a_row_the_worst_stands_for_all():
    runs = [
        Check("slot", 0.05, "ok"),
        *(Check("no_history", value, word, scorer="NAPO") for value, word in [(0.2, "ok"), (0.1, "WARN"), (0.3, "ok")]),
        *(Check("no_history", value, "ok", scorer="SFT") for value in (0.06, 0.08)),
        *(Check("order", None, "ok", scorer="SFT") for _ in range(2)),
    ]
    assert [check.line for check in worst_of_runs(runs)] == [
        "slot: 0.050 ok",
        "no_history, NAPO: 0.100 (the worst of 3 runs) WARN",
        "no_history, SFT: 0.080 (the worst of 2 runs) ok",
        "order, SFT: nothing to measure (the worst of 2 runs) ok",
    ]


def test_mcnemar_by_hand():
    # 3 for, 0 against: (1/2)^3;  1 for, 1 against: 3/4
    assert one_sided_mcnemar(np.array([1, 1, 1, 0]), np.array([0, 0, 0, 0])) == pytest.approx(0.125)
    assert one_sided_mcnemar(np.array([1, 0]), np.array([0, 1])) == pytest.approx(0.75)
    assert one_sided_mcnemar(np.ones(4), np.ones(4)) == 1.0
