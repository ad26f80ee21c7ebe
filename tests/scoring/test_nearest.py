import numpy as np
import pytest

from napo.scoring.generate import Sampling
from napo.scoring.nearest import NearestWriter, nearest_of
from tests.recommenders import FILMS
from tests.scoring.test_writer import HISTORIES, language_of

NOTHING = [np.array([], dtype=np.int64)] * len(HISTORIES)
KEYS = [(0, case) for case in range(len(HISTORIES))]


class Writes:
    """Says what it is told to, and how often it was asked."""

    def __init__(self, texts) -> None:
        self.texts, self.asked = texts, 0

    def write(self, histories, candidates):
        self.asked += len(histories)
        return [self.texts[len(history)] for history in histories]

    def draw(self, histories, count, *, keys, sampling):
        return [[self.texts[len(history)]] * count for history in histories]


@pytest.fixture
def writer():
    made = NearestWriter(language_of())
    made._writer = Writes({6: FILMS.titles[4], 1: FILMS.titles[5][:-1], 0: FILMS.titles[0], 2: FILMS.titles[7]})
    return made


def test_lists_hold_what_comes_nearest_to_the_text_but_for_what_is_left_out(writer):
    assert writer.top(HISTORIES, NOTHING, 1)[:, 0].tolist() == [4, 5, 0, 7]
    out = [np.array([4]), np.array([], dtype=np.int64), np.array([0]), np.array([7])]
    lists, scores = writer.top_with_scores(HISTORIES, out, 4)
    for items, left_out in zip(lists, out, strict=True):
        assert not set(items.tolist()) & set(left_out.tolist())
        assert len(set(items.tolist())) == 4
    assert (np.diff(scores, axis=1) <= 0).all()


def test_a_filter_holds_and_short_lists_are_filled_up(writer):
    allowed = np.zeros(len(FILMS), dtype=np.bool_)
    allowed[[1, 4]] = True
    lists, scores = writer.top_with_scores(HISTORIES[:1], NOTHING[:1], 3, allowed)
    assert lists.tolist() == [[4, 1, -1]]
    assert scores[0, 2] == -np.inf


def test_ranks_agree_with_lists_and_candidates_with_both(writer):
    everything = writer.top(HISTORIES, NOTHING, len(FILMS))
    for place in (0, 4):
        assert (writer.target_ranks(HISTORIES, NOTHING, everything[:, place]) >= place + 1).all()
    assert writer.target_ranks(HISTORIES, NOTHING, everything[:, 0]).tolist() == [1, 1, 1, 1]
    scores = writer.candidate_scores(HISTORIES, everything)
    assert (np.diff(scores, axis=1) <= 0).all()
    # one that is left out does not count; the target does, even there
    second = everything[:, 1]
    before = writer.target_ranks(HISTORIES, NOTHING, second)
    assert (writer.target_ranks(HISTORIES, [row[:2] for row in everything], second) == before - 1).all()


def test_a_text_is_written_once_for_list_and_rank(writer):
    writer.top(HISTORIES, NOTHING, 2)
    writer.target_ranks(HISTORIES, NOTHING, np.zeros(4, dtype=np.int64))
    assert writer._writer.asked == 4


def test_texts_drawn_alike_become_different_items(writer):
    drawn = writer.draw(HISTORIES, NOTHING, 3, keys=KEYS, sampling=Sampling())
    assert drawn[:, 0].tolist() == [4, 5, 0, 7]
    assert all(len(set(row.tolist())) == 3 for row in drawn)


def test_equal_likeness_is_ordered_by_id():
    assert nearest_of(np.array([0.5, 0.9, 0.9, 0.9]), np.array([True, True, False, True]), 3).tolist() == [1, 3, 0]


def test_what_a_model_draws_is_keyed_and_leaves_torchs_chance_alone():
    import torch

    writer = NearestWriter(language_of())
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = writer._writer.draw(HISTORIES, 2, keys=KEYS, sampling=Sampling())
    assert torch.equal(torch.get_rng_state(), before)
    assert first == writer._writer.draw(HISTORIES, 2, keys=KEYS, sampling=Sampling())
    other = writer._writer.draw(HISTORIES, 2, keys=[(1, case) for case in range(4)], sampling=Sampling())
    assert [len(texts) for texts in first] == [2, 2, 2, 2]
    assert first != other


def test_drawing_at_almost_no_temperature_is_writing():
    writer = NearestWriter(language_of())._writer
    cold = writer.draw(HISTORIES, 1, keys=KEYS, sampling=Sampling(temperature=1e-4))
    assert [texts[0] for texts in cold] == writer.write(HISTORIES, np.empty((4, 0), dtype=np.int64))
