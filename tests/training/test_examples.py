import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napo.errors import UserError
from napo.scoring.batch import Frame
from napo.scoring.tree import PrefixTree
from napo.training.examples import Layout, Limits, Plan, Span, check_titles_fit, kept_back, left_in
from tests.tiny_world import split_of

ITEMS = 40
# the title of item i has 2, 3 or 4 tokens, the end token (1) among them
TREE = PrefixTree.build([[5 + item, *[3] * (item % 3), 1] for item in range(ITEMS)], end=1)
LENGTHS = np.array([2 + item % 3 for item in range(ITEMS)])
FRAME = Frame(np.array([0, 2]))  # two words


def layout(*lengths: int, history: int = 50, tokens: int = 512) -> Layout:
    """Users with so many training events each, and two more."""
    sequences = [np.random.default_rng(user).permutation(ITEMS)[: length + 2] for user, length in enumerate(lengths)]
    return Layout(split_of(sequences, ITEMS), TREE, FRAME, Limits(history, tokens))


def all_spans(rows: Layout, per_row: int) -> list[Span]:
    begin, end = kept_back(rows.split, 0.0)
    return rows.spans(begin * 0, end, per_row)


@given(
    lengths=st.lists(st.integers(1, 25), min_size=1, max_size=4),
    per_row=st.integers(1, 12),
    history=st.integers(1, 10),
    tokens=st.integers(6, 60),
)
def test_every_training_event_is_trained_exactly_once_a_pass(lengths, per_row, history, tokens):
    rows = layout(*lengths, history=history, tokens=tokens)
    trained = []
    for span in all_spans(rows, per_row):
        row = rows.trajectory(span)
        trained += [(row.user, int(position)) for position in row.positions]
        sequence = rows.split.sequences[row.user]
        first = span.end - len(row.items)
        # one stretch of the user's events: what falls out for want of room is the oldest
        np.testing.assert_array_equal(row.items, sequence[first : span.end])
        np.testing.assert_array_equal(row.chosen, row.items[row.at])
        np.testing.assert_array_equal(row.chosen, sequence[row.positions])
        assert first >= span.begin - history
        assert FRAME.words + LENGTHS[row.items].sum() <= tokens
    assert sorted(trained) == [(user, place) for user, length in enumerate(lengths) for place in range(length)]


def test_a_trajectory_shows_the_history_limits_events_before_the_first_that_it_trains():
    rows = layout(10, history=4)
    row = rows.trajectory(Span(0, 6, 8))
    np.testing.assert_array_equal(row.items, rows.split.sequences[0][2:8])
    assert row.positions.tolist() == [6, 7]
    assert row.at.tolist() == [4, 5]


def test_a_history_too_long_loses_its_oldest_events_whole():
    sequence = [0, 1, 2, 3, 4, 5, 6, 7]  # titles of 2 3 4 2 3 4 2 3 tokens
    rows = Layout(split_of([sequence], ITEMS), TREE, FRAME, Limits(50, tokens=14))
    # 12 tokens beside the two words: the titles of 5, 4, 3 take 4 + 3 + 2 = 9, with that of 2 it would be 13
    assert rows.trajectory(Span(0, 5, 6)).items.tolist() == [3, 4, 5]
    # in a prompt the longest title (4) has its room beside the row: 8 tokens are left, 3 + 2 = 5, with 2's title 9
    prompt = rows.prompt(Span(0, 5, 6))
    assert prompt.items.tolist() == [3, 4]
    assert (prompt.chosen.tolist(), prompt.at.tolist(), prompt.positions.tolist()) == ([5], [2], [5])
    # and with one candidate listed, another 4 tokens are taken: 4 left, 3 for the title of 4
    assert rows.prompt(Span(0, 5, 6), listed=1).items.tolist() == [4]


def test_a_prompt_shows_at_most_the_history_limit():
    rows = layout(10, history=3)
    np.testing.assert_array_equal(rows.prompt(Span(0, 7, 8)).items, rows.split.sequences[0][4:7])
    assert rows.prompt(Span(0, 0, 1)).items.tolist() == []


def test_a_trajectorys_overlap_may_be_shorter_than_a_prompts_history():
    rows = Layout(layout(10).split, TREE, FRAME, Limits(4, 512, overlap=1))
    sequence = rows.split.sequences[0]
    assert rows.trajectory(Span(0, 6, 8)).items.tolist() == sequence[5:8].tolist()
    assert rows.trajectory(Span(0, 6, 8)).at.tolist() == [1, 2]
    assert rows.prompt(Span(0, 6, 7)).items.tolist() == sequence[2:6].tolist()


