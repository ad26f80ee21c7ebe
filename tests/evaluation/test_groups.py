import numpy as np
import pytest

from napo.data.item_groups import ItemGroups
from napo.evaluation.groups import CaseGroups, case_groups, group_tables


def test_users_in_thirds_by_activity_and_by_taste(build_split):
    # training events 3, 6, 9; items 0 and 1 hold 15 of 18: the head of 0.8
    sequences = [[0, 0, 1, 2, 3], [0, 0, 0, 0, 1, 2, 2, 3], [0, 0, 0, 0, 0, 1, 1, 1, 3, 3, 3]]
    activity, taste, targets, *_ = case_groups(build_split(sequences, 5).cases("test"))
    assert activity.name == "users by training events"
    assert activity.labels == ("3 to 3", "6 to 6", "9 to 9")
    assert activity.members.tolist() == np.eye(3, dtype=bool).tolist()
    # shares of the head 3/3, 5/6, 8/9
    assert taste.labels == ("0.83 to 0.83", "0.89 to 0.89", "1.00 to 1.00")
    assert taste.members.argmax(axis=1).tolist() == [2, 0, 1]
    assert targets.labels == ("never in training", "tail", "head (80 % of training)")


def test_users_who_are_alike_stay_together(build_split):
    activity = case_groups(build_split([[0, 1, 2, 3]] * 4, 5).cases("test"))[0]
    assert activity.labels == ("2 to 2",)
    assert activity.members.tolist() == [[True]] * 4


def test_targets_by_popularity_and_by_a_column(build_split):
    # training: item 0 three times, 1 twice, 2 once; targets 0, 2, 3
    cases = build_split([[0, 1, 4, 0], [0, 1, 4, 2], [0, 2, 4, 3]], 5).cases("test")
    column = ItemGroups("genre", ("a", "b"), np.array([[0.5, 0.5], [1, 0], [0, 1], [0, 0], [0, 0]]))
    *_, popularity, genre = case_groups(cases, [column])
    assert popularity.members.tolist() == [[False, False, True], [False, True, False], [True, False, False]]
    assert genre.name == "targets by genre"
    assert genre.members.tolist() == [[True, True], [False, True], [False, False]]  # in both, in one, in none


# --- the table ------------------------------------------------------------------------------------------------------

# 320 users of one case: 110, 110 and, too few, 90 in the last group; ten in none
USERS = np.arange(320)
MEMBERS = np.stack([USERS < 110, (USERS >= 110) & (USERS < 220), (USERS >= 220) & (USERS < 310)], axis=1)
GROUPS = CaseGroups("users by age", ("young", "old", "very old"), MEMBERS)
HITS = np.zeros(320)
HITS[:44] = 1  # 44 of 110
HITS[110:132] = 1  # 22 of 110


def test_hit_rates_by_group_the_gap_and_the_worst():
    (table,) = group_tables([GROUPS], {"mine": [HITS], "all": [np.ones(320)]}, USERS, "HR@1")
    assert (table.labels, table.users, table.cases, table.too_small) == (["young", "old"], [110, 110], [110, 110], 1)
    mine, every = table.rows
    assert [one.value for one in mine.groups] == pytest.approx([0.4, 0.2])
    # sqrt(.4 x .6 / 110) = .0467, as if the others were not there
    assert mine.groups[0].error == pytest.approx(0.0467, abs=0.004)
    assert (mine.gap, mine.worst) == (pytest.approx(0.2), "old")
    assert every.gap == 0.0
    assert every.groups[0].low > 0.9  # Wilson: not a point


def test_groups_over_several_seeds():
    (table,) = group_tables([GROUPS], {"mine": [HITS, HITS]}, USERS, "HR@1")
    found = table.rows[0].groups[1]
    assert found.value == pytest.approx(0.2)
    assert found.error == pytest.approx(np.sqrt(0.2 * 0.8 / 110), rel=0.02)


def test_the_table_as_text():
    (table,) = group_tables([GROUPS], {"mine": [HITS]}, USERS, "HR@1")
    side = table.side
    assert side.header == ["group", "users", "cases", "mine"]
    assert [line[:3] for line in side.body] == [["young", "110", "110"], ["old", "110", "110"], ["gap", "", ""]]
    assert side.body[0][3].startswith("0.400 [")
    assert side.body[2][3] == "0.200"
    assert side.notes == ["not shown: 1 of fewer than 100 users"]
    assert "| young | 110 | 110 | 0.400" in side.markdown()
    assert table.line == "HR@1 gap between users by age: mine 0.200 (worst: old)"


def test_one_group_makes_no_table():
    lone = CaseGroups("users by age", ("young", "old"), MEMBERS[:, 1:])
    assert group_tables([lone], {"mine": [HITS]}, USERS, "HR@1") == []
