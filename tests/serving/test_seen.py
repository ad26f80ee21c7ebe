"""What was seen is not recommended, whatever a model would like best."""

import pytest
import torch

from napo.scoring.continuations import TitleModel
from napo.scoring.ranker import TitleRanker
from tests.recommenders import small_recommender
from tests.scoring.toys import SeenPolicy


class Echo(SeenPolicy):
    """Wants the titles of the history again, the newest first."""

    def __init__(self, vocabulary, header, end):
        super().__init__()
        self.vocabulary, self.header, self.end = vocabulary, header, end

    def logits_after(self, seen):
        titles, begun = [], []
        for token in seen[self.header :]:
            begun.append(token)
            if token == self.end:
                titles.append(begun)
                begun = []
        logits = torch.zeros(self.vocabulary, dtype=torch.float64)
        for age, title in enumerate(titles, start=1):
            if title[: len(begun)] == begun:
                logits[title[len(begun)]] = 10.0 * age
        return logits

    def head(self, hidden, tokens):
        logits = torch.stack([self.logits_after(seen) for seen in self.states(hidden)])
        return logits if tokens is None else logits[:, tokens]


@pytest.fixture(scope="module")
def echo():
    recommender = small_recommender()
    language = recommender.language
    policy = Echo(len(language.tokenizer), len(language.frame.header), language.tree.end)
    recommender.ranker = TitleRanker(TitleModel(policy, language.tree, language.frame, "catalog"))
    return recommender


HISTORY = ["Me; Myself", "Alien", "Crash"]  # items 4, 0, and 2 with its twin 3


def test_with_seen_items_the_list_is_the_history(echo):
    found = echo.recommend(HISTORY, k=4, exclude_seen=False)
    assert [item.item for item in found] == [2, 3, 0, 4]


@pytest.mark.parametrize("k", [1, 10, 40])
def test_by_default_no_seen_item_is_in_any_list(echo, k):
    for found in (echo.recommend(HISTORY, k=k), *echo.recommend_many([HISTORY, HISTORY[::-1]], k=k)):
        assert len(found) == min(k, 36)
        assert not {0, 2, 3, 4} & {item.item for item in found}


def test_a_filter_does_not_bring_seen_items_back(echo):
    found = echo.recommend(HISTORY, k=40, filter="genre in Drama, Horror")
    assert not {0, 2, 3, 4} & {item.item for item in found}
    assert len(found) == 11  # of the others every third is a drama


def test_what_a_user_has_met_is_left_out_liked_or_not(echo):
    assert not {0, 8, 9} & {item.item for item in echo.recommend(user="ann", k=40)}  # 0 was met and not liked
    assert {8, 9} == {item.item for item in echo.recommend(user="ann", k=2, exclude_seen=False)}
