"""Exact sharing from the rows on: what an example takes over stands beside its own position, and is scored there."""

import math

import numpy as np
import pytest
import torch

from napo.errors import UserError
from napo.objectives.napo import Objective, Settings
from napo.scoring.batch import NONE, Row
from napo.scoring.naive import naive_title_log_probs
from napo.training import batches as batches_module
from napo.training.batches import AuxiliaryVectors, Drawing, RowSettings, TrainingBatches
from napo.training.examples import Layout, Limits, Plan, Span
from napo.training.module import PreferenceModule
from tests.tiny_world import World, split_of
from tests.training.test_batches import ITEMS, NEXT, SAMPLER, SPLIT, TREE, batches, policy, settings

RATIO = 0.5
SHARING = {"accept_ratio": RATIO, "exact": True}


def objective(**sharing: object) -> Objective:
    return Objective(
        Settings.model_validate({"margin": {"base": 1.0, "sensitivity": 0.0}, "sharing": {**SHARING, **sharing}})
    )


def vectors(split=SPLIT) -> AuxiliaryVectors:
    """Made up: any function of the history will do."""

    def encode(user, histories):
        return np.array([np.cos(np.arange(1, 5) * (1 + history.sum())) for history in histories], dtype=np.float32)

    items = np.random.default_rng(0).normal(size=(ITEMS, 4)).astype(np.float32)
    return AuxiliaryVectors(tuple(split.train(user) for user in range(len(split.sequences))), encode, items)


def made(form="trajectory", normalize="catalog", borrow=None, **others) -> RowSettings:
    return settings(form, normalize, drawing=Drawing(SAMPLER, 3, borrow=borrow), auxiliary=vectors(), **others)


def naive_losses(batch, scorer, normalize) -> list[float]:
    """Each example alone: its peers by a plain loop, every title of its set as a sequence behind its own prompt."""
    users, chosen, rejected = (batch[name].tolist() for name in ("user", "chosen", "rejected"))
    products = (batch["history_vectors"] @ batch["history_vectors"].T).tolist()
    losses = []
    for i, user in enumerate(users):
        others = sorted((j for j in range(len(users)) if j != i), key=lambda j: -products[i][j])
        met = {chosen[i], *SPLIT.train(user).tolist()}
        peers = others[: math.floor(RATIO * len(others))]
        taken = [item for j in peers for item in rejected[j] if item not in met]
        sequence = SPLIT.sequences[user]
        history = sequence[: sequence.tolist().index(chosen[i])]
        titles = np.array([chosen[i], *rejected[i], *taken])
        row = Row(history, NONE, titles, np.full(len(titles), len(history)))
        c, *negatives = naive_title_log_probs(scorer.policy, [row], TREE, NEXT, normalize).tolist()
        losses.append(math.log(1 + math.exp(1.0) * sum(math.exp(n - c) for n in negatives)))
    return losses


@pytest.mark.parametrize("normalize", ["catalog", "vocabulary"])
@pytest.mark.parametrize("form", ["trajectory", "prompt"])
@torch.no_grad()
def test_exact_sharing_equals_each_example_computed_alone(form, normalize):
    loss = objective()
    rows = made(form, normalize, loss.borrow)
    batch = batches(rows, rows=3 if form == "trajectory" else 6)[0]
    scorer = PreferenceModule(policy(), loss, TREE, normalize)
    found = scorer(batch).losses
    torch.testing.assert_close(found.tolist(), naive_losses(batch, scorer, normalize), rtol=0, atol=1e-6)
    plain = PreferenceModule(scorer.policy, objective(exact=False), TREE, normalize)
    same = batches(made(form, normalize), rows=3 if form == "trajectory" else 6)[0]
    assert (plain(same).losses - found).abs().max() > 1e-3  # or the test would not tell the two apart


