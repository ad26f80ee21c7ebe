from dataclasses import replace

import numpy as np
import pytest

from napo.data.candidates import CandidateLists, draw_candidates
from napo.evaluation.leaks import LeakInputs
from napo.evaluation.leaks.candidates import common_names, popularity, seen_before, shared_lists, target_in_history


def companions_of_the_target(cases, lists):
    """Each target's own fixed companions, in slots drawn honestly."""
    items = lists.items.copy()
    for case, (target, slot) in enumerate(zip(cases.target, lists.slot, strict=True)):
        others = np.random.default_rng(target).permutation(len(cases.split.catalog))
        items[case] = np.insert(others[others != target][: items.shape[1] - 1], slot, target)
    return CandidateLists(items, lists.slot, 0, "uniform", cases.split.digest, "planted")


def planted(world, plant):
    return replace(
        world,
        valid_lists=plant(world.valid_cases, world.valid_lists),
        test_lists=plant(world.test_cases, world.test_lists),
    )


def test_common_names_by_hand():
    # label 1: {2, 3} and {3, 4} share 3; label 5 stands alone
    assert common_names(np.array([1, 1, 5]), np.array([[2, 3], [3, 4], [2, 3]])) == 1.0
    # three rows of one label: 2, 1 and 1 in common
    assert common_names(np.array([1, 1, 1]), np.array([[2, 3], [2, 3], [3, 4]])) == pytest.approx(4 / 3)


def test_honest_lists_share_as_many_names_as_chance_gives(zipf_split):
    valid, test = zipf_split.cases("valid"), zipf_split.cases("test")
    check = shared_lists(LeakInputs(valid, draw_candidates(valid), test, draw_candidates(test)))
    # 400 items of which a user knows 25: 1 + 19 x 19 / 375 = 1.96
    assert check.value == pytest.approx(1.96, abs=0.05)
    assert check.reference["expected"] == pytest.approx(check.value, abs=0.05)
    assert check.verdict == "ok"


def test_companions_chosen_by_the_target_fail(world):
    check = shared_lists(planted(world, companions_of_the_target))
    assert (check.value, check.verdict) == (20.0, "FAIL")
    assert check.reference["expected"] < 5


def test_targets_met_once_have_no_companions_to_compare(build_split, build_lists):
    split = build_split([[4, 0, 1], [4, 2, 3]], items=5)
    lists = {part: build_lists(split, [[0, 1], [2, 3]], slot) for part, slot in (("valid", [0, 0]), ("test", [1, 1]))}
    check = shared_lists(LeakInputs(split.cases("valid"), lists["valid"], split.cases("test"), lists["test"]))
    assert check.line == "shared_lists: nothing to measure (no target is met twice) ok"


def test_seen_candidates_by_hand(build_split, build_lists):
    split = build_split([[0, 1, 2, 3]], items=6)
    cases = split.cases("test")  # history 0, 1, 2; target 3
    assert seen_before(cases, build_lists(split, [[1, 3, 5, 0]], [1])).tolist() == [[True, False, False, True]]


def taken_twice(world):
    """The target also stands first in its user's sequence."""
    sequences = tuple(np.concatenate([sequence[-1:], sequence[1:]]) for sequence in world.split.sequences)
    return replace(world.split, sequences=sequences)


def test_a_target_that_was_taken_before_fails(world, with_split):
    check = target_in_history(with_split(taken_twice(world)))
    assert check.verdict == "FAIL"
    assert check.value == pytest.approx(0.5)  # one of the two test events of each user
    assert check.reference["seen_rule"] == pytest.approx(0.5)
    assert target_in_history(world).verdict == "ok"


def test_where_repeats_are_allowed_they_are_counted(world, with_split):
    check = target_in_history(with_split(replace(taken_twice(world), mask_seen="none")))
    assert check.value == pytest.approx(0.5)
    assert check.verdict == "WARN"
    assert "repeats the last item" in check.note


def test_targets_that_are_more_popular_than_all_others_warn(world):
    popular = np.argsort(world.split.popularity, kind="stable")

    def beside_rare_items(cases, lists):
        items = np.where(lists.items == cases.target[:, None], lists.items, popular[: lists.items.shape[1]])
        return CandidateLists(items, lists.slot, 0, "uniform", cases.split.digest, "planted")

    check = popularity(planted(world, beside_rare_items))
    assert check.verdict == "WARN"
    assert check.reference["auc"] > 0.9
    assert "matched" in check.note


def test_the_popularity_rule_by_hand(build_split, build_lists):
    split = build_split([[0, 1, 2, 3], [0, 1, 3, 2]], items=4)  # training 0, 1, 0, 1... of each user two
    lists = build_lists(split, [[3, 0], [2, 3]], [0, 0])
    check = popularity(LeakInputs(split.cases("valid"), lists, split.cases("test"), lists))
    # phi: item 0 twice, items 2 and 3 never: the first target is behind, the second ties
    assert check.value == 0.0
    assert check.reference["auc"] == pytest.approx((0 + 0.5) / 2)
