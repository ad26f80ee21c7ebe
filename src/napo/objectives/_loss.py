"""What every objective gives, and the few lines that all of them share.

Path    scoring -> objectives -> [Loss] -> update
Takes   Scored, per-example losses, rewards
Gives   Loss: losses of the examples with their graph, and logged figures without one
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from napo.scoring.scored import Scored


@dataclass(frozen=True, eq=False)
class Loss:
    """losses: (n,) nats, one an example, graph alive. figures: detached 0-d tensors, read when logged.

    The step's loss is  losses.sum() * ranks / examples over all ranks;  so uneven ranks weigh each example the same.
    An objective that shares across ranks gives the losses of all examples on every rank, and the same sum holds.
    """

    losses: Tensor
    figures: dict[str, Tensor]

    def __post_init__(self) -> None:
        assert self.losses.ndim == 1, f"losses: (n,), one an example, not {tuple(self.losses.shape)}"


def log_ratios(policy: Tensor, reference: Tensor | None) -> Tensor:
    """log (policy / reference) of each title; the policy's own log-probs where there is no reference."""
    return policy if reference is None else policy - reference


def token_means(log_probs: Tensor, lengths: Tensor) -> Tensor:
    """Log-probs a scored place instead of a title. A title without a place to choose at has log-prob 0, and mean 0."""
    return log_probs / lengths.clamp(min=1)


def preference_figures(scored: Scored, rewards: Tensor) -> dict[str, Tensor]:
    """The figures of every preference objective; rewards: (B, 1 + K), beta times what the loss compares.

    chosen_log_prob, rejected_log_prob: the policy's, nats a title, means over the batch.
    chosen_reward, rejected_reward, reward_margin: means; the margin is chosen - rejected, over all pairs.
    preference_accuracy: share of pairs with the chosen title's reward on top, a tie being one half.
    """
    policy, rewards = scored.policy.detach(), rewards.detach()
    margins = rewards[:, :1] - rewards[:, 1:]  # (B, K)
    return {
        "chosen_log_prob": mean(policy[:, 0]),
        "rejected_log_prob": mean(policy[:, 1:]),
        "chosen_reward": mean(rewards[:, 0]),
        "rejected_reward": mean(rewards[:, 1:]),
        "reward_margin": mean(margins),
        "preference_accuracy": mean((torch.sign(margins) + 1) / 2),
    }


def preference(scored: Scored, losses: Tensor, rewards: Tensor, *, sft_weight: float) -> Loss:
    """A preference objective's Loss: its figures, and sft_weight * (-chosen log-prob) added to each example.

    The added term is the usual guard against preference losses that widen the gap while both probabilities fall.
    """
    if sft_weight:
        losses = losses - sft_weight * scored.policy[:, 0]
    return Loss(losses, preference_figures(scored, rewards))


def mean(values: Tensor) -> Tensor:
    """The mean, 0-d; 0 of nothing, since a rank may be left without examples and its NaN would spoil all the others."""
    return values.sum() / max(values.numel(), 1)
