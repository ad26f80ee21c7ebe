import numpy as np
import pytest
import torch

from napo.models.policy import LanguagePolicy
from napo.negatives import uniform
from napo.negatives._protocol import SamplerContext
from napo.objectives import sft
from napo.scoring.batch import NONE, Frame, Row
from napo.scoring.naive import naive_title_log_probs
from napo.scoring.tree import PrefixTree
from napo.training.batches import AuxiliaryVectors, Drawing, RowSettings, TrainingBatches
from napo.training.examples import Layout, Limits, Plan
from napo.training.module import PreferenceModule
from tests.processes import printed
from tests.scoring.toys import llama
from tests.tiny_world import equal, split_of

ITEMS = 30
TREE = PrefixTree.build([[5 + item, *[3] * (item % 3), 1] for item in range(ITEMS)], end=1)
NEXT, LIST = Frame(np.array([0, 2])), Frame(np.array([0, 2]), np.array([4]), np.array([4, 2]))
# users with 6, 9 and 3 training events
SPLIT = split_of(
    [np.random.default_rng(user).permutation(ITEMS)[:length] for user, length in enumerate([8, 11, 5])], ITEMS
)
SAMPLER = uniform.Sampler(SamplerContext(ITEMS, SPLIT.popularity), uniform.Settings())


def settings(form="trajectory", normalize="catalog", frame=NEXT, history=50, **others) -> RowSettings:
    layout = Layout(SPLIT, TREE, frame, Limits(history, 512))
    others = {"drawing": Drawing(SAMPLER, 3), **others}
    return RowSettings(layout, TREE, frame, normalize, form, seed=4, **others)


def batches(made: RowSettings, per_row=100, rows=2, epochs=2.0, ranks=1) -> TrainingBatches:
    spans = made.layout.spans(SPLIT.valid_from * 0, SPLIT.valid_from, per_row if made.form == "trajectory" else 1)
    return TrainingBatches(made, Plan(spans, rows, epochs, seed=4), ranks=ranks)


def policy() -> LanguagePolicy:
    return LanguagePolicy(llama(64))


def module(made: RowSettings) -> PreferenceModule:
    return PreferenceModule(policy(), sft.Objective(sft.Settings()), TREE, made.normalize)


def log_probs(made: RowSettings, per_row=100) -> dict[tuple[int, int], tuple[list[int], torch.Tensor]]:
    """Of each (user, chosen item) of the first epoch: its rejected items and the log-probs (1 + K,)."""
    scorer, all_batches = module(made), batches(made, per_row)
    found = {}
    for step in range(all_batches.plan.steps):
        batch = all_batches[step]
        policy = scorer.scored(batch).policy
        for example in range(len(policy)):
            key = int(batch["user"][example]), int(batch["chosen"][example])
            found[key] = batch["rejected"][example].tolist(), policy[example]
    return found


@pytest.mark.parametrize("normalize", ["catalog", "vocabulary"])
@torch.no_grad()
def test_a_trajectory_gives_the_log_probs_of_one_prompt_for_each_position(normalize):
    rows, prompts = (log_probs(settings(form, normalize)) for form in ("trajectory", "prompt"))
    assert len(rows) == 6 + 9 + 3
    assert rows.keys() == prompts.keys()
    for example, (rejected, expected) in prompts.items():
        assert expected.dtype == torch.float64
        assert rows[example][0] == rejected
        torch.testing.assert_close(rows[example][1], expected, rtol=0, atol=1e-10)


@torch.no_grad()
def test_a_history_cut_in_chunks_gives_the_same_where_its_first_event_is_still_shown():
    whole, chunks = log_probs(settings(), per_row=100), log_probs(settings(), per_row=4)
    for example in whole:
        torch.testing.assert_close(chunks[example][1], whole[example][1], rtol=0, atol=1e-10)


