"""joined: windows that slide along one sequence, put together by hand; and what a split makes of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napo.data.joined import joined
from napo.data.windows import Window
from tests.data.test_window_split import TRAIN, split_of


def windows_of(*rows):
    """(history, next) or (history, next, user) as training windows."""
    return [Window("train", place + 1, tuple(row[0]), row[1], *row[2:]) for place, row in enumerate(rows)]


def test_two_sequences_by_hand():
    rows = [([], 0), ([0], 1), ([0, 1], 2), ([1, 2], 3), ([], 4), ([4], 5)]  # the window holds two items
    whole = joined(windows_of(*rows))
    assert [(one.window.items.tolist(), one.own, one.window.key) for one in whole] == [
        ([0, 1, 2, 3], 4, "train:1"),
        ([4, 5], 2, "train:5"),
    ]


def test_a_window_that_does_not_go_on_begins_a_sequence():
    rows = [([7, 0], 1), ([0, 1], 2), ([9, 1, 2], 3), ([3], 4)]  # another past; a window that has shrunk
    assert [(one.window.items.tolist(), one.own) for one in joined(windows_of(*rows))] == [
        ([7, 0, 1, 2], 2),
        ([9, 1, 2, 3], 1),
        ([3, 4], 1),
    ]


def test_windows_of_two_users_stay_apart():
    assert len(joined(windows_of(([], 0, "ann"), ([0], 1, "bob")))) == 2


@given(
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=12), min_size=1, max_size=4),
    st.integers(1, 5),
)
def test_cutting_and_joining_gives_the_sequences_again(sequences, width):
    rows = [
        (sequence[max(0, place - width) : place], item) for sequence in sequences for place, item in enumerate(sequence)
    ]
    whole = joined(windows_of(*rows))
    assert [one.window.items.tolist() for one in whole] == sequences
    assert [one.own for one in whole] == [len(sequence) for sequence in sequences]


def test_a_split_trains_what_is_new_in_each_window(tmp_path):
    split = split_of(tmp_path, train=[*TRAIN, ([5], 6)], valid=[([4, 5], 6)], test=[([6, 5, 4], 7)], join=True)
    assert split.user_keys == ("train:1", "valid:1", "test:1")  # train:5 ends before it has a history of two
    assert [split.train(row).tolist() for row in range(3)] == [[0, 1, 2, 3], [], []]
    assert split.popularity.tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    assert (split.cases("valid").target.tolist(), split.cases("test").target.tolist()) == ([6], [7])
    assert (split.counts["training_rows"], split.counts["training_rows_too_short"]) == (1, 1)
    assert not split.trains_one_each


def test_what_is_judged_is_the_same_joined_or_not(tmp_path):
    parts = {"train": TRAIN, "valid": [([4, 5], 6)], "test": [([6, 5, 4], 7), ([6, 6], 6)]}
    alone, whole = split_of(tmp_path, **parts), split_of(tmp_path, **parts, join=True)
    for part in ("valid", "test"):
        one, other = alone.cases(part), whole.cases(part)
        np.testing.assert_array_equal(one.target, other.target)
        assert [one.history(case).tolist() for case in range(len(one.target))] == [
            other.history(case).tolist() for case in range(len(other.target))
        ]


def test_joining_is_for_rows_alone():
    from napo.data.settings import SplitSettings

    with pytest.raises(ValueError, match="`join` is of rows"):
        SplitSettings(join=True)
