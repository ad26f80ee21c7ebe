from dataclasses import replace

import pytest
import torch

from napo.scoring.scored import Scored, Side

SIDE = Side(
    chosen=torch.tensor([0, 1]),
    rejected=torch.tensor([[2, 3, 4], [5, 6, 7]]),
    user=torch.tensor([0, 1]),
    seen=torch.tensor([[0, 8], [1, -1]]),
)
SCORED = Scored(torch.zeros(2, 4), torch.ones(2, 4, dtype=torch.int64), torch.zeros(2, 4), SIDE)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"policy": torch.zeros(2)}, "policy"),
        ({"policy": torch.zeros(2, 4, dtype=torch.bfloat16)}, "bfloat16"),
        ({"lengths": torch.ones(2, 3, dtype=torch.int64)}, "lengths"),
        ({"lengths": torch.ones(2, 4)}, "integers"),
        ({"reference": torch.zeros(2, 3)}, "reference"),
        ({"reference": torch.zeros(2, 4, requires_grad=True)}, "frozen"),
        ({"side": replace(SIDE, rejected=torch.tensor([[2, 3], [5, 6]]))}, "beside"),
    ],
)
def test_scored_refuses_tensors_that_do_not_belong_together(wrong, word):
    with pytest.raises(AssertionError, match=word):
        replace(SCORED, **wrong)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"chosen": torch.tensor([0])}, "chosen"),
        ({"rejected": torch.tensor([2, 3])}, "rejected"),
        ({"user": torch.tensor([0, 1, 2])}, "user"),
        ({"user": torch.tensor([0.0, 1.0])}, "int64"),
        ({"seen": torch.tensor([[0, 8]])}, "seen"),
        ({"history_vectors": torch.zeros(3, 8)}, "history_vectors"),
        ({"auxiliary": torch.zeros(2, 2)}, "auxiliary"),
    ],
)
def test_side_refuses_tensors_of_other_examples(wrong, word):
    with pytest.raises(AssertionError, match=word):
        replace(SIDE, **wrong)


def test_a_missing_reference_is_an_error_only_where_it_is_needed():
    without = replace(SCORED, reference=None)
    assert without.reference_if(needed=False) is None
    assert SCORED.reference_if(needed=False) is None
    assert SCORED.reference_if(needed=True) is SCORED.reference
    with pytest.raises(AssertionError, match="reference"):
        without.reference_if(needed=True)