@torch.no_grad()
def test_prompts_that_list_candidates_score_the_chosen_title_and_the_rejected_ones_behind_the_list():
    made = settings("prompt", frame=LIST, drawing=Drawing(SAMPLER, 3, listed=6))
    all_batches, scorer = batches(made), module(made)
    for step in range(all_batches.plan.steps):
        batch = all_batches[step]
        _, spans = all_batches.plan.batch(step)
        found = scorer.scored(batch).policy
        for example, span in enumerate(spans):
            row = made.layout.prompt(span, listed=6)
            items = [int(batch["chosen"][example]), *batch["rejected"][example].tolist()]
            drawn, _, listed = all_batches._draw(row, 0)
            assert drawn.chosen.tolist() == items[:1]
            assert len(set(listed.tolist())) == 6
            assert set(items) <= set(listed.tolist())  # the chosen one and all 3 rejected ones are named
            beside = np.full(4, len(row.items))
            oracle = Row(row.items, NONE, np.array(items), beside, listed)
            expected = naive_title_log_probs(scorer.policy, [oracle], TREE, LIST, "catalog")
            torch.testing.assert_close(found[example], expected, rtol=0, atol=1e-10)


def test_the_chosen_item_stands_anywhere_in_the_list():
    made = settings("prompt", frame=LIST, drawing=Drawing(SAMPLER, 0, listed=4))
    all_batches = batches(made, rows=1, epochs=8)
    places = []
    for step in range(len(all_batches)):
        epoch, (span,) = all_batches.plan.batch(step)
        row, rejected, listed = all_batches._draw(made.layout.prompt(span, listed=4), epoch)
        assert rejected.shape == (1, 0)  # SFT: named in the prompt, not scored
        places.append(listed.tolist().index(int(row.chosen[0])))
    # 144 draws over 4 slots: 36 each, a standard deviation of 5.2
    assert np.bincount(places, minlength=4).min() > 18


@pytest.mark.parametrize("listed", [0, 8])
def test_no_rejected_item_is_among_the_users_training_items(listed):
    form, frame = ("prompt", LIST) if listed else ("trajectory", NEXT)
    all_batches = batches(settings(form, frame=frame, drawing=Drawing(SAMPLER, 5, listed)))
    held_out = 0
    for batch in map(all_batches.__getitem__, range(len(all_batches))):
        for user, rejected in zip(batch["user"].tolist(), batch["rejected"].tolist(), strict=True):
            assert not set(rejected) & set(SPLIT.train(user).tolist())
            assert len(set(rejected)) == 5
            held_out += len(set(rejected) & set(SPLIT.sequences[user].tolist()))
    assert held_out > 0  # avoiding the held-out ones would tell them


def test_rejected_items_are_drawn_anew_for_each_epoch_and_position():
    all_batches = batches(settings())
    first, second = (
        {
            (int(user), int(chosen)): rejected.tolist()
            for step in range(epoch * all_batches.plan.steps, (epoch + 1) * all_batches.plan.steps)
            for batch in [all_batches[step]]
            for user, chosen, rejected in zip(batch["user"], batch["chosen"], batch["rejected"], strict=True)
        }
        for epoch in (0, 1)
    )
    assert first.keys() == second.keys()
    assert sum(first[key] != second[key] for key in first) > 15  # of 18
    assert len({tuple(rejected) for rejected in first.values()}) > 15


def test_a_batch_does_not_depend_on_those_that_were_made_before():
    made = settings(leave_out=0.3)
    forwards, backwards = batches(made), batches(made)
    expected = [forwards[step] for step in range(len(forwards))]
    for step in reversed(range(len(backwards))):
        assert equal(backwards[step], expected[step])
        assert equal(backwards[step], expected[step])
    assert not equal(expected[0], expected[2])


CODE = """
import hashlib
from tests.training.test_batches import batches, settings
all_batches = batches(settings(leave_out=0.3))
digest = hashlib.sha256()
for batch in map(all_batches.__getitem__, range(len(all_batches))):
    for value in [batch["tokens"]["input_ids"], batch["chosen"], batch["rejected"], batch["columns"]]:
        digest.update(value.numpy().tobytes())
print(digest.hexdigest())
"""


@pytest.mark.slow
def test_a_batch_is_the_same_in_every_process():
    assert printed(CODE, PYTHONHASHSEED="1") == printed(CODE, PYTHONHASHSEED="2")


@pytest.mark.parametrize("form", ["trajectory", "prompt"])
def test_ranks_share_the_rows_of_a_step(form):
    made = settings(form)
    one = batches(made, rows=2, per_row=4)
    for ranks in (2, 3):
        several = batches(made, rows=2, per_row=4, ranks=ranks)
        assert len(several) == len(one) * ranks
        assert len(several.plan) == len(one.plan)
        for step in range(len(one)):
            parts = [several[step * ranks + rank] for rank in range(ranks)]
            for name in ("user", "chosen", "rejected"):
                together = torch.cat([part[name] for part in parts])
                assert torch.equal(together, one[step][name])  # in the ranks' order, the step's own


