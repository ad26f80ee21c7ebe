"""make_split: which events are learnt from and judged by, worked by hand and as properties."""

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from napo.data.log import InteractionLog, make_log
from napo.data.split import SplitSettings, make_split, users_in_words
from napo.errors import UserError


def log_of(**users: list[tuple[str, int] | tuple[str, int, float]]) -> InteractionLog:
    """A log of users, each a list of (item, time) or (item, time, rating); titles are the ids."""
    rows = [(user, *event, *([5.0] if len(event) == 2 else [])) for user, taken in users.items() for event in taken]
    schema = {"user": pl.String, "item": pl.String, "time": pl.Int64, "rating": pl.Float64}
    return make_log(pl.DataFrame(rows, schema=schema, orient="row"), untitled="id", repeats="all")


def walk(count: int, start: int = 0) -> list[tuple[str, int]]:
    """`count` different items, one each unit of time."""
    return [(f"i{item:02d}", start + item) for item in range(count)]


def test_last_tenth_by_hand():
    # 20 events: 2 to test, 2 to validation, 16 to training. 5 events: 1, 1, 3. 4 events: 2 would be left, below 3.
    split = make_split(log_of(a=walk(20), b=walk(5), c=walk(4)))
    assert split.valid_from.tolist() == [16, 3, 4]
    assert split.test_from.tolist() == [18, 4, 4]
    cases = split.cases("test")
    assert (cases.user.tolist(), cases.position.tolist(), cases.target.tolist()) == (
        [0, 0, 1],
        [18, 19, 4],
        [18, 19, 4],
    )
    assert cases.history(1).tolist() == list(range(19))  # the earlier test event belongs to it
    assert split.train(1).tolist() == [0, 1, 2]
    assert users_in_words(split.counts) == "3 users: 2 evaluated, 1 too short"
    # items 0-2 are learnt from by a, b, c; item 3 by a and c; items 4-15 by a alone
    assert split.popularity.tolist() == [3, 3, 3, 2] + [1] * 12 + [0] * 4


def test_leave_one_out_by_hand():
    split = make_split(log_of(a=walk(20), b=walk(5)), SplitSettings(name="leave_one_out"))
    assert split.cases("valid").position.tolist() == [18, 3]
    assert split.cases("test").position.tolist() == [19, 4]


def test_only_liked_events_count_but_all_are_known():
    disliked = [("x", 2, 1.0), ("y", 90, 3.0)]
    log = log_of(a=[(item, 10 * time, 4.0) for item, time in walk(5)] + disliked)
    split = make_split(log, SplitSettings(min_rating=4))
    names = split.catalog.keys
    assert [names[item] for item in split.sequences[0]] == ["i00", "i01", "i02", "i03", "i04"]
    assert {names[item] for item in split.known[0]} == {"i00", "i01", "i02", "i03", "i04", "x", "y"}
    assert len(make_split(log, SplitSettings(min_rating=4, known="liked")).known[0]) == 5
    assert (split.counts["events"], split.counts["events_liked"]) == (7, 5)


def test_global_time_keeps_events_of_one_instant_on_one_side():
    # Ten instants, two events each. A tenth of 20 events is 2: test is instant 9, validation instant 8.
    split = make_split(log_of(a=walk(10), b=walk(10)), SplitSettings(name="global_time", min_history=1))
    assert (split.valid_from.tolist(), split.test_from.tolist()) == ([8, 8], [9, 9])
    # 3 of 20 events would cut instant 8 in two: it goes to test whole, and validation is 7
    split = make_split(log_of(a=walk(10), b=walk(10)), SplitSettings(name="global_time", min_history=1, test=0.15))
    assert (split.valid_from.tolist(), split.test_from.tolist()) == ([7, 7], [8, 8])


def test_short_and_absent_users_are_counted_and_cold_users_are_judged_apart():
    users = {f"u{user:02d}": walk(8) for user in range(30)}
    users |= {"u30": walk(1), "u31": walk(2), "u32": walk(8, start=100)}
    split = make_split(log_of(**users), SplitSettings(name="global_time"))
    # 251 events, 25 to test: the 8 late ones and 17 of the 30 at instant 7, so all of instant 7
    assert users_in_words(split.counts) == (
        "33 users: 30 evaluated, 2 too short, 1 without training events, evaluated apart"
    )
    assert len(split.cases("test")) == 30
    cold = split.cold_cases("test")
    assert [split.user_keys[user] for user in cold.user] == ["u32"] * 8
    assert cold.history(0).tolist() == []
    assert split.counts["test_cold_cases"] == 8


def test_cold_users_are_judged_with_the_others_where_that_is_asked_for():
    users = {f"u{user:02d}": walk(8) for user in range(30)} | {"u32": walk(8, start=100)}
    split = make_split(log_of(**users), SplitSettings(name="global_time", cold="judged"))
    # of the late user's eight events the first three are too little of a history
    cases = split.cases("test")
    late = [case for case in range(len(cases)) if split.user_keys[cases.user[case]] == "u32"]
    assert cases.position[late].tolist() == [3, 4, 5, 6, 7]
    assert len(cases) == 30 + 5
    assert len(split.cold_cases("test")) == 0
    assert (split.counts["test_cold_cases"], split.counts["test_histories_too_short"]) == (0, 3)