def test_where_all_prompts_are_one_exact_sharing_equals_the_plain_one():
    history = [3, 9, 4, 7]
    split = split_of(
        [[*history, last, last + 1, last + 2] for last in (10, 14, 18, 22)], ITEMS
    )  # the last two held out
    exact = objective()
    losses, gradients = [], []
    scorer = policy()
    for loss in (exact, objective(exact=False)):
        rows = RowSettings(
            Layout(split, TREE, NEXT, Limits(50, 512)),
            TREE,
            NEXT,
            "catalog",
            "prompt",
            seed=4,
            drawing=Drawing(SAMPLER, 3, borrow=loss.borrow),
            auxiliary=vectors(split),
        )
        batch = TrainingBatches(rows, Plan([Span(user, 4, 5) for user in range(4)], 4, 1, seed=4))[0]
        module = PreferenceModule(scorer, loss, TREE, "catalog")
        module.zero_grad()
        losses.append(module(batch).losses)
        losses[-1].sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in scorer.parameters() if p.grad is not None]))
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-5)  # the norms of the layers round to float32


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_hold_their_parts_of_what_one_process_has(ranks):
    rows = made(borrow=objective(peers="random").borrow)
    one, several = batches(rows, rows=3, per_row=4), batches(rows, rows=3, per_row=4, ranks=ranks)
    for step in range(len(one)):
        parts = [several[step * ranks + rank] for rank in range(ranks)]
        assert torch.equal(torch.cat([part["shared"] for part in parts]), one[step]["shared"])
        whole = [set(items) - {-1} for part in parts for items in part["lent"].tolist()]
        assert whole == [set(items) - {-1} for items in one[step]["lent"].tolist()]
        for part in parts:
            examples = len(part["chosen"])
            assert part["columns"].shape == (examples, 4 + part["lent"].shape[1])
    assert not torch.equal(one[0]["shared"], one[len(one) - 1]["shared"])


def test_a_rank_without_a_row_scores_titles_too_and_has_no_example():
    scored = PreferenceModule(policy(), objective(), TREE, "catalog").scored(
        batches(made(borrow=objective().borrow), rows=1, ranks=2)[1]
    )
    assert scored.policy.shape == (0, 4)
    assert scored.side.lent.shape == (0, 0)
    scored.policy.sum().backward()


def test_rows_that_would_fill_the_memory_are_a_mistake_with_a_way_out(monkeypatch):
    monkeypatch.setattr(batches_module, "LARGEST_MASK", 10_000)
    with pytest.raises(UserError, match="exact sharing lays rows of") as caught:
        batches(made(normalize="vocabulary", borrow=objective().borrow), rows=3)[0]
    assert "max_peers" in caught.value.remedy


def test_a_recipe_with_exact_sharing_and_a_reference_starts_where_rewards_are_zero(tmp_path):
    world = World.of(
        tmp_path,
        objective={"name": "napo", "reference": True, "margin": None, "sharing": {"exact": True, "max_peers": 4}},
    )
    inputs = world.preference()
    assert "borrow" in inputs.made_by
    batch, language = inputs.batches[0], world.language
    module = PreferenceModule(language.policy, inputs.objective, language.tree, "catalog").eval()
    with torch.no_grad():
        batch["reference"] = module.scored({name: batch[name] for name in ("tokens", "columns")}).policy
    loss = module(batch)
    sizes = 3 + batch["shared"].sum(dim=1)  # N_i titles alike: log(1 + their number)
    torch.testing.assert_close(loss.losses, torch.log(1.0 + sizes), rtol=0, atol=1e-4)
    assert loss.figures["effective_negatives"] == sizes.float().mean()
    assert loss.figures["flipped_share"].isfinite()


def test_an_item_lent_by_several_peers_is_run_once():
    batch = batches(made(borrow=objective(accept_ratio=1.0).borrow), rows=3)[0]
    for example, lent in enumerate(batch["lent"].tolist()):
        items = [item for item in lent if item >= 0]
        named = batch["rejected"].flatten()[batch["shared"][example]].tolist()
        assert len(items) == len(set(items))
        assert set(items) == set(named)
    assert batch["shared"].sum() > (batch["lent"] >= 0).sum()


def test_plain_sharing_lays_out_what_it_always_did():
    with_it, without = made(borrow=objective().borrow), made()
    exact, plain = batches(with_it, rows=3)[0], batches(without, rows=3)[0]
    assert "lent" not in plain
    for name in ("chosen", "rejected", "user", "seen", "history_vectors", "history_means", "auxiliary"):
        assert torch.equal(exact[name], plain[name]), name