@given(
    lengths=st.lists(st.integers(1, 25), min_size=1, max_size=4),
    per_row=st.integers(1, 12),
    tokens=st.integers(6, 200),
    seed=st.integers(0, 20),
)
def test_rows_that_are_cut_elsewhere_each_epoch_still_train_every_event_once(lengths, per_row, tokens, seed):
    rows = layout(*lengths, tokens=tokens)
    counts = set()
    for epoch in range(3):
        spans = rows.shifted_spans(np.zeros(len(lengths), dtype=np.int64), np.array(lengths), per_row, epoch, seed)
        trained = [(row.user, int(at)) for row in map(rows.trajectory, spans) for at in row.positions]
        assert sorted(trained) == [(user, place) for user, length in enumerate(lengths) for place in range(length)]
        assert max(span.end - span.begin for span in spans) <= per_row
        counts.add(len(spans))
    assert len(counts) == 1  # the number of steps does not hang on chance


def test_the_first_row_has_any_number_of_events_that_leaves_the_number_of_rows_alone():
    rows = layout(10)
    firsts = {rows.shifted_spans(np.array([0]), np.array([10]), 4, epoch, 0)[0].end for epoch in range(200)}
    assert firsts == {2, 3, 4}  # 10 = 2 + 4 + 4 = 3 + 4 + 3 = 4 + 4 + 2; with 1 first it would take 4 rows
    even = {rows.shifted_spans(np.array([2]), np.array([10]), 4, epoch, 0)[0].end for epoch in range(200)}
    assert even == {3, 4, 5}  # 8 = 1 + 4 + 3 = 2 + 4 + 2 = 3 + 4 + 1


def test_a_plan_may_be_cut_anew_each_epoch():
    cut = {0: [Span(0, 0, 2), Span(0, 2, 4)], 1: [Span(0, 0, 1), Span(0, 1, 4)]}
    plan = Plan(lambda epoch: cut[epoch], 1, epochs=2, seed=0)
    found = [plan.batch(step) for step in (2, 0, 3, 1)]
    assert [epoch for epoch, _ in found] == [1, 0, 1, 0]
    assert {spans[0] for epoch, spans in found if epoch == 1} == set(cut[1])
    assert {spans[0] for epoch, spans in found if epoch == 0} == set(cut[0])


def test_trained_titles_take_at_most_half_of_a_row_so_that_history_has_the_other():
    rows = layout(20, tokens=2 + 24)
    for span in all_spans(rows, per_row=100):
        trained = rows.split.sequences[0][span.begin : span.end]
        assert LENGTHS[trained].sum() <= 12


def test_a_title_that_can_never_stand_in_a_row_is_refused():
    # 2 words, a title of 4 tokens and 3 candidates of as many: 18
    check_titles_fit(TREE, FRAME, Limits(50, 18), listed=3)
    with pytest.raises(UserError, match=r"a title of 4 tokens and 3 candidates") as refused:
        check_titles_fit(TREE, FRAME, Limits(50, 17), listed=3)
    assert refused.value.remedy == "at least 18"
    with pytest.raises(UserError, match="a row of 5 tokens"):
        check_titles_fit(TREE, FRAME, Limits(50, 5), listed=0)


def test_the_newest_share_of_each_users_events_is_kept_back():
    # floor(10 x 0.3) = 3, floor(4 x 0.3) = 1, floor(3 x 0.3) = 0
    first, end = kept_back(layout(10, 4, 3).split, 0.3)
    assert first.tolist() == [7, 3, 3]
    assert end.tolist() == [10, 4, 3]
    assert kept_back(layout(10).split, 0.0)[0].tolist() == [10]


def test_what_an_epoch_leaves_out_depends_on_seed_epoch_and_user_alone():
    split = layout(20, 20).split
    kept = left_in(split, 0, epoch=1, share_out=0.4, seed=5)
    np.testing.assert_array_equal(kept, left_in(split, 0, epoch=1, share_out=0.4, seed=5))
    others = [
        left_in(split, 0, epoch=2, share_out=0.4, seed=5),
        left_in(split, 1, epoch=1, share_out=0.4, seed=5),
        left_in(split, 0, epoch=1, share_out=0.4, seed=6),
    ]
    assert all((kept != other).any() for other in others)
    assert left_in(split, 0, epoch=1, share_out=0.0, seed=5) is None


def test_about_the_asked_share_is_left_out():
    split = layout(*[38] * 100).split
    kept = np.concatenate([left_in(split, user, epoch=0, share_out=0.2, seed=0) for user in range(100)])
    assert kept.mean() == pytest.approx(0.8, abs=0.02)  # 3,800 draws: a standard error of 0.0065


