import numpy as np
import pytest
import torch

from napo.objectives._peers import choose_peers, closeness_by, eligible_peers, known_items, peer_counts, random_keys

STEP = torch.tensor(3)


def sets(mask):
    return [set(row.nonzero().flatten().tolist()) for row in mask]


def test_no_example_is_its_own_peer_nor_that_of_its_copy():
    user, chosen = torch.tensor([0, 0, 1, 0]), torch.tensor([7, 7, 7, 8])
    rejected = torch.tensor([[1, 2], [1, 2], [1, 2], [1, 2]])  # the second row is the first once more
    assert sets(eligible_peers(user, chosen, rejected, pool="batch")) == [{2, 3}, {2, 3}, {0, 1, 3}, {0, 1, 2}]
    assert sets(eligible_peers(user, chosen, rejected, pool="row")) == [{3}, {3}, set(), {0, 1}]


def test_the_same_item_taken_twice_makes_two_examples_and_no_copy():
    rejected = torch.tensor([[1, 2], [3, 4]])
    mask = eligible_peers(torch.tensor([0, 0]), torch.tensor([7, 7]), rejected, pool="row")
    assert sets(mask) == [{1}, {0}]


@pytest.mark.parametrize(
    ("others", "accept_ratio", "max_peers", "expected"),
    [
        (15, 0.5, None, 7),
        (15, 0.7, None, 10),
        (15, 0.8, None, 12),
        (15, 1.0, None, 15),
        (15, 0.7, 4, 4),
        (10, 0.7, None, 7),
        (100, 0.29, None, 29),  # 28.999999999999996 in floats
        (1, 0.7, None, 0),
        (0, 1.0, None, 0),
    ],
)
def test_the_number_of_peers_is_the_floor_of_the_ratio(others, accept_ratio, max_peers, expected):
    eligible = ~torch.eye(others + 1, dtype=torch.bool)
    counts = peer_counts(eligible, accept_ratio=accept_ratio, max_peers=max_peers)
    assert counts.tolist() == [expected] * (others + 1)


def test_peers_are_counted_for_each_example_by_its_own_pool():
    user = torch.tensor([0, 0, 0, 1, 1, 2])
    mask = eligible_peers(user, torch.arange(6), torch.arange(6)[:, None], pool="row")
    assert peer_counts(mask, accept_ratio=0.5, max_peers=None).tolist() == [1, 1, 1, 0, 0, 0]
    assert peer_counts(mask, accept_ratio=1.0, max_peers=None).tolist() == [2, 2, 2, 1, 1, 0]


VECTORS = torch.tensor([[1, 0], [0.8, 0.6], [0, 1], [-0.6, 0.8]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("order", "expected"),
    # products of row 0: .8 0 -.6; row 1: .8 .6 0; row 2: 0 .6 .8; row 3: -.6 0 .8
    [("similar", [{1, 2}, {0, 2}, {3, 1}, {2, 1}]), ("least", [{3, 2}, {3, 2}, {0, 1}, {0, 1}])],
)
def test_peers_by_dot_products_by_hand(order, expected):
    eligible = ~torch.eye(4, dtype=torch.bool)
    closeness = closeness_by(order, torch.arange(4), torch.arange(4), VECTORS, STEP)
    assert sets(choose_peers(eligible, torch.full((4,), 2), closeness)) == expected


def test_similar_peers_without_vectors_is_our_fault():
    with pytest.raises(AssertionError, match="history vectors"):
        closeness_by("similar", torch.arange(4), torch.arange(4), None, STEP)


def test_equal_histories_tie_and_the_earlier_example_is_taken():
    eligible = ~torch.eye(4, dtype=torch.bool)
    mask = choose_peers(eligible, torch.tensor([1, 1, 2, 3]), torch.ones(4, 4))
    assert sets(mask) == [{1}, {0}, {0, 1}, {0, 1, 2}]


def test_random_peers_hang_on_ids_and_step_alone_not_on_the_order_of_the_batch_or_a_global_seed():
    user, chosen = torch.arange(40) // 2, torch.arange(40) * 7 % 31
    keys = random_keys(user, chosen, STEP)
    torch.manual_seed(1)
    order = torch.randperm(40)
    torch.testing.assert_close(random_keys(user[order], chosen[order], STEP), keys[order][:, order])
    assert not torch.equal(random_keys(user, chosen, STEP + 1), keys)


def test_random_peers_are_spread_evenly():
    # 60 examples, 6 of 59 peers each, 100 steps: each is taken 600 times on average, by a binomial of sd 23.2
    eligible = ~torch.eye(60, dtype=torch.bool)
    taken = torch.zeros(60)
    for step in range(100):
        closeness = closeness_by(
            "random", torch.zeros(60, dtype=torch.int64), torch.arange(60), None, torch.tensor(step)
        )
        mask = choose_peers(eligible, torch.full((60,), 6), closeness)
        assert (mask.sum(1) == 6).all()
        assert not mask.diagonal().any()
        taken += mask.sum(0)
    assert (taken - 600).abs().max() < 5 * 23.2


def test_known_items_equal_a_plain_loop():
    rng = np.random.default_rng(0)
    chosen, rejected = rng.integers(0, 20, 6), rng.integers(0, 20, (6, 3))
    seen = np.where(rng.random((6, 5)) < 0.3, -1, rng.integers(0, 20, (6, 5)))
    expected = [[item == chosen[i] or item in seen[i] for item in rejected.flatten()] for i in range(6)]
    found = known_items(*map(torch.from_numpy, (chosen, seen, rejected)))
    assert found.tolist() == expected
