"""Pairs made before a stage begins: by hand, kept, looked up, and laid out as rows."""

import numpy as np
import pytest
import torch

from napo.errors import UserError
from napo.labels._protocol import Labelled, Proposals
from napo.labels.logged import Labeller, Settings
from napo.negatives._protocol import Example, SamplerContext
from napo.training.batches import Drawing, TrainingBatches
from napo.training.examples import Span, TrainingRow
from napo.training.module import PreferenceModule
from napo.training.pairs import Pairs, figures_of, kept_pairs, make_pairs
from tests.tiny_world import World, equal, split_of

LABELLER = Labeller(SamplerContext(8, np.ones(8, dtype=int)), Settings())


class Next:
    """Proposes the items after the chosen one; none for item 5."""

    needs_auxiliary = False

    def propose(self, examples, seen, count, keys):
        self.keys = keys
        rows = [(example.chosen + 1 + np.arange(count)) % 8 for example in examples]
        return np.stack([np.where(row == 5, -1, row) for row in rows])


SPLIT = split_of([[0, 1, 2, 3, 4], [3, 4, 2, 0, 1]], 8)  # three training events each
SPANS = [Span(0, 0, 3), Span(1, 0, 2)]


def test_every_example_of_the_spans_is_proposed_for_and_labelled():
    pairs = make_pairs(Next(), LABELLER, SPANS, SPLIT, count=1, seed=0)
    assert pairs.users.tolist() == [0, 0, 0, 1, 1]
    assert pairs.positions.tolist() == [0, 1, 2, 0, 1]
    assert pairs.labelled.chosen.tolist() == [0, 1, 2, 3, 4]
    assert pairs.labelled.rejected.tolist() == [[1], [2], [3], [4], [-1]]
    assert pairs.labelled.trains.tolist() == [True, True, True, True, False]
    assert pairs.draw(Example(0, SPLIT.sequences[0][:2], 2), np.array([]), 1, None).tolist() == [3]


def test_chance_is_keyed_by_user_and_position_not_by_who_is_asked_beside():
    sampler = Next()
    make_pairs(sampler, LABELLER, SPANS, SPLIT, count=1, seed=7)
    assert sampler.keys == [
        (7, "proposals", user, at) for user, at in [("u0", 0), ("u0", 1), ("u0", 2), ("u1", 0), ("u1", 1)]
    ]


class Least:
    needs_auxiliary = False

    def draw(self, example, seen, count, rng):
        return np.setdiff1d(np.arange(8), seen)[:count]


def test_the_draws_of_a_sampler_that_asks_no_model_are_proposals_too():
    pairs = make_pairs(Least(), LABELLER, SPANS, SPLIT, count=2, seed=0)
    # user 0 has seen 0 1 2, user 1 has seen 3 4 2
    assert pairs.labelled.rejected.tolist() == [[3, 4]] * 3 + [[0, 1]] * 2


def test_what_is_left_out_trains_no_more_and_a_row_of_nothing_goes():
    pairs = make_pairs(Next(), LABELLER, [*SPANS, Span(1, 1, 2)], SPLIT, count=1, seed=0)
    assert pairs.trained([Span(0, 0, 3), Span(1, 0, 2), Span(1, 1, 2)]) == [Span(0, 0, 3), Span(1, 0, 2)]
    row = TrainingRow(1, np.array([3, 4]), np.array([0, 1]), np.array([3, 4]), np.array([0, 1]))
    left = pairs.relabelled(row)
    assert (left.positions.tolist(), left.chosen.tolist(), left.at.tolist()) == ([0], [3], [0])
    assert left.items.tolist() == [3, 4]  # what is not trained is still read


def test_figures_of_proposals_by_hand():
    examples = [Example(0, np.array([1, 2]), chosen=3), Example(0, np.array([1, 2, 3]), chosen=4)]
    # six proposals: one is the title itself, two are of the history, one is none
    proposals = Proposals(examples, np.array([[3, 1, 6], [2, 6, -1]]))
    labelled = Labelled(np.array([3, 4]), np.array([[3], [2]]), np.array([False, True]))
    figures = figures_of(proposals, labelled, split_of([[1, 2, 3, 4, 5]], 8))
    assert figures["target"] == pytest.approx(1 / 6)
    assert figures["history"] == pytest.approx(2 / 6)
    assert figures["none"] == pytest.approx(1 / 6)
    assert figures["left_out"] == 0.5
    assert figures["distinct"] == 4
    assert figures["entropy"] == pytest.approx(1.332179)  # shares .2 .2 .2 .4 in nats
    assert figures["log_popularity"] == pytest.approx(np.log(2) * 3 / 5)  # 1, 2 and 3 once in training, 6 never


def test_pairs_that_were_kept_are_those_that_were_made(tmp_path):
    path = tmp_path / "pairs.safetensors"
    made = make_pairs(Next(), LABELLER, SPANS, SPLIT, count=1, seed=0)
    assert kept_pairs(lambda: made, path).digest == made.digest
    again = kept_pairs(lambda: pytest.fail("they lie there"), path)
    assert again.digest == made.digest
    assert (again.figures, again.seconds) == (made.figures, made.seconds)
    path.write_bytes(b"broken")
    with pytest.raises(UserError, match="can't be read"):
        kept_pairs(lambda: made, path)


def test_other_labels_are_other_pairs():
    made = make_pairs(Next(), LABELLER, SPANS, SPLIT, count=1, seed=0)
    swapped = Labelled(made.labelled.rejected[:, 0], made.labelled.chosen[:, None], made.labelled.trains)
    assert Pairs(made.users, made.positions, swapped).digest != made.digest


@pytest.mark.parametrize("form", ["trajectory", "prompt"])
def test_a_proposed_item_can_be_chosen_and_the_logged_one_rejected(tmp_path, form):
    """Labels turned round give the log-probs of before, in the other columns."""
    world = World.of(
        tmp_path, objective={"name": "dpo"}, negatives={"name": "generated", "count": 1}, preference={"form": form}
    )
    inputs = world.preference()
    drawing = inputs.batches.settings.drawing
    pairs, labels = drawing.sampler, drawing.sampler.labelled
    turned = Pairs(pairs.users, pairs.positions, Labelled(labels.rejected[:, 0], labels.chosen[:, None], labels.trains))
    settings = inputs.batches.settings
    other = TrainingBatches(
        type(settings)(**{**vars(settings), "drawing": Drawing(turned, 1, relabel=turned.relabelled)}),
        inputs.batches.plan,
    )
    module = PreferenceModule(world.language.policy, inputs.objective, world.language.tree, "catalog").eval()
    with torch.no_grad():
        before, after = module.scored(inputs.batches[0]), module.scored(other[0])
    torch.testing.assert_close(after.policy, before.policy.flip(1))
    assert equal(after.side.chosen, before.side.rejected[:, 0])


def test_a_stage_rejects_what_the_model_at_its_start_comes_up_with(tmp_path):
    world = World.of(
        tmp_path, objective={"name": "dpo"}, negatives={"name": "generated", "count": 2, "decoding": "best"}
    )
    batch = world.preference().batches[0]
    ranker, split = world.language.ranker(), world.prepared.split
    for user, chosen, rejected in zip(*(batch[name].tolist() for name in ("user", "chosen", "rejected")), strict=True):
        at = split.sequences[user].tolist().index(chosen)
        seen = np.append(split.seen(user), chosen)
        assert ranker.top([split.sequences[user][:at]], [seen], 2)[0].tolist() == rejected