def test_a_user_without_liked_events_stays_and_is_counted():
    split = make_split(log_of(a=walk(5), b=[("i00", 0, 1.0)]), SplitSettings(min_rating=4))
    assert split.sequences[1].tolist() == []
    assert split.known[1].tolist() == [0]
    assert users_in_words(split.counts) == "2 users: 1 evaluated, 1 without liked events"


def test_a_target_met_before_is_dropped_and_counted_unless_repeats_are_wanted():
    again = log_of(a=[*walk(5), ("i00", 9)], b=walk(6))  # the last event of a is a repeat
    split = make_split(again)
    assert split.cases("test").user.tolist() == [1]
    assert split.counts["test_targets_seen_before"] == 1
    assert len(make_split(again, SplitSettings(mask_seen="none")).cases("test")) == 2


def test_an_item_met_and_disliked_before_is_met_before():
    log = log_of(a=[("i09", 0, 1.0), *walk(5, start=1), ("i09", 9, 5.0)], b=walk(6))
    assert make_split(log, SplitSettings(min_rating=4)).counts["test_targets_seen_before"] == 1


def test_short_histories_are_dropped_and_counted():
    # test is instant 9; b has two events before, fewer than three
    log = log_of(a=walk(10), b=[("i00", 5), ("i01", 6), ("i02", 9)])
    split = make_split(log, SplitSettings(name="global_time", min_history=3))
    assert split.counts["test_histories_too_short"] == 1
    assert users_in_words(split.counts) == "2 users: 1 evaluated, 1 too short"


def test_equal_times_are_counted():
    log = log_of(a=[("i00", 1), ("i01", 1), ("i02", 2), ("i03", 3), ("i04", 3), ("i05", 3)])
    assert make_split(log).counts["events_at_one_instant"] == 5


@pytest.mark.parametrize(
    ("log", "cut", "what"),
    [
        (log_of(a=walk(3)), SplitSettings(), "no test case is left: the longest user has 3"),
        (log_of(a=walk(5)), SplitSettings(min_rating=6), "no event is rated 6 or more; the highest rating is 5"),
        (log_of(a=[("x", 1), ("y", 1)]), SplitSettings(name="global_time"), "too few instants"),
    ],
)
def test_a_log_that_can_not_be_cut_so_is_a_user_error(log, cut, what):
    with pytest.raises(UserError, match=what):
        make_split(log, cut)


def test_a_log_without_times_or_ratings_can_not_be_cut_by_them():
    log = make_log(pl.DataFrame({"user": ["u"] * 6, "item": list("abcdef")}), untitled="id")
    assert make_split(log).cases("test").target.tolist() == [5]
    with pytest.raises(UserError, match="needs times"):
        make_split(log, SplitSettings(name="global_time"))
    with pytest.raises(UserError, match="needs ratings"):
        make_split(log, SplitSettings(min_rating=4))


def test_settings_that_leave_nothing_to_learn_are_refused():
    with pytest.raises(ValidationError, match="below 1"):
        SplitSettings(name="global_time", valid=0.5, test=0.5)


def test_a_subset_keeps_the_order_and_depends_on_the_seed():
    cases = make_split(log_of(**{f"u{user:02d}": walk(8) for user in range(40)})).cases("test")
    drawn = [cases.subset(10, seed).user.tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] == sorted(set(drawn[0]))
    assert drawn[0] != drawn[2]
    assert cases.subset(40, 0) is cases


@st.composite
def event_rows(draw):
    """Rows (user, item, time, rating) of a few users; no user has two events at one instant."""
    rows = []
    for user in range(draw(st.integers(1, 4))):
        items = draw(st.lists(st.integers(0, 11), min_size=1, max_size=25))
        times = draw(st.lists(st.integers(1, 200), min_size=len(items), max_size=len(items), unique=True))
        ratings = draw(st.lists(st.sampled_from([2.0, 5.0]), min_size=len(items), max_size=len(items)))
        rows += [(f"u{user}", f"i{item:02d}", time, r) for item, time, r in zip(items, times, ratings, strict=True)]
    return rows


SETTINGS = st.builds(
    SplitSettings,
    name=st.sampled_from(["last_tenth", "leave_one_out", "global_time"]),
    min_rating=st.sampled_from([None, 4.0]),
    min_history=st.integers(1, 4),
)


def split_of(rows, cut, repeats):
    schema = {"user": pl.String, "item": pl.String, "time": pl.Int64, "rating": pl.Float64}
    return make_split(make_log(pl.DataFrame(rows, schema=schema, orient="row"), untitled="id", repeats=repeats), cut)


