from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napo.errors import UserError
from napo.scoring.continuations import TitleModel
from napo.scoring.generate import Sampling, beam_top, sample_titles
from napo.scoring.search import exact_top
from tests.scoring.test_search import BOTH, VOCABULARY, brute_force, cases, model_of, titles
from tests.scoring.toys import NEXT, HashedPolicy, ToyPolicy, catalog_tree, ids, language_policy, toy_tree

ONE = [ids()]


def toy(normalize: str) -> TitleModel:
    return TitleModel(ToyPolicy(), toy_tree(), replace(NEXT, header=ids(5)), normalize)


def draws(model: TitleModel, k: int, count: int, **how) -> np.ndarray:
    """(count, k) lists of one history."""
    keys = [("test", number) for number in range(count)]
    return sample_titles(model, ONE * count, ONE * count, k, keys=keys, sampling=Sampling(**how))[0]


def test_beams_by_hand():
    # catalog: T3 -1.197378, T4 -1.313262, T1 -1.484362, T2 -1.597378. One beam: a (-.313) and not e, then c (-.371),
    # then d. Two beams, of which e is finished at once: the same and T4.
    assert beam_top(toy("catalog"), ONE, ONE, 1)[0].tolist() == [[2]]
    items, log_probs = beam_top(toy("catalog"), ONE, ONE, 2)
    assert items.tolist() == [[2, 3]]
    np.testing.assert_allclose(log_probs, [[-1.197378, -1.313262]], atol=1e-6)


@BOTH
def test_few_beams_may_pass_over_the_best_title_and_many_do_not(normalize):
    differ = 0
    for seed in range(10):
        model = model_of([(2, 2), (2, 3), (2, 4), (3,), (4, 2), (4, 3)], HashedPolicy(VOCABULARY, seed), normalize)
        best = exact_top(model, ONE, ONE, 1)
        few, many = beam_top(model, ONE, ONE, 1), beam_top(model, ONE, ONE, 1, beams=6)
        assert few[1][0, 0] <= best[1][0, 0]
        assert many[0].tolist() == best[0].tolist()
        differ += few[0].tolist() != best[0].tolist()
    assert 0 < differ < 10


@settings(deadline=None, max_examples=30)
@given(
    names=titles,
    histories=cases,
    k=st.integers(1, 12),
    how=st.sampled_from(["beams", "distinct", "repeats"]),
    temperature=st.floats(0.05, 20),
    top_p=st.floats(0.01, 1),
    top_k=st.none() | st.integers(1, 5),
    normalize=st.sampled_from(["catalog", "vocabulary"]),
    data=st.data(),
)
def test_lists_hold_what_may_be_found_alone_with_its_log_prob_and_are_never_short(
    names, histories, k, how, temperature, top_p, top_k, normalize, data
):
    item = st.integers(0, len(names) - 1)
    histories = [ids(*(entry % len(names) for entry in history)) for history in histories]
    excluded = [ids(*data.draw(st.lists(item, max_size=len(names)))) for _ in histories]
    allowed = data.draw(st.none() | st.lists(st.booleans(), min_size=len(names), max_size=len(names)).map(np.array))
    model = model_of(names, HashedPolicy(VOCABULARY), normalize, trained=data.draw(st.integers(1, len(names))))
    if how == "beams":
        items, log_probs = beam_top(model, histories, excluded, k, allowed=allowed)
    else:
        sampling = Sampling(temperature, top_p, top_k, distinct=how == "distinct")
        keys = [(number,) for number in range(len(histories))]
        items, log_probs = sample_titles(model, histories, excluded, k, keys=keys, sampling=sampling, allowed=allowed)
    for row, history in enumerate(histories):
        left = set(range(len(names))) if allowed is None else set(np.flatnonzero(allowed).tolist())
        left -= set(excluded[row].tolist())
        length = min(k, len(left)) if how != "repeats" else k if left else 0
        found = items[row, :length]
        assert set(found.tolist()) <= left
        assert items[row, length:].tolist() == [-1] * (k - length)
        assert how == "repeats" or len(set(found.tolist())) == length
        np.testing.assert_allclose(log_probs[row, :length], brute_force(model, history)[found], atol=1e-9)
        assert how != "beams" or (np.diff(log_probs[row, :length]) <= 0).all()


