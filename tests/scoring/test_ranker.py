from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napo.data.catalog import Catalog
from napo.errors import UserError
from napo.models.language import LanguageModel, Usage
from napo.models.tiny import make_model, make_tokenizer
from napo.prompts.template import load_template
from napo.scoring.batch import Row
from napo.scoring.continuations import TitleModel
from napo.scoring.naive import naive_title_log_probs
from napo.scoring.ranker import TitleRanker, scored_lengths
from tests.scoring.toys import LIST, NEXT, TITLES, HashedPolicy, by_hand, catalog_tree, ids, language_policy, toy_tree

BOTH = pytest.mark.parametrize("normalize", ["catalog", "vocabulary"])
HISTORIES = [ids(0, 5, 4), ids(), ids(8), ids(1, 7, 2, 6, 3)]
CANDIDATES = np.array([[1, 2, 6], [0, 3, 5], [7, 4, 1], [8, 0, 4]])


def ranker(policy=None, frame=NEXT, normalize="catalog", average="sum", limits=(None, None), **portions) -> TitleRanker:
    model = TitleModel(policy or HashedPolicy(30), catalog_tree(), frame, normalize, **portions)
    return TitleRanker(model, max_history=limits[0], max_tokens=limits[1], average=average)


def prompt_of(items, frame=NEXT, listed=()) -> list[int]:
    tokens = [[token for item in part for token in TITLES[item]] for part in (items, listed)]
    return [*frame.header, *tokens[0], *frame.middle, *tokens[1], *frame.tail]


@pytest.mark.parametrize("frame", [NEXT, LIST], ids=["next", "list"])
@BOTH
@pytest.mark.parametrize("shared", [True, False])
def test_candidate_scores_are_log_probs_behind_each_cases_own_prompt(frame, normalize, shared):
    judge = ranker(frame=frame, normalize=normalize, shared=shared)
    scores = judge.candidate_scores(HISTORIES, CANDIDATES)
    for row, (history, candidates) in enumerate(zip(HISTORIES, CANDIDATES, strict=True)):
        prompt = prompt_of(history, frame, candidates if frame is LIST else ())
        every = by_hand(judge.model.policy, prompt, TITLES, normalize)
        np.testing.assert_allclose(scores[row], [every[item] for item in candidates])


@pytest.mark.parametrize("frame", [NEXT, LIST], ids=["next", "list"])
@pytest.mark.parametrize("batch_tokens", [1, 30, 100, 5000])
def test_portions_and_company_change_no_score(frame, batch_tokens):
    policy = language_policy("llama")
    one_by_one = ranker(policy, frame, batch_tokens=1).candidate_scores(HISTORIES, CANDIDATES)
    together = ranker(policy, frame, batch_tokens=batch_tokens).candidate_scores(HISTORIES, CANDIDATES)
    np.testing.assert_allclose(together, one_by_one, atol=1e-7)


@settings(deadline=None, max_examples=20)
@given(order=st.permutations(range(3)))
def test_candidates_in_another_order_have_their_scores_in_that_order(order):
    judge = ranker(language_policy("gpt2"))
    scores = judge.candidate_scores(HISTORIES, CANDIDATES)
    np.testing.assert_allclose(judge.candidate_scores(HISTORIES, CANDIDATES[:, order]), scores[:, order], atol=1e-10)


def test_equal_titles_have_equal_scores():
    scores = ranker().candidate_scores([ids(4)], np.array([[2, 0, 3]]))
    assert scores[0, 0] == scores[0, 2] != scores[0, 1]


@pytest.mark.parametrize(
    ("max_history", "max_tokens", "shown"),
    [
        (None, None, [1, 7, 2, 6, 3]),
        (3, None, [2, 6, 3]),
        (0, None, []),
        # 3 words and 6 for the longest title leave 3 of 12; from the newest on, the titles have 3, 5, 3, 3, 4 tokens
        (None, 11, []),
        (None, 12, [3]),
        (None, 16, [3]),
        (None, 17, [6, 3]),
        (None, 20, [2, 6, 3]),
        (2, 20, [6, 3]),
        (None, 26, [7, 2, 6, 3]),
        (None, 27, [1, 7, 2, 6, 3]),
        (None, 9, []),
    ],
)
def test_a_history_too_long_loses_its_oldest_items_whole(max_history, max_tokens, shown):
    judge = ranker(limits=(max_history, max_tokens))
    assert judge.shown(HISTORIES[3]).tolist() == shown
    every = by_hand(judge.model.policy, prompt_of(shown), TITLES, "catalog")
    np.testing.assert_allclose(
        judge.candidate_scores([HISTORIES[3]], CANDIDATES[:1])[0], np.array(every)[CANDIDATES[0]]
    )
    np.testing.assert_allclose(judge.all_scores([HISTORIES[3]])[0], every)
    assert judge.top([HISTORIES[3]], [ids()], 1).tolist() == [[int(np.argmax(every))]]


def test_listed_candidates_take_their_room_from_the_history():
    # 6 words and 4 titles of at most 6 tokens: 30
    judge = ranker(frame=LIST, limits=(None, 33))
    assert judge.shown(HISTORIES[3], listed=3).tolist() == [3]
    judge.candidate_scores([HISTORIES[3]], CANDIDATES[:1])
    assert max(map(len, judge.model.policy.seen)) <= 33


def test_titles_and_words_that_can_not_fit_are_refused():
    with pytest.raises(UserError, match="8 tokens") as caught:
        ranker(limits=(None, 8)).candidate_scores(HISTORIES, CANDIDATES)
    assert caught.value.remedy == "at least 9"


