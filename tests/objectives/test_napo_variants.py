"""Forms of NAPO that its paper leaves open, each by hand or by what it comes down to: scales of the auxiliary score,
whose score a shared title has, which likeness, and copies of one item."""

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from napo.objectives._margin import mean_scores, scaled_scores, share_below
from napo.objectives._sharing import shared_titles
from napo.objectives.napo import Margin, Objective, Settings, Sharing, napo_loss
from napo.scoring.scored import Side
from tests.objectives.worked_batch import POLICY, SHARED, SIDE, batch, close, f64

STATIC = Margin(sensitivity=0.0)
# Two users over five items, with the scores below; each takes over the other's title.
SCORES = f64([[0, 0, 1, 2, 4], [0, 0, 3, -1, 0]])
PAIR = Side(
    chosen=torch.tensor([0, 1]),
    rejected=torch.tensor([[2], [3]]),
    user=torch.tensor([0, 1]),
    seen=torch.tensor([[0], [1]]),
    history_vectors=torch.eye(2, dtype=torch.float64),
    auxiliary=f64([[1], [-1]]),
    item_vectors=SCORES.T,
)
BOTH = torch.tensor([[False, True], [True, False]])
PAIR_POLICY = f64([[-3, -2], [-1, -4]])


# The margin's scale, and whose score a shared title has


@pytest.mark.parametrize(
    ("scored_by", "normalise", "means", "over_pairs"),
    [
        # own 1 and -1, each of them taken over as it is
        ("owner", "none", [0, 0], 0),
        # user 0 scores item 3 at 2, user 1 scores item 2 at 3
        ("receiver", "none", [1.5, 1.0], 1.25),
        # below item 2 lie two of user 0's four other items, below item 3 three; user 1: all below 2, none below 3
        ("owner", "rank", [0.25, 0.25], 0.25),
        ("receiver", "rank", [0.625, 0.5], 0.5625),
        # exp of the scores sums to 66.705488 and 23.453416: .040751, .110771 and .856401, .015686
        ("owner", "probability", [0.028218, 0.028218], 0.028218),
        ("receiver", "probability", [0.075761, 0.436043], 0.255902),
        # 1 / (1 + e^-s) of 1 and 2: .731059, .880797; of 3 and -1: .952574, .268941
        ("owner", "sigmoid", [0.5, 0.5], 0.5),
        ("receiver", "sigmoid", [0.805928, 0.610758], 0.708343),
    ],
)
def test_mean_scores_by_hand_in_each_scale_and_of_each_side(scored_by, normalise, means, over_pairs):
    margin = Margin(normalise=normalise, scored_by=scored_by)
    own, lent = scaled_scores(PAIR, margin, BOTH, torch.float64)
    each, all_pairs = mean_scores(own, BOTH, lent)
    close(each, means)
    close(all_pairs, over_pairs)


def test_receivers_scores_make_a_margin_by_hand():
    margin = Margin(per="example", scored_by="receiver")
    objective = Objective(Settings(margin=margin, sharing=Sharing(accept_ratio=1.0)))
    loss = objective(batch(PAIR_POLICY, PAIR))
    # M_i = 1.5 and 1.0, M = Mbar = 1.25 in the first step: gamma = 1 -+ 0.3 * 0.25
    torch.testing.assert_close(loss.losses, napo_loss(PAIR_POLICY, BOTH, gamma=f64([0.925, 1.075])))
    assert loss.figures["auxiliary_mean"].item() == pytest.approx(1.25)


@pytest.mark.parametrize("normalise", ["none", "sigmoid", "probability", "rank", "standardise"])
def test_without_sharing_nobody_receives_anything(normalise):
    owner, receiver = (
        Objective(Settings(margin=Margin(normalise=normalise, scored_by=by), sharing=None))(batch(PAIR_POLICY, PAIR))
        for by in ("owner", "receiver")
    )
    torch.testing.assert_close(owner.losses, receiver.losses)


def test_where_all_histories_are_alike_owner_and_receiver_score_alike():
    alike = replace(PAIR, history_vectors=f64([[1, 0], [1, 0]]), auxiliary=f64([[1], [2]]))
    margins = [Margin(per="example", scored_by=by) for by in ("owner", "receiver")]
    losses = [Objective(Settings(margin=m, sharing=Sharing(peers="all")))(batch(PAIR_POLICY, alike)) for m in margins]
    torch.testing.assert_close(losses[0].losses, losses[1].losses)


def test_a_rank_does_not_depend_on_the_scale_of_the_scores_and_ties_do_not_lift():
    catalog = f64([[3, 1, 1, 5, 2]])
    close(share_below(catalog, catalog), [[0.75, 0, 0, 1, 0.5]])
    close(share_below(100 * catalog - 7, 100 * catalog - 7), [[0.75, 0, 0, 1, 0.5]])
    close(share_below(f64([[3]]), f64([[3]])), [[0]])  # a catalog of one item