def test_a_rank_without_a_row_has_no_example_but_something_to_run():
    made = settings()
    several = batches(made, rows=1, ranks=2)
    batch = several[1]
    assert batch["columns"].shape == (0, 4)
    assert batch["rejected"].shape == (0, 3)
    assert len(batch["user"]) == len(batch["chosen"]) == len(batch["seen"]) == 0
    scored = module(made).scored(batch)
    assert scored.policy.shape == (0, 4)
    scored.policy.sum().backward()  # DDP wants every rank to have gone through all of the model


def test_the_side_says_who_chose_what_and_what_the_user_has_seen():
    batch = batches(settings(), rows=3)[0]
    seen, users = batch["seen"], batch["user"].tolist()
    assert seen.shape == (18, 9)
    for row, user in zip(seen.tolist(), users, strict=True):
        items = SPLIT.train(user).tolist()
        assert row == items + [-1] * (9 - len(items))
    assert sorted(users) == [0] * 6 + [1] * 9 + [2] * 3


def test_without_rejected_titles_there_is_no_side():
    batch = batches(settings(drawing=Drawing()))[0]
    assert "seen" not in batch
    assert batch["columns"].shape[1] == 1
    assert batch["rejected"].shape == (len(batch["chosen"]), 0)


def test_auxiliary_vectors_are_those_of_what_came_before_and_scores_their_dot_products():
    asked = []

    def encode(user, histories):
        asked.append(len(histories))
        return np.array([[len(history), history.sum() % 7] for history in histories], dtype=np.float32)

    items = np.arange(2 * ITEMS, dtype=np.float32).reshape(ITEMS, 2)
    trains = tuple(SPLIT.train(user) for user in range(3))
    made = settings(auxiliary=AuxiliaryVectors(trains, encode, items))
    all_batches = batches(made, rows=3)
    batch = all_batches[0]
    for example, (user, chosen) in enumerate(zip(batch["user"].tolist(), batch["chosen"].tolist(), strict=True)):
        history = SPLIT.sequences[user][: SPLIT.sequences[user].tolist().index(chosen)]
        expected = torch.tensor([len(history), float(history.sum() % 7)])
        torch.testing.assert_close(batch["history_vectors"][example], expected)
        scores = torch.from_numpy(items)[batch["rejected"][example]] @ expected
        torch.testing.assert_close(batch["auxiliary"][example], scores)
        mean = items[history].mean(axis=0) if len(history) else np.zeros(2, dtype=np.float32)
        torch.testing.assert_close(batch["history_means"][example], torch.from_numpy(mean))
    _ = all_batches[0], all_batches[1]
    assert sorted(asked) == [3, 6, 9]  # each user's once, all together: no batch rounds them otherwise than another


def test_means_of_item_vectors_are_over_the_newest_items_that_the_model_reads():
    items = np.arange(ITEMS, dtype=np.float32)[:, None]
    sequence = np.array([4, 7, 1, 9])
    vectors = AuxiliaryVectors((sequence,), lambda user, asked: np.zeros((len(asked), 1), np.float32), items, length=2)
    assert vectors.means(0, np.array([0, 1, 2, 3]))[:, 0].tolist() == [0, 4, 5.5, 4]
    late = AuxiliaryVectors((sequence,), vectors.encode, items, begins=np.array([2]))
    assert late.means(0, np.array([2, 3]))[:, 0].tolist() == [5.5, 4]  # (4 + 7) / 2, (4 + 7 + 1) / 3


def test_the_reference_of_an_item_goes_with_it():
    plain = batches(settings())
    reference = [torch.full((len(plain[step]["chosen"]), 4), float(step)) for step in range(len(plain))]
    with_it = plain.with_reference(reference)
    assert with_it.ranks == plain.ranks
    torch.testing.assert_close(with_it[1]["reference"], reference[1])
    torch.testing.assert_close(module(settings()).scored(with_it[1]).reference, reference[1])


def test_the_history_limit_holds_for_prompts_and_for_the_first_position_of_a_chunk():
    made = settings(history=2)
    row = made.layout.trajectory(batches(made, per_row=3).plan.spans[1])
    assert row.at.tolist() == [2, 3, 4]
