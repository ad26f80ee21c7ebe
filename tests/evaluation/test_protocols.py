import numpy as np
import pytest

from napo.data.candidates import draw_candidates
from napo.errors import UserError
from napo.evaluation.baselines import Chance, Popularity
from napo.evaluation.protocols import evaluate_candidates, evaluate_full
from napo.evaluation.ranks import full_ranks, top_items


class ByTable:
    """Scores every item as a table says, whatever the history; remembers what histories it was shown."""

    name = "table"

    def __init__(self, scores):
        self.scores, self.shown = np.asarray(scores, dtype=float), []

    def candidate_scores(self, histories, candidates):
        self.shown += [history.tolist() for history in histories]
        return self.scores[candidates]

    def top(self, histories, excluded, k):
        return top_items(np.tile(self.scores, (len(histories), 1)), excluded, k)

    def target_ranks(self, histories, excluded, targets):
        self.shown += [history.tolist() for history in histories]
        return full_ranks(np.tile(self.scores, (len(histories), 1)), excluded, targets).worst


class HistoryFirst(ByTable):
    """Lists the newest items of the history, excluded or not."""

    name = "history first"

    def top(self, histories, excluded, k):
        return np.stack([history[::-1][:k] for history in histories])


@pytest.fixture
def split(build_split):
    # training (0, 1), (2, 3), (0, 2); validation one each; test targets 3, 1, 5
    return build_split([[0, 1, 2, 3], [2, 3, 0, 1], [0, 2, 4, 5]], items=6)


@pytest.fixture
def lists(split, build_lists):
    return build_lists(split, [[3, 4, 5], [4, 1, 5], [1, 3, 5]], slot=[0, 1, 2])


def test_candidates_by_hand(split, lists):
    scorer = ByTable([0, 1, 2, 3, 3, 0])
    result = evaluate_candidates(scorer, split.cases("test"), lists)
    # 3 ties with 4: rank 2;  1 is below 4 alone: rank 2;  5 is last: rank 3
    assert result.ranks.tolist() == [2, 2, 3]
    assert result.best_ranks.tolist() == [1, 2, 3]
    assert result.tie_share == pytest.approx(1 / 3)
    assert result.metrics["HR@1"].tolist() == [0, 0, 0]
    np.testing.assert_allclose(result.metrics["NDCG"], [0.63093, 0.63093, 0.5], atol=1e-5)
    np.testing.assert_allclose(result.metrics["MRR"], [1 / 2, 1 / 2, 1 / 3])
    np.testing.assert_allclose(result.metrics["AUC"], [0.75, 0.5, 0])
    np.testing.assert_allclose(result.expected["HR@1"], [0.5, 0, 0])
    # on top: 4, not the target it ties with; 4; 3. Training events of 0..5: 2, 1, 2, 1, 0, 0
    assert result.picks.tolist() == [4, 4, 3]
    assert result.metrics["popularity"].tolist() == [0, 0, 1]
    assert result.aims["popularity of targets"] == pytest.approx(2 / 3)
    assert any("1 of 3 targets never occur in training" in note for note in result.notes)
    assert any("33.3% of targets tie" in note for note in result.notes)


def test_k_that_does_not_fit_the_list_is_left_out_or_refused(split, lists):
    scorer = ByTable(np.arange(6))
    assert evaluate_candidates(scorer, split.cases("test"), lists).ks == (1,)
    with pytest.raises(UserError, match="HR@10 of 3 candidates"):
        evaluate_candidates(scorer, split.cases("test"), lists, ks=(1, 10))


def test_the_newest_events_are_shown_oldest_first(split, lists):
    scorer = ByTable(np.arange(6))
    evaluate_candidates(scorer, split.cases("test"), lists, max_history=2)
    assert scorer.shown == [[1, 2], [3, 0], [2, 4]]
    evaluate_candidates(scorer, split.cases("test"), lists, max_history=0)
    assert scorer.shown[3:] == [[], [], []]


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_batches_change_nothing(zipf_split, batch):
    cases = zipf_split.cases("test").subset(40, seed=1)
    lists = draw_candidates(cases)
    done = []
    once = evaluate_candidates(Chance(400), cases, lists)
    parts = evaluate_candidates(Chance(400), cases, lists, batch=batch, progress=lambda *now: done.append(now))
    assert (once.ranks == parts.ranks).all()
    assert done[-1] == (40, 40)
    full_once, full_parts = (evaluate_full(Chance(400), cases, batch=size) for size in (256, batch))
    assert (full_once.ranks == full_parts.ranks).all()
    assert (full_once.top == full_parts.top).all()


def test_a_constant_scorer_scores_nought_and_chance_one_in_twenty(zipf_split):
    cases = zipf_split.cases("test")
    lists = draw_candidates(cases)
    constant = evaluate_candidates(ByTable(np.zeros(400)), cases, lists)
    assert constant.metrics["HR@1"].max() == 0
    assert constant.expected["HR@1"].mean() == pytest.approx(0.05)
    hits = evaluate_candidates(Chance(400), cases, lists).metrics["HR@1"]
    assert abs(hits.mean() - 0.05) < 4 * np.sqrt(0.05 * 0.95 / len(cases))