@pytest.mark.parametrize("normalise", ["probability", "rank"])
def test_a_scale_over_the_catalog_needs_the_items_vectors(normalise):
    objective = Objective(Settings(margin=Margin(normalise=normalise)))
    assert objective.needs_auxiliary
    with pytest.raises(AssertionError, match="vectors"):
        objective(batch())


# Which likeness


def test_the_means_of_item_vectors_can_take_the_place_of_sequence_vectors():
    expected = Objective(Settings(margin=STATIC))(batch()).losses
    by_means = Objective(Settings(margin=STATIC, sharing=Sharing(similarity="item_mean")))
    assert by_means.needs_auxiliary
    side = replace(SIDE, history_vectors=SIDE.history_vectors.flip(0), history_means=SIDE.history_vectors)
    torch.testing.assert_close(by_means(batch(side=side)).losses, expected)
    with pytest.raises(AssertionError, match="history vectors"):
        by_means(batch())


@pytest.mark.parametrize("peers", ["random", "all"])
def test_likeness_that_has_no_say_is_a_contradiction(peers):
    with pytest.raises(ValidationError, match="similarity"):
        Sharing(peers=peers, similarity="item_mean")


# Copies of one item

COPIES = replace(
    SIDE,
    chosen=torch.tensor([0, 1, 2]),
    rejected=torch.tensor([[10, 11], [10, 12], [11, 12]]),
    user=torch.tensor([0, 1, 2]),
    seen=torch.tensor([[0], [1], [2]]),
    history_vectors=f64([[1, 0], [0.8, 0.6], [0, 1]]),
    auxiliary=f64([[0, 0], [0, 0], [0, 0]]),
)
STEP = torch.tensor(1)


@pytest.mark.parametrize(
    ("peers", "columns"),
    # example 0 lacks item 12, which 1 (column 3) and 2 (column 5) rejected; products .8, 0.
    # example 1 lacks 11: 0 (column 1) and 2 (column 4); .8, .6
    # example 2 lacks 10: 0 (column 0) and 1 (column 2); 0, .6
    [("similar", [3, 1, 2]), ("least", [5, 4, 0])],
)
def test_of_an_items_copies_the_first_peers_counts_and_none_beside_an_own_one(peers, columns):
    shared, _ = shared_titles(COPIES, Sharing(accept_ratio=1.0, peers=peers, dedup=True), STEP)
    assert shared.nonzero()[:, 1].tolist() == columns
    assert shared.sum(dim=1).tolist() == [1, 1, 1]


@pytest.mark.parametrize("peers", ["random", "all"])
def test_where_no_order_is_asked_for_chance_says_whose_copy_counts(peers):
    sharing = Sharing(accept_ratio=1.0, peers=peers, dedup=True)
    assert not sharing.needs_vectors
    drawn = [shared_titles(COPIES, sharing, torch.tensor(step))[0] for step in range(1, 9)]
    assert all(shared.sum(dim=1).tolist() == [1, 1, 1] for shared in drawn)
    assert len({tuple(shared.flatten().tolist()) for shared in drawn}) > 1
    order = torch.tensor([2, 0, 1])
    moved = replace(COPIES, **{name: getattr(COPIES, name)[order] for name in ("chosen", "rejected", "user", "seen")})
    columns = torch.stack([2 * order, 2 * order + 1], dim=1).flatten()
    assert torch.equal(shared_titles(moved, sharing, torch.tensor(1))[0], drawn[0][order][:, columns])


def test_equally_near_peers_leave_one_copy_the_earlier_ones():
    side = replace(COPIES, history_vectors=f64([[1, 0], [1, 0], [1, 0]]))
    shared, _ = shared_titles(side, Sharing(accept_ratio=1.0, dedup=True), STEP)
    assert shared.nonzero()[:, 1].tolist() == [3, 1, 0]


def test_items_that_nobody_else_rejected_stay():
    for sharing in (Sharing(dedup=True), Sharing(dedup=True, peers="least"), Sharing(dedup=True, accept_ratio=1.0)):
        plain = sharing.model_copy(update={"dedup": False})
        assert torch.equal(shared_titles(SIDE, sharing, STEP)[0], shared_titles(SIDE, plain, STEP)[0])
    assert torch.equal(shared_titles(SIDE, Sharing(dedup=True), STEP)[0], SHARED)


def test_copies_left_out_are_left_out_of_the_loss():
    objective = Objective(Settings(margin=None, sharing=Sharing(accept_ratio=1.0, dedup=True)))
    loss = objective(batch(POLICY[:3], COPIES))
    shared = torch.zeros(3, 6, dtype=torch.bool)
    shared[[0, 1, 2], [3, 1, 2]] = True
    torch.testing.assert_close(loss.losses, napo_loss(POLICY[:3], shared, gamma=0.0))
    assert loss.figures["effective_negatives"].item() == 3
