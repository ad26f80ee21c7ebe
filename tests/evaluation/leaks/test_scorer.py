from dataclasses import replace

import numpy as np
import pytest

from napo.data.candidates import CandidateLists
from napo.errors import UserError
from napo.evaluation import protocols
from napo.evaluation.baselines import Popularity
from napo.evaluation.leaks import BlindRule, ScorerInputs
from napo.evaluation.leaks.scorer import integrity, no_history, order, sampled, strangers
from napo.evaluation.ranks import Ranks, candidate_ranks


def asked(scorer, world, **more):
    return ScorerInputs.of(scorer, world.test_cases, world.test_lists, name=scorer.name, **more)


def in_its_own_slot(world):
    """Lists whose targets lie in a slot of their own: what a generator seeded by the target makes."""

    def plant(cases, lists):
        items, rows = lists.items.copy(), np.arange(len(lists.items))
        slot = cases.target % items.shape[1]
        items[rows, lists.slot], items[rows, slot] = items[rows, slot], cases.target
        return CandidateLists(items, slot, 0, "uniform", cases.split.digest, "planted")

    return replace(
        world,
        valid_lists=plant(world.valid_cases, world.valid_lists),
        test_lists=plant(world.test_cases, world.test_lists),
    )


class ReadsItsSlot:
    """What learns from such lists: an item in its own slot is the answer."""

    name = "slots"

    def candidate_scores(self, histories, candidates):
        return (candidates % candidates.shape[1] == np.arange(candidates.shape[1])) - 1e-6 * candidates


def test_a_model_with_a_taste_needs_the_right_history(world, taste):
    check = no_history(asked(taste(world), world))
    assert check.verdict == "ok"
    assert check.reference["true"] > 2 * check.value > 0
    assert check.title == "no_history, taste"


def test_a_model_that_finds_targets_without_their_history_fails(world):
    check = no_history(asked(ReadsItsSlot(), in_its_own_slot(world)))
    assert check.verdict == "FAIL"
    assert check.value == check.reference["true"] > 0.4 > check.reference["popular"]


def test_a_model_that_recommends_by_popularity_warns(world):
    check = no_history(asked(Popularity(world.split.popularity), world))
    assert check.verdict == "WARN"
    assert check.value == check.reference["true"] == check.reference["popular"]


def test_a_stranger_is_another_user_who_took_nothing_of_the_list(world):
    cases, lists = world.test_cases, world.test_lists
    histories = strangers(cases, lists.items)
    for case, history in enumerate(histories):
        owners = [u for u, mine in enumerate(cases.split.sequences) if len(history) and np.isin(history, mine).all()]
        assert owners
        assert owners != [cases.user[case]]
        assert not np.isin(history, lists.items[case]).any()


def test_without_another_user_there_is_no_other_history(world, taste):
    alone = np.flatnonzero(world.test_cases.user == 3)
    inputs = ScorerInputs.of(taste(world), world.test_cases.take(alone), world.test_lists.take(alone), name="taste")
    assert no_history(inputs).line == "no_history, taste: nothing to measure (there is no other user) ok"


def test_a_model_of_items_gives_the_same_scores_in_every_order(world, taste):
    check = order(asked(taste(world), world))
    assert (check.value, check.reference["most_moved"], check.verdict) == (0.0, 0.0, "ok")


@pytest.mark.parametrize("shift", [1e-3, 1.0])
def test_a_model_that_reads_places_fails_even_where_no_pick_changes(world, taste, shift):
    inner = taste(world)

    class Placed:
        name = "placed"

        def candidate_scores(self, histories, candidates):
            return inner.candidate_scores(histories, candidates) + shift * np.arange(candidates.shape[1]) / 20

    check = order(asked(Placed(), world))
    assert check.verdict == "FAIL"
    assert check.reference["most_moved"] == pytest.approx(shift, rel=0.06)
    assert order(asked(Placed(), world, tolerance=2.0)).verdict == "ok"


def test_the_blind_slot_rule_reads_places(world):
    rule = BlindRule.learn(world.valid_cases, world.valid_lists)
    assert order(asked(rule, world)).verdict == "FAIL"


def test_a_prompt_that_names_candidates_may_but_should_not_depend_on_their_order(world, taste):
    class LikesTheFirst:
        name = "list prompt"

        def candidate_scores(self, histories, candidates):
            return np.broadcast_to(-np.arange(candidates.shape[1], dtype=float), candidates.shape)

    check = order(asked(LikesTheFirst(), world, reads_list=True))
    assert check.verdict == "WARN"
    assert check.value > 0.9
    assert order(asked(taste(world), world, reads_list=True)).verdict == "ok"


def test_a_score_that_is_no_number_is_an_error(world):
    class Broken:
        name = "broken"

        def candidate_scores(self, histories, candidates):
            return np.full(candidates.shape, np.nan)

    with pytest.raises(UserError, match="is nan"):
        no_history(asked(Broken(), world))


def test_sound_judging_gives_known_scorers_their_figures(world):
    check = integrity(world)
    assert check.verdict == "ok"
    assert check.value == pytest.approx(0.05, abs=0.05)
    assert (check.reference["constant"], check.reference["nan_raises"], check.reference["repeated"]) == (0, 1, 0)


def test_judging_that_breaks_ties_for_the_model_fails(world, monkeypatch):
    def flattering(*given, **more):
        ranks = candidate_ranks(*given, **more)
        return Ranks(ranks.best, ranks.best, ranks.broken)

    monkeypatch.setattr(protocols, "candidate_ranks", flattering)
    check = integrity(world)
    assert (check.reference["constant"], check.verdict) == (1.0, "FAIL")


def test_judging_that_lets_nan_pass_fails(world, monkeypatch):
    lenient = protocols.finite_scores
    monkeypatch.setattr(
        protocols, "finite_scores", lambda scores, **more: lenient(scores, **{**more, "on_nan": "worst"})
    )
    check = integrity(world)
    assert (check.reference["nan_raises"], check.verdict) == (0, "FAIL")


def test_judging_that_looks_for_the_target_in_the_wrong_place_fails(world, monkeypatch):
    def on_top(scores, slot, **more):
        return candidate_ranks(scores, scores.argmax(axis=1), **more)

    monkeypatch.setattr(protocols, "candidate_ranks", on_top)
    check = integrity(world)
    assert (check.value, check.verdict) == (1.0, "FAIL")


def test_a_list_that_names_an_item_twice_fails(world):
    items = world.test_lists.items.copy()
    free = (world.test_lists.slot[3] + np.array([1, 2])) % 20
    items[3, free[0]] = items[3, free[1]]
    check = integrity(replace(world, test_lists=replace(world.test_lists, items=items)))
    assert (check.reference["repeated"], check.verdict) == (1, "FAIL")


def test_the_sample_is_the_same_each_time_and_without_repetition():
    drawn = sampled(2000)
    assert len(np.unique(drawn)) == 500
    np.testing.assert_array_equal(drawn, sampled(2000))
    assert sampled(7).tolist() == list(range(7))