def test_permuting_the_candidates_changes_no_rank(zipf_split, build_lists):
    cases = zipf_split.cases("test").subset(60, seed=2)
    lists = draw_candidates(cases)
    order = np.random.default_rng(0).permutation(20)
    moved = build_lists(zipf_split, lists.items[:, order], np.argsort(order)[lists.slot])
    for scorer in (Chance(400), Popularity(zipf_split.popularity)):
        before, after = evaluate_candidates(scorer, cases, lists), evaluate_candidates(scorer, cases, moved)
        assert (before.ranks == after.ranks).all()
        assert (before.picks == after.picks).all()


def test_a_score_that_is_no_number_stops_the_run_with_case_and_item(split, lists):
    scorer = ByTable([0, 1, 2, 3, 4, np.nan])
    with pytest.raises(UserError, match="item 5 in case 0"):
        evaluate_candidates(scorer, split.cases("test"), lists, batch=1)
    result = evaluate_candidates(scorer, split.cases("test"), lists, on_nan="worst")
    assert result.ranks.tolist() == [2, 2, 3]
    assert any("3 cases with NaN" in note for note in result.notes)


def test_lists_of_other_cases_are_refused(split, lists):
    with pytest.raises(UserError, match="another split or other cases"):
        evaluate_candidates(Chance(6), split.cases("valid"), lists)


def test_the_whole_catalog_by_hand(split):
    # scores fall with the id; what the user liked before is left out
    result = evaluate_full(ByTable([6, 5, 4, 3, 2, 1]), split.cases("test"), k=2)
    # left: 3 4 5 (target 3), 1 4 5 (target 1), 1 3 5 (target 5)
    assert result.ranks.tolist() == [1, 1, 3]
    assert result.top.tolist() == [[3, 4], [1, 4], [1, 3]]
    assert result.metrics["HR@2"].tolist() == [1, 1, 0]
    assert result.headline == "HR@2"
    # training events of 0..5: 2, 1, 2, 1, 0, 0
    assert result.metrics["popularity"].tolist() == [0.5, 0.5, 1.0]
    assert result.bias.coverage.value == pytest.approx(3 / 6)
    assert "left out" in result.conditions["seen items"]


def test_what_max_history_hides_is_still_excluded(split):
    scorer = ByTable([6, 5, 4, 3, 2, 1])
    result = evaluate_full(scorer, split.cases("test"), max_history=1, k=2)
    assert scorer.shown == [[2], [0], [4]]
    assert result.top.tolist() == [[3, 4], [1, 4], [1, 3]]


def test_a_scorer_that_lists_what_was_seen_is_refused_unless_repeats_are_allowed(split):
    scorer = HistoryFirst([6, 5, 4, 3, 2, 1])
    with pytest.raises(UserError, match="lists an item the user has seen") as refused:
        evaluate_full(scorer, split.cases("test"), k=2)
    assert 'mask_seen="none"' in str(refused.value)
    allowed = evaluate_full(scorer, split.cases("test"), k=2, mask_seen="none")
    assert allowed.top.tolist() == [[2, 1], [0, 3], [4, 2]]
    assert allowed.conditions["seen items"] == "repeats allowed"


def test_a_target_in_its_own_history_is_dropped_and_counted_and_scored_where_repeats_count(build_split):
    split = build_split([[0, 1, 2, 0], [2, 3, 0, 1]], items=6)
    result = evaluate_full(ByTable([6, 5, 4, 3, 2, 1]), split.cases("test"), k=2)
    assert (result.dropped.tolist(), result.cases.tolist(), result.ranks.tolist()) == ([0], [1], [1])
    assert result.notes == [
        "1 cases left out: their target is among the user's earlier items, which are never recommended"
    ]
    repeats = evaluate_full(ByTable([6, 5, 4, 3, 2, 1]), split.cases("test"), k=2, mask_seen="none")
    assert repeats.ranks.tolist() == [1, 2]


def test_a_list_that_names_an_item_twice_is_refused(split):
    class Stutter(ByTable):
        def top(self, histories, excluded, k):
            return np.full((len(histories), k), 5)

    with pytest.raises(UserError, match="lists an item twice"):
        evaluate_full(Stutter(np.arange(6)), split.cases("test"), k=2)


def test_popularity_over_the_whole_catalog_lifts_popularity(zipf_split):
    cases = zipf_split.cases("test")
    popular = evaluate_full(Popularity(zipf_split.popularity), cases)
    chance = evaluate_full(Chance(400), cases)
    assert popular.bias.lift > 0 > chance.bias.lift
    assert popular.bias.coverage.value < chance.bias.coverage.value
    assert popular.bias.recommended_deciles[-1] > popular.bias.target_deciles[-1] > chance.bias.recommended_deciles[-1]
    # a random target of about 380 allowed items is among ten: 10/380
    assert chance.metrics["HR@10"].mean() == pytest.approx(10 / 380, abs=0.012)


def test_no_cases_is_an_error_and_no_metric_is_nan(split, lists):
    with pytest.raises(UserError, match="no test cases"):
        evaluate_candidates(Chance(6), split.cases("test").subset(0, seed=0), lists)
    result = evaluate_full(Chance(6), split.cases("test"), k=2)
    assert all(np.isfinite(values).all() for values in result.metrics.values())
