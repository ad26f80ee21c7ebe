"""Histories remembered from one search to the next: the same answers, within the memory that was allowed."""

import numpy as np
import pytest
import torch

from napo.models.kept_states import KeptStates
from napo.scoring import prefix_cache
from napo.scoring.prefix_cache import PrefixCache, Remembered
from tests.recommenders import small_recommender


def state(tokens: int) -> Remembered:
    """4 bytes a number: 8 for `last`, 16 a token for one layer's keys and values of two numbers each."""
    side = torch.zeros(1, 1, tokens, 2)
    return Remembered(torch.zeros(2), KeptStates([(side, side.clone())]))


def test_the_least_recently_used_goes_first_and_the_bytes_are_counted():
    cache = PrefixCache(most_bytes=2 * (8 + 16 * 3))
    cache.put(b"a", state(3))
    cache.put(b"b", state(3))
    assert (len(cache), cache.bytes) == (2, 112)
    assert cache.get(b"a") is not None
    cache.put(b"c", state(2))
    assert [cache.get(key) is not None for key in (b"a", b"b", b"c")] == [True, False, True]
    assert cache.bytes == 56 + 40
    assert (cache.hits, cache.misses) == (3, 1)


def test_what_is_larger_than_the_whole_cache_is_not_kept():
    cache = PrefixCache(most_bytes=50)
    cache.put(b"a", state(3))
    assert (len(cache), cache.bytes) == (0, 0)


def test_there_are_never_more_states_than_a_process_may_have_mappings(monkeypatch):
    monkeypatch.setattr(prefix_cache, "MOST", 2)
    cache = PrefixCache(most_bytes=10_000)
    for key in (b"a", b"b", b"c"):
        cache.put(key, state(3))
    assert (len(cache), cache.bytes, cache.get(b"a")) == (2, 112, None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_remembered_is_a_copy_in_one_piece_of_memory_of_its_own(dtype):
    rows = torch.arange(2 * 3 * 4 * 5, dtype=dtype).view(2, 3, 4, 5)
    last, kept = torch.arange(6, dtype=dtype)[1:], KeptStates([(rows, rows + 1), (rows + 2, rows + 3)])
    copied = Remembered.copied(last, kept.row(1, 2))
    assert torch.equal(copied.last, last)
    for layer, (keys, values) in enumerate(copied.kept.layers):
        assert torch.equal(keys, rows[1:, :, :2] + 2 * layer)
        assert torch.equal(values, rows[1:, :, :2] + 2 * layer + 1)
    parts = [copied.last, *copied.kept.sides]
    assert len({part.untyped_storage().data_ptr() for part in parts}) == 1
    assert parts[0].untyped_storage().nbytes() == copied.bytes == last.element_size() * (5 + 4 * 3 * 2 * 5)
    rows.zero_()
    assert copied.kept.sides[0].sum() > 0


def test_where_the_system_has_no_mapping_left_states_lie_in_the_heap(monkeypatch):
    def none(*given, **flags):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(prefix_cache.mmap, "mmap", none)
    rows = torch.arange(24.0).view(1, 2, 3, 4)
    copied = Remembered.copied(torch.ones(5), KeptStates([(rows, rows + 1)]))
    assert torch.equal(copied.kept.sides[1], rows + 1)
    assert torch.equal(copied.last, torch.ones(5))


def test_rows_of_unlike_length_are_stacked_with_padding_behind():
    short, long = (KeptStates([(torch.full((1, 1, n, 2), float(n)),) * 2]) for n in (1, 3))
    both = KeptStates.stacked([short, long])
    assert both.length == 3
    assert both.layers[0][0][:, 0, :, 0].tolist() == [[1, 0, 0], [3, 3, 3]]
    assert torch.equal(both.row(1, 3).layers[0][0], long.layers[0][0])


def test_a_remembered_history_gives_the_same_list():
    plain, remembering = small_recommender(), small_recommender(remembers=10_000_000)
    assert remembering.ranker.model.keeps
    histories = [["Alien", "i20"], ["Aliens"] * 7, ["i08"], ["Alien", "i20"]]
    for _ in range(2):
        expected, found = (one.recommend_many(histories, k=12) for one in (plain, remembering))
        for wanted, got in zip(expected, found, strict=True):
            assert [one.item for one in got] == [one.item for one in wanted]
            assert [one.log_prob for one in got] == pytest.approx([one.log_prob for one in wanted], abs=1e-5)
    cache = remembering.remembered
    assert (cache.misses, cache.hits, len(cache)) == (3, 3, 3)
    # one that is known and one that is new, of another length, in one search
    mixed = [["Aliens"] * 7, ["i05", "i06", "i07", "i09"]]
    for wanted, got in zip(plain.recommend_many(mixed), remembering.recommend_many(mixed), strict=True):
        assert [one.item for one in got] == [one.item for one in wanted]


def test_what_is_remembered_does_not_hold_the_batch_that_it_was_cut_from():
    remembering = small_recommender(remembers=10_000_000)
    remembering.recommend_many([["Alien"], [f"i{number:02d}" for number in range(30)]])
    for kept in remembering.remembered._states.values():
        keys = kept.kept.layers[0][0]
        assert keys.untyped_storage().nbytes() == kept.bytes
        assert np.isfinite(kept.last.numpy()).all()
