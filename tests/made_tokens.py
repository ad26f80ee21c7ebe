"""Tokens of examples that were never scored, for the tests of objectives alone."""

import torch

from napo.scoring.scored import LOWEST, Leads, Tokens

PLACES, COLUMNS, LAYERS = 2, 4, 2  # of each example; at each place; intermediate ones


def made_tokens(order: torch.Tensor, items: int, dtype: torch.dtype = torch.float64) -> Tokens:
    """Two places an example; at the second the last column is padding. order: permutes the examples.

    Column c leads to the c-th quarter of the items. The right token is where the example's number says.
    """
    random = torch.Generator().manual_seed(1)
    examples = len(order)
    drawn = 2 * torch.randn(1 + LAYERS, examples, PLACES, COLUMNS, generator=random, dtype=torch.float64)
    allowed = torch.ones(examples * PLACES, COLUMNS, dtype=torch.bool)
    allowed[1::PLACES, -1] = False
    logits = drawn[:, order].flatten(1, 2).to(dtype).masked_fill(~allowed, LOWEST)
    place = torch.arange(examples * PLACES).repeat_interleave(COLUMNS)
    column = torch.arange(COLUMNS).repeat(examples * PLACES)
    last = (column + 1) * items // COLUMNS
    leads = Leads(place, column, column * items // COLUMNS, last, torch.arange(items))
    right = (order % (COLUMNS - 1)).repeat_interleave(PLACES)
    return Tokens(logits[0], logits[1:], allowed, right, torch.arange(examples).repeat_interleave(PLACES), leads)
