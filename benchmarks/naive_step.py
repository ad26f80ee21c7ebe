"""The usual way to the log-probs of 1 + K titles: a whole sequence each, logits at every position.

Path    rows -> [naive_step] -> shared_prefix (the benchmark)
Takes   a causal model; the rows that the shared prefix packs
Gives   log-probs summed over each title (titles,), nats

`napo.scoring.naive` is kinder: it runs the head on title tokens alone. This is what preference trainers do.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from napo.models.policy import LanguagePolicy
from napo.scoring.batch import Frame, Row
from napo.scoring.naive import sequences_of
from napo.scoring.tree import PrefixTree


class NaiveStep:
    """The sequences of some rows, laid out once; scored as often as wanted."""

    def __init__(self, rows: Sequence[Row], tree: PrefixTree, frame: Frame) -> None:
        prompts, items = sequences_of(rows, tree, frame)
        titles = [tree.title(int(item)) for item in items]
        width = max(len(prompt) + len(title) for prompt, title in zip(prompts, titles, strict=True))
        ids = np.full((len(items), width), tree.end, dtype=np.int64)
        is_title = np.zeros((len(items), width), dtype=np.bool_)
        for row, (prompt, title) in enumerate(zip(prompts, titles, strict=True)):
            end = len(prompt) + len(title)
            ids[row, :end] = np.concatenate([prompt, title])
            is_title[row, len(prompt) : end] = True
        self.ids, self.is_title = torch.from_numpy(ids), torch.from_numpy(is_title)

    def log_probs(self, policy: LanguagePolicy) -> Tensor:
        logits: Tensor = policy.model(input_ids=self.ids, use_cache=False).logits  # (titles, L, V)
        by_token = logits[:, :-1].float().log_softmax(dim=2).gather(2, self.ids[:, 1:, None])[..., 0]
        return (by_token * self.is_title[:, 1:]).sum(dim=1)