@pytest.mark.parametrize(("normalize", "distinct"), [("catalog", True), ("catalog", False), ("vocabulary", True)])
def test_titles_come_as_often_as_their_probability_says(normalize, distinct):
    # the toy's tokens, softmax over legal ones: T1 .226649, T2 .202427, T3 .301985, T4 .268941, see test_beams_by_hand
    # for their logs; under `vocabulary` the legal tokens are drawn in the same proportions
    lists = draws(toy(normalize), 1 if distinct else 5, 600 if distinct else 120, distinct=distinct)
    share = np.bincount(lists.ravel(), minlength=4) / lists.size
    np.testing.assert_allclose(share, [0.226649, 0.202427, 0.301985, 0.268941], atol=0.06)  # 3 standard errors


@BOTH
@pytest.mark.parametrize("distinct", [True, False])
def test_without_a_title_of_one_token_the_others_come_as_often_as_their_probability_given_that(normalize, distinct):
    model = model_of([(2,), (3,), (4,)], HashedPolicy(VOCABULARY, 3), normalize)
    # under `vocabulary` too: what a title's end has beside other tokens is no matter of the draw
    chance = np.exp(brute_force(replace(model, normalize="catalog"), ids()))
    left_out = int(chance.argmax())
    expected = np.where(np.arange(3) == left_out, 0, chance) / np.delete(chance, left_out).sum()
    found = shares_without(model, left_out, distinct)
    np.testing.assert_allclose(found, expected, atol=0.08 if distinct else 0.035)  # 4 standard errors


@BOTH
@pytest.mark.parametrize("distinct", [True, False])
def test_without_a_title_of_several_tokens_its_share_falls_to_those_that_begin_like_it(normalize, distinct):
    # T1 = a b $ left out: a .731059 and e .268941 as before, then c alone, then d .598688 and $ .401312
    by_token = [0, 0.731059 * 0.401312, 0.731059 * 0.598688, 0.268941]
    given_that = np.array([0, 0.202427, 0.301985, 0.268941]) / (1 - 0.226647)  # .261753, .390489, .347761
    found = shares_without(toy(normalize), 0, distinct)
    np.testing.assert_allclose(found, by_token, atol=0.08 if distinct else 0.035)
    assert distinct or np.abs(found - given_that).max() > 0.04


def shares_without(model: TitleModel, left_out: int, distinct: bool) -> np.ndarray:
    """How often each item comes first, in 600 lists, or in one of 3,000 draws with repeats."""
    count, k = (600, 1) if distinct else (1, 3000)
    keys = [("without", number) for number in range(count)]
    how = {"keys": keys, "sampling": Sampling(distinct=distinct)}
    lists, _ = sample_titles(model, ONE * count, [ids(left_out)] * count, k, **how)
    return np.bincount(lists.ravel(), minlength=model.tree.items) / lists.size


def test_lists_without_repeats_come_as_often_as_drawing_one_after_the_other_says():
    chance = np.array([0.226649, 0.202427, 0.301985, 0.268941])
    lists = draws(toy("catalog"), 2, 600).tolist()
    for first, second in permutations(range(4), 2):
        expected = chance[first] * chance[second] / (1 - chance[first])
        assert lists.count([first, second]) / 600 == pytest.approx(expected, abs=0.045)


