"""draw_candidates: distinct, unknown to the user, the target in its slot, and no trace of the target in the draw."""

import dataclasses
import random

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napo.data.candidates import CandidateLists, draw_candidates, popularity_tenths
from napo.data.log import make_log
from napo.data.split import Split, SplitSettings, make_split
from napo.errors import UserError


def rows_of(users: int, items: int, length: int, seed: int = 0) -> list[tuple[str, str, int]]:
    """Each user takes `length` different items of `items`, smaller numbers more often, one each unit of time."""
    chance = random.Random(seed)
    rows = []
    for user in range(users):
        taken = sorted(range(items), key=lambda item: chance.expovariate(1 / (1 + item)))[:length]
        rows += [(f"u{user:03d}", f"i{item:03d}", time) for time, item in enumerate(chance.sample(taken, length))]
    return rows


def split_of(rows: list[tuple[str, str, int]], items: int, titles: dict[int, str] | None = None, **keys) -> Split:
    events = pl.DataFrame(rows, schema={"user": pl.String, "item": pl.String, "time": pl.Int64}, orient="row")
    named = [(titles or {}).get(item, f"Title {item}") for item in range(items)]
    listed = pl.DataFrame({"item": [f"i{item:03d}" for item in range(items)], "title": named})
    return make_split(make_log(events, listed, repeats="all"), SplitSettings(**keys))


ROWS = rows_of(users=40, items=60, length=20)
SPLIT = split_of(ROWS, 60)
CASES = SPLIT.cases("test")


@pytest.mark.parametrize("negatives", ["uniform", "popularity", "matched"])
@settings(max_examples=30, deadline=None)
@given(count=st.integers(2, 30), list_seed=st.integers(0, 5))
def test_candidates_are_distinct_unknown_to_the_user_and_hold_the_target_in_its_slot(negatives, count, list_seed):
    lists = draw_candidates(CASES, count, list_seed, negatives)
    assert lists.items.shape == (len(CASES), count)
    for case in range(len(CASES)):
        items, slot = lists.items[case], lists.slot[case]
        assert items[slot] == CASES.target[case]
        assert len(set(items.tolist())) == count
        assert not set(np.delete(items, slot).tolist()) & set(SPLIT.known[CASES.user[case]].tolist())


@settings(max_examples=15, deadline=None)
@given(order=st.randoms(), negatives=st.sampled_from(["uniform", "popularity", "matched"]))
def test_lists_do_not_depend_on_the_order_of_the_file(order, negatives):
    shuffled = split_of(order.sample(ROWS, len(ROWS)), 60)
    assert draw_candidates(shuffled.cases("test"), negatives=negatives).digest == (
        draw_candidates(CASES, negatives=negatives).digest
    )


def test_a_users_list_does_not_depend_on_who_else_is_there_or_on_which_cases_are_drawn():
    some = [row for row in ROWS if row[0] >= "u020"]  # without the first users, all users have other numbers
    alone = split_of(some, 60).cases("test")
    whole = draw_candidates(CASES)
    here = [case for case in range(len(CASES)) if SPLIT.user_keys[CASES.user[case]] >= "u020"]
    assert np.array_equal(draw_candidates(alone).items, whole.items[here])
    assert np.array_equal(draw_candidates(CASES.take(np.array(here))).items, whole.items[here])


def test_another_target_leaves_slot_and_companions_as_they_are():
    # the same case with another of the user's own items as its target: nothing else may move
    other = np.array([SPLIT.sequences[user][0] for user in CASES.user])
    lists, swapped = draw_candidates(CASES), draw_candidates(dataclasses.replace(CASES, target=other))
    assert np.array_equal(lists.slot, swapped.slot)
    rest = np.arange(20) != lists.slot[:, None]
    assert np.array_equal(lists.items[rest], swapped.items[rest])


def test_list_seeds_parts_and_positions_draw_different_lists():
    one, two = draw_candidates(CASES, list_seed=0), draw_candidates(CASES, list_seed=1)
    assert one.digest != two.digest
    assert not np.array_equal(one.slot, two.slot)
    first, second = one.items[0], one.items[1]  # user 0 has two cases
    assert CASES.user[0] == CASES.user[1]
    assert set(first.tolist()) != set(second.tolist())