@given(seed=st.integers(0, 50), per_row=st.integers(1, 8))
def test_an_item_left_out_is_neither_shown_nor_trained_and_the_others_are_trained_once(seed, per_row):
    rows = layout(20, history=6)
    kept = left_in(rows.split, 0, epoch=0, share_out=0.5, seed=seed)
    sequence = rows.split.sequences[0]
    trained = []
    for span in all_spans(rows, per_row):
        row = rows.trajectory(span, kept)
        if kept[span.begin : span.end].any():
            shown = [place for place in range(max(0, span.begin - 6), span.end) if kept[place]]
            assert row.items.tolist() == sequence[shown].tolist()
            trained += row.positions.tolist()
        else:  # a row of nothing would train nothing: its last event stays, behind what else is kept
            shown = [place for place in range(max(0, span.begin - 6), span.begin) if kept[place]]
            assert row.items.tolist() == sequence[[*shown, span.end - 1]].tolist()
            assert row.positions.tolist() == [span.end - 1]
        np.testing.assert_array_equal(row.chosen, row.items[row.at])
    assert trained == np.flatnonzero(kept[:20]).tolist()


def test_in_prompts_an_item_left_out_is_not_shown_but_still_asked_for():
    rows = layout(6)
    kept = np.array([True, False, True, True, False, True])
    assert rows.prompt(Span(0, 4, 5), kept).items.tolist() == rows.split.sequences[0][[0, 2, 3]].tolist()
    assert rows.prompt(Span(0, 4, 5), kept).chosen.tolist() == rows.split.sequences[0][[4]].tolist()


def spans_of(count: int) -> list[Span]:
    return [Span(user, 0, 1 + user % 30) for user in range(count)]


@pytest.mark.parametrize("batch", [1, 4, 7, 50])
def test_each_epoch_trains_all_the_spans_once(batch):
    plan = Plan(spans_of(30), batch, epochs=3, seed=0)
    assert len(plan) == 3 * plan.steps
    for epoch in range(3):
        steps = [plan.batch(step) for step in range(epoch * plan.steps, (epoch + 1) * plan.steps)]
        assert {of for of, _ in steps} == {epoch}
        spans = [span for _, batch_spans in steps for span in batch_spans]
        assert sorted(spans, key=lambda span: span.user) == plan.spans
        assert all(len(batch_spans) <= batch for _, batch_spans in steps)


def test_the_order_is_another_each_epoch_and_the_same_for_whoever_asks():
    plan, again = Plan(spans_of(40), 4, epochs=2, seed=1), Plan(spans_of(40), 4, epochs=2, seed=1)
    steps = [plan.batch(step) for step in range(len(plan))]
    assert [again.batch(step) for step in reversed(range(len(again)))] == steps[::-1]
    first, second = ([spans for epoch, spans in steps if epoch == of] for of in (0, 1))
    assert first != second
    assert {frozenset(spans) for spans in first} != {frozenset(spans) for spans in second}  # other company, too
    assert Plan(spans_of(40), 4, epochs=2, seed=2).batch(0) != steps[0]


def test_rows_of_like_length_share_a_batch():
    plan = Plan(spans_of(300), 10, epochs=1, seed=0)
    spreads = [np.ptp([span.end for span in plan.batch(step)[1]]) for step in range(len(plan))]
    assert np.mean(spreads) < 5  # of lengths from 1 to 30


def test_a_part_of_an_epoch_is_so_many_of_its_steps():
    assert len(Plan(spans_of(40), 4, epochs=0.5, seed=0)) == 5
    assert len(Plan(spans_of(40), 4, epochs=0.01, seed=0)) == 1


def test_nothing_to_train_on_is_said():
    with pytest.raises(UserError, match="nothing to train on"):
        Plan([], 4, epochs=1, seed=0)


def test_shifted_rows_train_every_event_once_and_keep_their_number():
    rows = layout(1, 2, 9, 10, 11, 23, history=10, tokens=64)
    end = rows.split.valid_from
    cuts = set()
    for epoch in range(6):
        spans = rows.shifted_spans(end * 0, end, 5, epoch, seed=0)
        trained = sorted((span.user, event) for span in spans for event in range(span.begin, span.end))
        assert trained == [(user, event) for user in range(len(end)) for event in range(end[user])]
        assert max(span.end - span.begin for span in spans) <= 5
        # a full row more where nothing is left over, since it is never cut at the same places as unshifted rows
        assert len(spans) == sum(-(-n // 5) + (n % 5 == 0) for n in end.tolist())
        cuts.add(tuple(spans))
    assert len(cuts) > 1
    assert rows.shifted_spans(end * 0, end, 5, 3, seed=0) == rows.shifted_spans(end * 0, end, 5, 3, seed=0)


def test_an_overlap_repeats_so_many_items_before_a_row():
    split = layout(12).split
    for overlap in (0, 2):
        rows = Layout(split, TREE, FRAME, Limits(10, 64, overlap=overlap))
        assert rows.trajectory(Span(0, 5, 9)).at.tolist() == [overlap + place for place in range(4)]


def test_a_plan_takes_other_rows_each_epoch():
    plan = Plan(lambda epoch: [Span(user, epoch, epoch + 1) for user in range(4)], 2, epochs=3, seed=0)
    assert [plan.batch(step)[1][0].begin for step in range(6)] == [0, 0, 1, 1, 2, 2]
    assert plan.batch(1)[1][0].begin == 0