@settings(deadline=None)
@given(rows=event_rows(), cut=SETTINGS, repeats=st.sampled_from(["first", "last", "all"]))
def test_parts_never_overlap_and_every_held_out_event_is_counted_once(rows, cut, repeats):
    try:
        split = split_of(rows, cut, repeats)
    except UserError:
        return
    lengths = np.array([len(sequence) for sequence in split.sequences])
    assert (split.valid_from <= split.test_from).all()
    assert (split.test_from <= lengths).all()
    places = {part: split.cases(part) for part in ("valid", "test")}
    for part, cases in places.items():
        for case in range(len(cases)):
            user, position = cases.user[case], cases.position[case]
            assert position >= max(split.valid_from[user], cut.min_history)
            assert cases.target[case] not in cases.history(case)
            # neither as an event nor as an item is a target among the user's training events
            assert cases.target[case] not in split.train(user)
            assert cases.target[case] in split.known[user]
        reasons = ("targets_seen_before", "cold_cases", "histories_too_short", "cases")
        assert sum(split.counts[f"{part}_{reason}"] for reason in reasons) == split.counts[f"{part}_events"]
    kinds = ("evaluated", "too_short", "without_training_events", "without_liked_events", "only_in_training")
    assert sum(split.counts[f"users_{kind}"] for kind in kinds) == split.counts["users"]
    assert split.counts["training_events"] == split.popularity.sum()


@settings(deadline=None)
@given(rows=event_rows(), repeats=st.sampled_from(["first", "last", "all"]))
def test_by_global_time_training_is_before_validation_is_before_test_for_all_users(rows, repeats):
    try:
        split = split_of(rows, SplitSettings(name="global_time", min_history=1), repeats)
    except UserError:
        return
    cuts = zip(split.times, split.valid_from, split.test_from, strict=True)
    parts = [(times[:v], times[v:t], times[t:]) for times, v, t in cuts]
    train, valid, test = (np.concatenate(part) for part in zip(*parts, strict=True))
    for earlier, later in itertools.combinations((train, valid, test), 2):
        if len(earlier) and len(later):
            assert earlier.max() < later.min()


@settings(deadline=None)
@given(rows=event_rows(), cut=SETTINGS, order=st.randoms())
def test_the_order_of_the_file_changes_nothing(rows, cut, order):
    shuffled = order.sample(rows, len(rows))
    try:
        split = split_of(rows, cut, "first")
    except UserError:
        with pytest.raises(UserError):
            split_of(shuffled, cut, "first")
        return
    assert split.digest == split_of(shuffled, cut, "first").digest


def users_of(count: int, length: int = 6) -> InteractionLog:
    return log_of(**{f"u{user:02d}": walk(length, start=user) for user in range(count)})


def test_users_holds_out_whole_users_one_tenth_each():
    split = make_split(users_of(30), SplitSettings(name="users"))
    valid, test = split.cases("valid"), split.cases("test")
    assert len(set(valid.user)) == len(set(test.user)) == 3
    assert not set(valid.user) & set(test.user)
    for user in range(30):
        held = user in valid.user or user in test.user
        assert len(split.train(user)) == (0 if held else 6)
    # each event of a held-out user is a case, but for the first three, before which there are less than three
    assert sorted(set(test.position.tolist())) == [3, 4, 5]
    assert len(test) == 9
    assert split.counts["test_histories_too_short"] == 9
    assert split.counts["test_cold_cases"] == 0  # that nobody was trained on is what the split is for
    words = "30 users: 3 evaluated, 3 only in validation, 24 with nothing held out"
    assert users_in_words(split.counts) == words


def test_users_depends_on_the_keys_alone_and_never_holds_out_who_has_no_case():
    long = {f"u{user:02d}": walk(6, start=user) for user in range(12)}
    short = {f"s{user:02d}": walk(2, start=user) for user in range(40)}
    split = make_split(log_of(**long, **short), SplitSettings(name="users"))
    again = make_split(log_of(**dict(reversed({**long, **short}.items()))), SplitSettings(name="users"))
    assert again.digest == split.digest
    held = {split.user_keys[user] for part in ("valid", "test") for user in split.cases(part).user}
    assert len(held) == 2
    assert all(key.startswith("u") for key in held)
    assert split.counts["users_too_short"] == 40


def test_users_needs_three_of_them():
    with pytest.raises(UserError, match="too few to hold some of them out"):
        make_split(users_of(2), SplitSettings(name="users"))


@pytest.mark.parametrize("name", ["last_tenth", "leave_one_out", "global_time", "users"])
def test_each_split_says_what_it_leaks(name):
    split = make_split(users_of(30), SplitSettings(name=name))
    assert split.notes[0].startswith(f"split {name}: ")
    assert len(split.notes) == 1  # no two events of a user at one time


def test_the_share_of_events_at_one_instant_is_said():
    tied = [("a", 1), ("b", 1), ("c", 2), ("d", 3), ("e", 4), ("f", 5)]
    split = make_split(log_of(u=tied, v=walk(6)))
    assert split.counts["events_at_one_instant"] == 2
    assert split.notes[1] == "16.7% of events share their time with another of their user: the file's order decides"
