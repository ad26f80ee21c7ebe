"""MSL's adaptive temperature of the catalog's softmax in training (arXiv 2504.04178).

Path    logits of children -> [scoring.temperature] -> log-probabilities of titles, in SFT
Takes   logits at first places: the right token's, and those of all that may stand there
Gives   a temperature near which the right first token has probability eta; its moving average is a buffer

With few competitors probabilities come near 1 and gradients vanish. For Gaussian logits the mean of exp(z / tau) is
exp(mu / tau + s2 / (2 tau^2)); setting the right token's probability to eta gives C tau^2 - D tau + s2 / 2 = 0.
"""

import math
from typing import Annotated

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn

from napo.scoring.batch import TokenBatch
from napo.scoring.shared_prefix import TreeOnDevice
from napo.settings import Strict


class Settings(Strict):
    """The keys under `sft.temperature:` in a recipe."""

    eta: Annotated[float, Field(gt=0, lt=1)] = 0.25  # wanted probability of the right first token
    momentum: Annotated[float, Field(gt=0, le=1)] = 0.05  # step of the moving average
    start: PositiveFloat = 1.5
    low: PositiveFloat = 1.5
    high: PositiveFloat = 5.0


def solved_temperature(right: Tensor, allowed: Tensor, children: int, settings: Settings) -> Tensor:
    """0-d tau*, clamped. right: (n,) logits of the right first tokens; allowed: (n, children) of all first tokens.

        D = mean(right) - mean(allowed),  C = log(children * eta),  tau* = (D + sqrt(max(0, D^2 - 2 C s2))) / (2 C)

    s2 is the variance (n - 1) of all the allowed logits. Where children * eta <= 1 there is nothing to solve: 1.
    """
    scale = math.log(children * settings.eta)
    if scale <= 0:
        return right.new_ones(())
    gap = right.mean() - allowed.mean()
    root = (gap**2 - 2 * scale * allowed.var()).clamp(min=0).sqrt()
    return ((gap + root) / (2 * scale)).clamp(settings.low, settings.high)


class AdaptiveTemperature(nn.Module):
    """The moving average of tau*, updated before use, in training mode alone. The loss is multiplied by it."""

    value: Tensor

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("value", torch.tensor(settings.start))

    @torch.no_grad()
    def forward(self, logits: Tensor, batch: TokenBatch, tree: TreeOnDevice) -> Tensor:
        """The temperature to use now, 0-d, without gradient. logits: (P, U) of the batch's places."""
        first = batch.nodes == tree.first_choice  # (P,) where a title's first choice is made
        if self.training and bool(first.any()):
            start, stop = tree.child_start[tree.first_choice], tree.child_start[tree.first_choice + 1]
            columns = tree.edge_column[start:stop]  # all first tokens
            allowed = logits[first][:, columns]
            begins = first[batch.place]
            right = logits[batch.place[begins], torch.searchsorted(tree.vocabulary, batch.target[begins])]
            solved = solved_temperature(right, allowed, allowed.shape[1], self.settings).to(self.value)
            self.value += self.settings.momentum * (solved - self.value)
        return self.value.clone()
