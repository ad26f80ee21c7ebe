"""A batch worked by hand: four examples, two rejected titles each, two peers each."""

import torch

from napo.scoring.scored import Scored, Side


def f64(rows):
    return torch.tensor(rows, dtype=torch.float64)


POLICY = f64([[-2, -3, -4], [-1.5, -2, -5], [-3, -3.5, -3], [-2.5, -6, -2]])
SIDE = Side(
    chosen=torch.tensor([0, 1, 2, 3]),
    rejected=torch.tensor([[10, 11], [12, 13], [14, 15], [16, 17]]),
    user=torch.tensor([0, 1, 2, 3]),
    seen=torch.tensor([[20, 21], [22, -1], [23, -1], [24, 25]]),
    history_vectors=f64([[1, 0], [0.8, 0.6], [0, 1], [-0.6, 0.8]]),
    auxiliary=f64([[0.2, -0.4], [1, 0.6], [-0.5, 0.1], [0.8, 0]]),
)
# peers {1, 2}, {0, 2}, {3, 1}, {2, 1}: row i holds the columns of its peers, two each
SHARED = torch.tensor(
    [[0, 0, 1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 1, 1, 0, 0], [0, 0, 1, 1, 0, 0, 1, 1], [0, 0, 1, 1, 1, 1, 0, 0]]
).bool()


def batch(policy=POLICY, side=SIDE, reference=None):
    return Scored(policy, torch.ones(policy.shape, dtype=torch.int64), reference, side)


def close(found, expected):
    torch.testing.assert_close(found.detach(), f64(expected), atol=2e-6, rtol=0, check_dtype=False)
