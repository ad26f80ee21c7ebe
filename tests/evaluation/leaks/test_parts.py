from dataclasses import replace

import numpy as np
import pytest

from napo.data.candidates import draw_candidates
from napo.data.settings import SplitSettings
from napo.data.window_split import split_windows
from napo.data.windows import load_windows
from napo.evaluation.leaks import LeakInputs
from napo.evaluation.leaks.parts import DAY, _popularity_before, duplicates, future
from tests.data.row_files import ids, settings_of, write, write_items


def test_honest_parts_hold_no_case_twice(world):
    check = duplicates(world)
    assert (check.value, check.verdict) == (0.0, "ok")
    assert check.reference["in_two_parts"] == check.reference["pairs"] == 0


def test_a_split_whose_training_reaches_into_the_test_fails(world):
    late = replace(world.split, valid_from=world.split.valid_from + 3)  # the cut of training is put three too late
    cases = replace(world.test_cases, split=late)
    check = duplicates(replace(world, test_cases=cases))
    assert check.verdict == "FAIL"
    assert check.value == 0.5  # one of the two test events of each user
    assert check.reference["pairs"] == 3 * len(late.user_keys)  # both validation events besides


def test_validation_that_is_the_test_fails(world):
    check = duplicates(replace(world, valid_cases=world.test_cases, valid_lists=world.test_lists))
    assert (check.value, check.verdict) == (1.0, "FAIL")


def test_one_person_under_two_names_warns(world, with_split):
    doubled = [*world.split.sequences[:40], *world.split.sequences[:40]]
    check = duplicates(with_split(replace(world.split, sequences=tuple(doubled))))
    assert check.reference["twins"] == 1.0
    assert check.verdict == "WARN"


def test_twins_need_the_whole_history_in_the_same_order(build_split):
    def twins(*sequences):
        split = build_split(sequences, items=9)
        valid, test = split.cases("valid"), split.cases("test")
        return duplicates(LeakInputs(valid, draw_candidates(valid, 2), test, draw_candidates(test, 2))).reference[
            "twins"
        ]

    assert twins([0, 1, 2, 3], [0, 1, 2, 4]) == 0.5  # both validation cases, neither test case
    assert twins([0, 1, 2, 3], [1, 0, 2, 3]) == 0.0


def test_training_that_ends_before_the_test_knows_no_future(world):
    check = future(world)
    assert (check.value, check.verdict) == (0.0, "ok")
    assert check.reference["lag_days"] == check.reference["later"] == 0.0
    assert check.reference["popular"] == check.reference["popular_before"]


def test_training_that_goes_on_after_the_test_warns(world, with_split):
    # one user after the other, a hundred days apart: all but the last user's cases have training events behind them
    times = tuple(DAY * (100 * user + np.arange(20)) for user in range(80))
    check = future(with_split(replace(world.split, times=times)))
    assert check.value == pytest.approx(79 / 80)
    assert check.verdict == "WARN"
    # cases of day 100 u + 18.5, training until day 7915: the median over users 0 to 78
    assert check.reference["lag_days"] == pytest.approx(7915 - 100 * 39 - 18.5)
    assert check.reference["later"] == pytest.approx(np.mean([(79 - user) / 80 for user in range(80)]))
    assert "global_time" in check.note


def test_popularity_before_a_case_by_hand():
    items, times = np.array([7, 7, 3, 7]), np.array([10, 20, 20, 30])
    counts = _popularity_before(items, times, np.array([[7, 3], [7, 3], [3, 7]]), np.array([20, 21, 99]))
    assert counts.tolist() == [[1, 0], [2, 1], [1, 3]]


@pytest.mark.parametrize("user", [(), ("ann",)])
@pytest.mark.parametrize(("test_row", "same"), [(([0, 1], 2), True), (([0, 1, 2], 3), False), (([1, 0], 2), False)])
def test_rows_are_the_same_example_where_they_hold_the_same(tmp_path, test_row, same, user):
    write_items(tmp_path)
    for name, row in (("train", ([0, 1], 2)), ("valid", ([6, 5], 4)), ("test", test_row)):
        write(tmp_path / f"{name}.jsonl", ids((*row, *user)))
    split = split_windows(load_windows(settings_of(tmp_path)), SplitSettings(name="files", min_history=2))
    valid, test = split.cases("valid"), split.cases("test")
    check = duplicates(LeakInputs(valid, draw_candidates(valid, 4), test, draw_candidates(test, 4)))
    assert check.value == same  # one window that goes on from another is another example
    # without users it may be two who did the same: nothing fails for it
    assert check.verdict == ("ok" if not same else "FAIL" if user else "WARN")