def test_a_prompt_that_lists_candidates_can_not_rank_the_catalog():
    judge = ranker(frame=LIST)
    assert judge.lists_candidates
    for ask in (
        lambda: judge.top([ids()], [ids()], 1),
        lambda: judge.target_ranks([ids()], [ids()], ids(1)),
        lambda: judge.all_scores([ids()]),
    ):
        with pytest.raises(UserError, match="can't rank the whole catalog"):
            ask()


@BOTH
@pytest.mark.parametrize("average", ["sum", "mean"])
def test_tops_and_ranks_agree_with_the_scores_of_all_items(normalize, average):
    judge = ranker(normalize=normalize, average=average)
    excluded = [np.unique(history) for history in HISTORIES]
    targets = ids(1, 4, 2, 0)
    scores = judge.all_scores(HISTORIES)
    top, best = judge.top_with_scores(HISTORIES, excluded, 6)
    ranks = judge.target_ranks(HISTORIES, excluded, targets)
    np.testing.assert_array_equal(judge.top(HISTORIES, excluded, 6), top)
    for row, out in enumerate(excluded):
        left = [item for item in range(9) if item not in out]
        order = sorted(left, key=lambda item, row=row: (-round(scores[row, item], 9), item))[:6]
        order += [-1] * (6 - len(order))
        assert top[row].tolist() == order
        np.testing.assert_allclose(best[row], [scores[row, item] if item >= 0 else -np.inf for item in order])
        assert ranks[row] == sum(scores[row, left] >= scores[row, targets[row]] - 1e-9)


@pytest.mark.parametrize("average", ["sum", "mean"])
def test_more_asked_for_than_there_is_gives_minus_one(average):
    top, scores = ranker(average=average).top_with_scores([ids(0)], [ids(*range(8))], 12)
    assert top.tolist() == [[8] + [-1] * 11]
    assert np.isneginf(scores[0, 1:]).all()


@pytest.mark.parametrize("average", ["sum", "mean"])
def test_an_excluded_target_still_has_a_rank(average):
    judge = ranker(average=average)
    with_it, without = (judge.target_ranks([ids(0)], [out], ids(1)) for out in (ids(0), ids(0, 1)))
    assert with_it == without


def test_the_mean_is_over_tokens_that_have_a_probability_of_their_own():
    # a b $, a c $, a c d $, e $: forced are the end after a b, after a c d, and after e
    assert scored_lengths(toy_tree(), "catalog").tolist() == [2, 3, 3, 1]
    assert scored_lengths(toy_tree(), "vocabulary").tolist() == [3, 3, 4, 2]
    for normalize in ("catalog", "vocabulary"):
        sums, means = (
            ranker(normalize=normalize, average=average).candidate_scores(HISTORIES, CANDIDATES)
            for average in ("sum", "mean")
        )
        np.testing.assert_allclose(sums / means, scored_lengths(catalog_tree(), normalize)[CANDIDATES])


def test_training_mode_and_dropout_do_not_touch_a_score():
    policy = language_policy("gpt2")
    still = ranker(policy).candidate_scores(HISTORIES, CANDIDATES)
    policy.train()
    judge = ranker(policy)
    np.testing.assert_array_equal(judge.candidate_scores(HISTORIES, CANDIDATES), still)
    judge.top(HISTORIES, HISTORIES, 2)
    assert all(module.training for module in policy.modules())
    assert all(parameter.grad is None for parameter in policy.parameters())


@torch.no_grad()
def test_a_model_without_masks_gives_the_same():
    policy = language_policy("qwen2")
    rows = [Row(h, branches=c, sees=np.full(3, len(h))) for h, c in zip(HISTORIES, CANDIDATES, strict=True)]
    naive = naive_title_log_probs(policy, rows, catalog_tree(), NEXT, "catalog").reshape(4, 3)
    for shared in (True, False):
        scores = ranker(policy, shared=shared).candidate_scores(HISTORIES, CANDIDATES)
        np.testing.assert_allclose(scores, naive, atol=1e-6)


def test_no_cases_give_no_rows():
    judge = ranker()
    assert judge.candidate_scores([], CANDIDATES[:0]).shape == (0, 3)
    assert judge.top([], [], 4).shape == (0, 4)
    assert judge.target_ranks([], [], ids()).shape == (0,)


def test_a_frame_with_words_behind_the_history_is_no_list():
    assert not ranker(frame=replace(NEXT, tail=ids(22))).lists_candidates


def test_a_loaded_model_is_asked_as_its_usage_says():
    template, names = load_template("next"), ("Alien", "Aliens", "Crash")
    tokenizer = make_tokenizer(names, template.texts, 300)
    sizes = {"width": 16, "layers": 1, "heads": 2, "feed_forward": 24, "positions": 128}
    usage = Usage("small", "catalog", template, max_history=2, max_tokens=64)
    catalog = Catalog(keys=("a", "b", "c"), titles=names)
    language = LanguageModel(make_model(len(tokenizer), **sizes, seed=0), tokenizer, catalog, usage)
    judge = TitleRanker.of(language)
    assert (judge.name, judge.model.normalize, judge.model.shared) == ("small", "catalog", True)
    assert judge.shown(ids(0, 1, 2)).tolist() == [1, 2]
    scores = judge.candidate_scores([ids(0, 1, 2)], np.array([[0, 1, 2]]))
    assert np.exp(scores).sum() == pytest.approx(1.0, abs=1e-6)