def test_slots_and_uniform_negatives_are_even():
    split = split_of(rows_of(users=400, items=60, length=20), 60)
    lists = draw_candidates(split.cases("test"), count=5)
    slots = np.bincount(lists.slot, minlength=5)
    # 800 cases, 160 a slot, standard deviation sqrt(800 * .2 * .8) = 11.3
    assert slots.sum() == 800
    assert abs(slots - 160).max() < 4 * 11.3


def one_user(taken: int, items: int) -> Split:
    """User u000 takes items 0, 1, ...; ten others make item 40 taken 10 times, all others at most once."""
    rows = [("u000", f"i{item:03d}", item) for item in range(taken)]
    rows += [
        (f"v{other}", f"i{item:03d}", time) for other in range(10) for time, item in enumerate((40, 41 + other, 51, 52))
    ]
    return split_of(rows, items)


def test_popularity_draws_in_proportion_to_training_events():
    split = one_user(taken=5, items=100)
    cases = split.cases("test")
    assert len(cases) == 1
    # weights: item 40, 51, 52 have 10 each, the 10 items 41-50 and all other 82 unknown items 1 each: 10 / 122
    hits = [40 in draw_candidates(cases, 2, seed, "popularity").items for seed in range(500)]
    assert np.mean(hits) == pytest.approx(10 / 122, abs=4 * np.sqrt(0.082 * 0.918 / 500))


def test_matched_negatives_come_from_the_targets_tenth():
    lists = draw_candidates(CASES, 3, 0, "matched")
    tenths = popularity_tenths(SPLIT.popularity)
    distance = np.abs(tenths[lists.items] - tenths[CASES.target][:, None])
    uniform = np.abs(tenths[draw_candidates(CASES, 3).items] - tenths[CASES.target][:, None])
    assert distance.mean() < uniform.mean() / 2


def test_tenths_by_hand():
    # ten items, popularity 0 three times: all three in the lowest tenth, the next begins at 3
    assert popularity_tenths(np.array([5, 0, 0, 0, 1, 2, 9, 9, 7, 3])).tolist() == [6, 0, 0, 0, 3, 4, 8, 8, 7, 5]


def test_never_two_of_one_title_nor_the_targets_title():
    # items 10-59 come as 25 pairs of one title
    titles = {item: f"Twin {item // 2}" for item in range(10, 60)}
    split = split_of(rows_of(users=20, items=60, length=12), 60, titles)
    cases = split.cases("test")
    groups = split.catalog.title_groups[draw_candidates(cases, 10).items]
    assert all(len(set(row.tolist())) == 10 for row in groups)


def test_with_repeats_only_the_target_and_later_items_are_avoided():
    rows = [("u", f"i{item:03d}", time) for time, item in enumerate([0, 1, 2, 3, 4, 5, 0])]
    cases = split_of(rows, 7, mask_seen="none").cases("valid")  # position 5 of 7: target 5, then 0
    lists = draw_candidates(cases, 6)
    assert set(lists.items[0].tolist()) == {1, 2, 3, 4, 5, 6}


def test_a_user_who_knows_nearly_all_is_named():
    split = one_user(taken=95, items=100)
    with pytest.raises(UserError, match="one user leaves 5 of the catalog's 100") as caught:
        draw_candidates(split.cases("test"), 20)
    assert "at most 6 candidates" in (caught.value.remedy or "")
    assert draw_candidates(split.cases("test"), 6).items.shape[1] == 6


def test_one_candidate_is_no_list():
    with pytest.raises(UserError, match="nothing to tell apart"):
        draw_candidates(CASES, 1)


def test_saved_lists_come_back_and_know_their_cases(tmp_path):
    lists = draw_candidates(CASES, 7, 3, "matched")
    lists.save(tmp_path / "lists.npz")
    back = CandidateLists.load(tmp_path / "lists.npz", CASES)
    assert np.array_equal(back.items, lists.items)
    assert (back.list_seed, back.negatives, back.digest) == (3, "matched", lists.digest)
    with pytest.raises(UserError, match="another split or other cases"):
        CandidateLists.load(tmp_path / "lists.npz", SPLIT.cases("valid"))


def test_changed_lists_and_broken_files_are_refused(tmp_path):
    lists = draw_candidates(CASES)
    path = tmp_path / "lists.npz"
    dataclasses.replace(lists, items=lists.items[:, ::-1]).save(path)
    with pytest.raises(UserError, match="checksum"):
        CandidateLists.load(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="no candidate lists"):
        CandidateLists.load(path)
    with pytest.raises(UserError, match="no candidate lists"):
        CandidateLists.load(tmp_path / "missing.npz")
