"""split_windows: each row trains or tests its next item alone, worked by hand."""

import numpy as np
import pytest

from napo.data.candidates import draw_candidates, released_candidates
from napo.data.histories import Histories
from napo.data.settings import SplitSettings
from napo.data.split import Split
from napo.data.window_split import split_windows
from napo.data.windows import load_windows
from napo.errors import UserError
from tests.data.row_files import TITLES, ids, settings_of, titled, write, write_items


def split_of(folder, *, train=None, valid, test, titles=TITLES, **keys) -> Split:
    write_items(folder, titles)
    for name, rows in (("train", train), ("valid", valid), ("test", test)):
        if rows is not None:
            write(folder / f"{name}.jsonl", ids(*rows))
    return split_windows(load_windows(settings_of(folder)), SplitSettings(name="files", **{"min_history": 2, **keys}))


TRAIN = [([], 0), ([0], 1), ([0, 1], 2), ([0, 1, 2], 3)]


def test_rows_without_users_by_hand(tmp_path):
    split = split_of(tmp_path, train=TRAIN, valid=[([4, 5], 6)], test=[([6, 5, 4], 7), ([9], 8)])
    assert split.user_keys == ("train:3", "train:4", "valid:1", "test:1", "test:2")  # two are too short to train
    assert [split.train(row).tolist() for row in range(5)] == [[2], [3], [], [], []]
    # popularity is that of next items: what stands in a window has been counted in its own row, if it has one
    assert split.popularity.tolist() == [0, 0, 1, 1, 0, 0, 0, 0, 0, 0]
    assert [split.seen(row).tolist() for row in range(5)] == [[0, 1, 2], [0, 1, 2, 3], [], [], []]
    valid, test = split.cases("valid"), split.cases("test")
    assert (valid.target.tolist(), valid.history(0).tolist()) == ([6], [4, 5])
    assert (test.target.tolist(), test.history(0).tolist()) == ([7], [6, 5, 4])
    assert {name: split.counts[name] for name in ("rows", "training_rows", "training_rows_too_short")} == {
        "rows": 7,
        "training_rows": 2,
        "training_rows_too_short": 2,
    }
    assert (split.counts["test_histories_too_short"], split.counts["test_cases"]) == (1, 1)
    assert (split.unit, test.units.tolist()) == ("rows", [3])
    assert any("intervals resample rows" in note for note in split.notes)


def test_rows_of_one_user_share_what_is_known(tmp_path):
    split = split_of(
        tmp_path,
        train=[([0, 1], 2, "ann"), ([3, 4], 5, "ann"), ([0, 1], 9, "bob")],
        valid=[([3, 4, 5], 6, "ann")],
        test=[([0, 9], 8, "bob"), ([4, 5, 6], 7, "ann")],
    )
    assert split.known[0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7]  # ann's, test items too: no list may hold them
    assert split.seen(0).tolist() == [0, 1, 2, 3, 4, 5]  # training knows nothing of 6 and 7
    assert split.seen(3).tolist() == []
    assert (split.unit, split.cases("test").units.tolist()) == ("users", [1, 0])
    histories = Histories.of(split)
    assert (histories.user_keys, [liked.tolist() for liked in histories.liked]) == (
        ("ann", "bob"),
        [[4, 5, 6, 7], [0, 9, 8]],
    )


def test_nobody_can_be_asked_for_by_name_where_rows_carry_no_user(tmp_path):
    histories = Histories.of(split_of(tmp_path, train=TRAIN, valid=[([4, 5], 6)], test=[([6, 5, 4], 7)]))
    assert histories.user_keys == ()
    histories.save(tmp_path)
    assert Histories.load(tmp_path, 10).liked == ()


