import numpy as np
import pytest

from napo.data.candidates import CandidateLists, draw_candidates
from napo.errors import UserError
from napo.evaluation.leaks import LeakInputs
from napo.evaluation.leaks.slots import BlindRule, same_slot_pairs, slot_balance, slot_rule
from napo.evaluation.protocols import evaluate_candidates


def seeded_by_target(cases, count=20):
    """What must never be done: the target decides companions and slot."""
    items, slot = np.empty((len(cases), count), dtype=int), np.empty(len(cases), dtype=int)
    for case, target in enumerate(cases.target):
        rng = np.random.default_rng(target)
        slot[case] = rng.integers(count)
        others = np.setdiff1d(np.arange(len(cases.split.catalog)), cases.history(case))
        others = rng.permutation(others[others != target])[: count - 1]
        items[case] = np.insert(others, slot[case], target)
    return CandidateLists(items, slot, 0, "uniform", cases.split.digest, "seeded by target")


@pytest.fixture(scope="module")
def honest(zipf_split):
    valid, test = zipf_split.cases("valid"), zipf_split.cases("test")
    return LeakInputs(valid, draw_candidates(valid), test, draw_candidates(test))


@pytest.fixture(scope="module")
def leaking(zipf_split):
    valid, test = zipf_split.cases("valid"), zipf_split.cases("test")
    return LeakInputs(valid, seeded_by_target(valid), test, seeded_by_target(test))


def both(inputs):
    return slot_balance(inputs), slot_rule(inputs)


def test_honest_lists_pass(honest):
    assert [check.verdict for check in both(honest)] == ["ok", "ok"]


def test_honest_lists_put_equal_targets_into_one_slot_once_in_twenty(honest):
    check = slot_balance(honest)
    assert check.value == pytest.approx(0.05, abs=0.005)
    assert check.interval[0] < 0.05 < check.interval[1]


def test_honest_slots_know_less_than_items(honest):
    # the slot splits an item's counts into twenty thin ones: of no use, while the item tells popularity
    check = slot_rule(honest)
    assert check.value < check.reference["item_rule"]
    assert check.reference["item_rule"] > 2 * check.reference["chance"]
    assert check.reference["p"] > 0.99


def test_lists_seeded_by_the_target_fail_both_checks(leaking):
    slot, rule = both(leaking)
    assert (slot.verdict, rule.verdict) == ("FAIL", "FAIL")
    assert slot.value == 1.0
    assert rule.value > 0.7 > rule.reference["item_rule"]
    assert rule.reference["p"] < 1e-6
    assert rule.reference["on_covered"] > rule.value


def test_a_target_that_is_always_first_fails(honest):
    def first(cases, lists):
        items = lists.items.copy()
        rows = np.arange(len(items))
        items[rows, lists.slot], items[:, 0] = items[:, 0], cases.target
        return CandidateLists(items, np.zeros(len(items), dtype=int), 0, "uniform", cases.split.digest, "first")

    inputs = LeakInputs(
        honest.valid_cases,
        first(honest.valid_cases, honest.valid_lists),
        honest.test_cases,
        first(honest.test_cases, honest.test_lists),
    )
    assert [check.verdict for check in both(inputs)] == ["FAIL", "FAIL"]


def test_honest_shuffles_rarely_fail():
    # 200 shuffles of one popular target and many rare ones: at .1 % and .1 % none or one may
    rng = np.random.default_rng(3)
    targets = np.r_[np.zeros(200, dtype=int), rng.integers(1, 400, size=800)]
    failed = 0
    for _ in range(200):
        slots = rng.integers(0, 20, size=1000)
        same, pairs = same_slot_pairs(targets, slots)
        assert pairs >= 199 * 200 / 2
        failed += same / pairs > 0.05 + 3.09 * np.sqrt(0.05 * 0.95 / pairs)
    assert failed <= 4


def test_same_slot_pairs_by_hand():
    # target 7 in slots 1, 1, 2: one pair of three; target 8 in 4, 4: one of one; target 9 once: none
    assert same_slot_pairs(np.array([7, 7, 7, 8, 8, 9]), np.array([1, 1, 2, 4, 4, 0])) == (2, 4)


def test_the_blind_rule_by_hand(build_split, build_lists):
    split = build_split([[0, 1, 2], [0, 1, 3], [3, 1, 0]], items=4)  # validation 1, 1, 1; test 2, 3, 0
    valid, test = split.cases("valid"), split.cases("test")
    learnt = build_lists(split, [[1, 2], [3, 1], [1, 2]], slot=[0, 1, 0])
    rule = BlindRule.learn(valid, learnt)
    # item 1 was the target twice in slot 0, once in slot 1
    assert rule.candidate_scores([], np.array([[1, 1], [2, 1]])).tolist() == [[2, 1], [0, 1]]
    by_item = BlindRule.learn(valid, learnt, slots=False)
    assert by_item.candidate_scores([], np.array([[1, 1], [2, 1]])).tolist() == [[3, 3], [0, 3]]
    asked = build_lists(split, [[2, 1], [3, 2], [1, 0]], slot=[0, 0, 1])
    result = evaluate_candidates(rule, test, asked)
    assert result.scorer == "blind slot rule"
    assert result.ranks.tolist() == [2, 2, 2]  # behind item 1; both unknown, so behind the other; behind item 1


def test_the_blind_rule_has_no_say_over_the_whole_catalog(honest):
    rule = BlindRule.learn(honest.valid_cases, honest.valid_lists)
    with pytest.raises(UserError, match="is about candidate lists"):
        rule.top([], [], 10)
    with pytest.raises(UserError, match="learnt from 20 slots, not 3"):
        rule.candidate_scores([], np.array([[1, 2, 3]]))


def test_targets_that_never_repeat_leave_nothing_to_measure(build_split, build_lists):
    split = build_split([[4, 0, 1], [4, 2, 3]], items=5)
    lists = {part: build_lists(split, [[0, 1], [2, 3]], slot) for part, slot in (("valid", [0, 0]), ("test", [1, 1]))}
    check = slot_balance(LeakInputs(split.cases("valid"), lists["valid"], split.cases("test"), lists["test"]))
    assert (check.value, check.verdict) == (None, "ok")
    assert "nothing to measure" in check.line
