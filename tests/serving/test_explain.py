"""Why a title stands where it does: numbers that have to agree with scoring the same titles."""

import numpy as np
import pytest

from napo.errors import UserError
from napo.serving.explain import pieces
from tests.recommenders import TITLES, small_recommender

HISTORY = ["Alien", "Title number 9", "i20"]


@pytest.fixture(scope="module")
def recommender():
    return small_recommender(max_history=3)


@pytest.fixture(scope="module")
def explained(recommender):
    return recommender.explain(HISTORY, "Title number 12")


def test_the_log_probs_are_those_of_scoring_with_the_history_and_without(recommender, explained):
    assert explained.log_prob == pytest.approx(recommender.score(HISTORY, ["Title number 12"])[0], abs=1e-5)
    assert explained.prior == pytest.approx(recommender.score([], ["Title number 12"])[0], abs=1e-5)
    assert explained.lift == explained.log_prob - explained.prior


def test_tokens_sum_to_the_title_in_numbers_and_in_letters(explained):
    assert sum(token.log_prob for token in explained.tokens) == pytest.approx(explained.log_prob)
    assert sum(token.prior for token in explained.tokens) == pytest.approx(explained.prior)
    assert "".join(token.text for token in explained.tokens) == "Title number 12"
    assert explained.tokens[-1].text == ""


def test_forced_tokens_cost_nothing_under_catalog(recommender):
    # no other title begins as "Me; Myself" does, so all its tokens but one or two are forced
    tokens = recommender.explain(HISTORY, "Me; Myself").tokens
    assert tokens[-1].log_prob == 0
    assert tokens[0].log_prob < 0


def test_each_item_of_the_history_is_left_out_in_turn(recommender, explained):
    assert sorted(share.place for share in explained.history) == [1, 2, 3]
    changes = [share.change for share in explained.history]
    assert changes == sorted(changes, reverse=True)
    for share in explained.history:
        without = [*HISTORY[: share.place - 1], *HISTORY[share.place :]]
        expected = explained.log_prob - recommender.score(without, ["Title number 12"])[0]
        assert share.change == pytest.approx(expected, abs=1e-5)
    assert {share.title for share in explained.history} == {"Alien", "Title number 9", "Title number 20"}


def test_what_the_prompt_does_not_show_has_no_share_and_places_count_from_the_oldest(recommender):
    explained = recommender.explain(["Aliens", *HISTORY], "Title number 12")
    assert sorted(share.place for share in explained.history) == [2, 3, 4]
    assert explained.notes == ("history cut to the newest 3 of 4 items",)


def test_without_a_history_log_prob_and_prior_are_one(recommender):
    explained = recommender.explain([], "Alien")
    assert (explained.history, explained.lift) == ((), pytest.approx(0))


def test_a_user_can_be_explained_and_a_title_that_is_not_there_can_not(recommender):
    assert [share.title for share in recommender.explain(title="Alien", user="ann").history]
    with pytest.raises(UserError, match="'Alein' is not a title") as caught:
        recommender.explain(HISTORY, "Alein")
    assert caught.value.where == "title, item 1"


def test_several_are_explained_as_one_by_one(recommender, explained):
    named, items = recommender.named(HISTORY, None), np.array([0, 12])
    both = recommender.explain_many(named, items)
    assert both[1].log_prob == pytest.approx(explained.log_prob, abs=1e-5)
    assert [one.title for one in both] == ["Alien", "Title number 12"]


def test_json_and_table_say_it_all(explained):
    from rich.console import Console

    said = explained.to_json()
    assert said["lift"] == pytest.approx(said["log_prob"] - said["prior"])
    assert len(said["history"]) == 3
    console = Console(width=120, record=True)
    console.print(explained.table())
    assert "Title number 12" in console.export_text()


def test_a_letter_of_several_tokens_comes_with_its_last_one(recommender):
    tokenizer = recommender.language.tokenizer
    tokens = [*tokenizer("Amé東", add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    texts = pieces(tokenizer, np.array(tokens))
    assert ("".join(texts), len(texts)) == ("Amé東", len(tokens))
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(texts)


def test_under_vocabulary_every_token_has_its_own_log_prob():
    recommender = small_recommender(normalize="vocabulary")
    explained = recommender.explain(HISTORY, TITLES[12])
    assert all(token.log_prob < 0 for token in explained.tokens)
    assert explained.log_prob == pytest.approx(recommender.score(HISTORY, [TITLES[12]])[0], abs=1e-4)