def test_without_a_training_file_the_users_of_the_validation_file_are_dealt_out(tmp_path):
    rows = [([0, 1], 2, f"u{user}") for user in range(20) for _ in range(3)]
    split = split_of(tmp_path, valid=rows, test=[([0, 1], 3, "u3"), ([4, 5], 6, "new")])
    trains = [row for row in range(len(rows)) if len(split.train(row))]
    assert (len(trains), len(split.cases("valid")), len(split.cases("test"))) == (54, 6, 2)  # 2 of 20 users validate
    assert not {row // 3 for row in trains} & {row // 3 for row in split.cases("valid").user.tolist()}
    assert any("90% of their users are trained on" in note for note in split.notes)
    again = split_of(tmp_path, valid=rows, test=[([0, 1], 3, "u3"), ([4, 5], 6, "new")])
    assert again.digest == split.digest


def test_rows_without_users_are_not_dealt_out(tmp_path):
    with pytest.raises(UserError, match="can't be dealt out"):
        split_of(tmp_path, valid=[([0, 1], 2)], test=[([0, 1], 3)])


def test_a_target_from_its_own_window_is_counted_and_left_out_unless_repeats_count(tmp_path):
    rows = {"train": TRAIN, "valid": [([4, 5], 6)], "test": [([6, 5], 6), ([0, 1], 2)]}
    split = split_of(tmp_path, **rows)
    assert (split.counts["test_targets_seen_before"], split.counts["test_cases"]) == (1, 1)
    assert split_of(tmp_path, **rows, mask_seen="none").counts["test_cases"] == 2


def test_nothing_to_train_on_is_a_clear_mistake(tmp_path):
    with pytest.raises(UserError, match="0 training rows and 1 test cases"):
        split_of(tmp_path, train=TRAIN, valid=[([4, 5, 6, 7], 8)], test=[([6, 5, 4, 3], 7)], min_history=4)


MANY = [f"Artist {item}" for item in range(60)]


def test_fresh_lists_avoid_the_window_and_are_drawn_by_row(tmp_path):
    test = [([row, row + 1], 50) for row in range(40)]  # one target in all
    split = split_of(tmp_path, train=TRAIN, valid=[([4, 5], 6)], test=test, titles=MANY)
    lists = draw_candidates(split.cases("test"), count=10)
    key = split.catalog.keys
    for row, (items, slot) in enumerate(zip(lists.items, lists.slot, strict=True)):
        assert key[items[slot]] == "50"
        assert not {str(row), str(row + 1)} & {key[item] for item in items}
    assert len(set(lists.slot.tolist())) > 5  # seeded by the target they would all be one


def test_where_repeats_count_a_list_avoids_the_users_other_items_but_not_the_window(tmp_path):
    titles = MANY[:6]
    split = split_of(
        tmp_path,
        train=[([0, 1], 2, "ann")],
        valid=[([1, 2], 3, "ann")],
        test=[([2, 3], 4, "ann")],
        titles=titles,
        mask_seen="none",
    )
    lists = draw_candidates(split.cases("test"), count=4)  # of 0, 1 (ann's others), 2, 3 (shown), 4 (target), 5
    assert sorted(lists.items[0].tolist()) == [2, 3, 4, 5]


def test_released_lists_keep_their_order_and_cases_without_one_are_left_out(tmp_path):
    write_items(tmp_path)
    write(tmp_path / "train.jsonl", ids(*TRAIN))
    write(tmp_path / "valid.json", titled(("Air::Moby", "Björk", ["Ke$ha", "Björk"])))
    rows = [("Air::Moby", "Ke$ha", ["Ke$ha", "Björk"]), ("Moby::Air", "Björk", ["Plus 44", "Björk"])]
    write(tmp_path / "test.json", titled(*rows))
    windows = load_windows(settings_of(tmp_path))
    split = split_windows(windows, SplitSettings(name="files", min_history=2))
    listed = {window.key: window.listed for window in windows.windows}
    released = [None if (row := listed[key]) is None else np.array(row) for key in split.user_keys]
    cases, lists = released_candidates(split.cases("test"), released)
    assert len(split.cases("test")) == 2
    assert (cases.target.tolist(), lists.items.tolist(), lists.slot.tolist()) == ([3], [[3, 2]], [0])
    lists.check(cases)
    assert lists.negatives == "as released"
    with pytest.raises(UserError, match="no test case has a candidate list"):
        released_candidates(split.cases("test"), [None] * len(released))
    with pytest.raises(UserError, match="lists of 2, 3 candidates"):
        released_candidates(split.cases("test"), [*released[:-1], np.array([2, 3, 4])])