def test_temperature_sharpens_and_flattens():
    # at .01 the likeliest token each time: a, c, d; the choices are 2, then 2, then 2: flat, T4 is one in two
    assert set(draws(toy("catalog"), 1, 50, temperature=0.01).ravel().tolist()) == {2}
    share = np.bincount(draws(toy("catalog"), 1, 300, temperature=1000.0).ravel(), minlength=4) / 300
    np.testing.assert_allclose(share, [0.25, 0.125, 0.125, 0.5], atol=0.09)


@pytest.mark.parametrize("cut", [{"top_k": 1}, {"top_p": 0.5}])
def test_what_is_cut_is_drawn_only_to_fill_a_list(cut):
    # the likelier token has more than half each time: a .731, c .592, d .515
    assert set(draws(toy("catalog"), 1, 30, **cut).ravel().tolist()) == {2}
    assert set(draws(toy("catalog"), 3, 30, distinct=False, **cut).ravel().tolist()) == {2}
    filled = draws(toy("catalog"), 4, 30, **cut)
    assert (filled[:, 0] == 2).all()
    assert (np.sort(filled, axis=1) == [0, 1, 2, 3]).all()


def test_cuts_by_hand():
    # .5 .3 .2: the first that reach .5 is one alone, that reach .7 are two; top_k first, and top_p of what that leaves
    logits = np.log([0.3, 0.5, 0.2])
    for cut, kept in (({"top_p": 0.5}, [1]), ({"top_p": 0.7}, [0, 1]), ({"top_k": 2, "top_p": 0.63}, [0, 1])):
        left = np.exp(Sampling(**cut).log_probs(logits))
        assert np.flatnonzero(left > 0).tolist() == kept
        np.testing.assert_allclose(left[kept], np.exp(logits[kept]) / np.exp(logits[kept]).sum())


def test_equal_titles_are_one_draw_in_a_list_and_one_of_them_with_repeats():
    model = model_of([(2,), (2,), (3,)], HashedPolicy(VOCABULARY))
    assert {tuple(row) for row in draws(model, 3, 40).tolist()} == {(0, 1, 2), (2, 0, 1)}
    assert set(draws(model, 2, 40, distinct=False).ravel().tolist()) == {0, 1, 2}


@pytest.mark.parametrize("distinct", [True, False])
def test_draws_depend_on_their_key_and_on_nobody_beside_them(distinct):
    model = TitleModel(HashedPolicy(30), catalog_tree(), NEXT, "catalog")
    histories, keys = [ids(0), ids(3, 4), ids(5)], [("user", 7), ("user", 8), ("user", 9)]
    how = {"sampling": Sampling(distinct=distinct)}
    together, _ = sample_titles(model, histories, [ids()] * 3, 4, keys=keys, **how)
    for row in range(3):
        alone, _ = sample_titles(model, [histories[row]], ONE, 4, keys=[keys[row]], **how)
        assert alone[0].tolist() == together[row].tolist()
    other, _ = sample_titles(model, histories, [ids()] * 3, 4, keys=[("other", *key) for key in keys], **how)
    assert other.tolist() != together.tolist()


@BOTH
@torch.no_grad()
def test_kept_histories_draw_the_same(normalize):
    model = TitleModel(language_policy("llama"), catalog_tree(), NEXT, normalize)
    histories, how = [ids(0, 5, 4), ids()], {"keys": [(1,), (2,)], "sampling": Sampling()}
    for search in (beam_top, lambda *case: sample_titles(*case, **how)):
        (items, log_probs), (kept, theirs) = (
            search(replace(model, keeps=keeps), histories, [ids()] * 2, 4) for keeps in (False, True)
        )
        assert items.tolist() == kept.tolist()
        np.testing.assert_allclose(log_probs, theirs, atol=1e-6)


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"top_p": 0.0}, {"top_p": 1.5}, {"top_k": 0}])
def test_settings_that_mean_nothing_are_named(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        Sampling(**wrong)


def test_fewer_beams_than_the_list_is_long_are_refused():
    with pytest.raises(UserError, match="2 beams"):
        beam_top(toy("catalog"), ONE, ONE, 3, beams=2)
