"""Any way of drawing rejected items goes with any objective: every pair of the two folders takes a step.

A sampler goes with each value of each setting that has a few to choose from, one at a time.
"""

import numpy as np
import pytest
import torch

from napo import plugins
from napo.negatives._protocol import Example
from napo.rng import rng_for
from napo.scoring.scored import Scored, Side
from tests.contracts.test_samplers import CONTEXT, EVERY, ITEMS
from tests.made_tokens import made_tokens

USERS, REJECTED = 4, (1, 3)


def step_with(sampler, rejected: int) -> Scored:
    """An example of each of four users, with the rejected items that the sampler draws for it."""
    generator = torch.Generator().manual_seed(0)
    examples = [Example(user, np.array([user, user + 5]), chosen=user + 10) for user in range(USERS)]
    seen = [np.append(example.history, example.chosen) for example in examples]
    drawn = np.stack(
        [sampler.draw(one, known, rejected, rng_for(one.user)) for one, known in zip(examples, seen, strict=True)]
    )
    histories, items = torch.randn(USERS, 4, generator=generator), torch.randn(ITEMS, 4, generator=generator)
    side = Side(
        chosen=torch.tensor([example.chosen for example in examples]),
        rejected=torch.from_numpy(drawn),
        user=torch.arange(USERS),
        seen=torch.from_numpy(np.stack(seen)),
        history_vectors=histories,
        history_means=histories,
        item_vectors=items,
        auxiliary=torch.einsum("bd,bkd->bk", histories, items[torch.from_numpy(drawn)]),
    )
    policy = -30 * torch.rand(USERS, 1 + rejected, generator=generator)
    tokens = made_tokens(torch.arange(USERS), ITEMS, policy.dtype)
    return Scored(policy.requires_grad_(), torch.full((USERS, 1 + rejected), 4), policy.detach() - 1, side, tokens)


@pytest.mark.parametrize("rejected", REJECTED)
@pytest.mark.parametrize("objective_name", plugins.names("objectives"))
@EVERY
def test_an_objective_takes_what_any_sampler_draws(name, keys, objective_name, rejected):
    negatives, objectives = plugins.load("negatives", name), plugins.load("objectives", objective_name)
    scored = step_with(negatives.Sampler(CONTEXT, negatives.Settings(**keys)), rejected)
    losses = objectives.Objective(objectives.Settings())(scored).losses
    (gradient,) = torch.autograd.grad(losses.sum(), scored.policy)
    assert losses.shape == (USERS,)
    assert losses.isfinite().all()
    assert gradient.isfinite().all()
    assert gradient[:, 0].any()
