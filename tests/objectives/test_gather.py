"""One process only; tests/invariants/test_napo_ranks.py has two."""

import torch

from napo.objectives._gather import gather_rows, gather_scored
from napo.scoring.scored import Scored


def test_without_ranks_rows_come_back_as_they_are():
    rows = torch.zeros(2, 3, requires_grad=True)
    assert gather_rows(rows) is rows


def test_without_ranks_scored_keeps_its_tensors_and_what_is_missing_stays_missing():
    scored = Scored(torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.int64))
    gathered = gather_scored(scored)
    assert gathered.policy is scored.policy
    assert gathered.reference is None
    assert gathered.side is None
