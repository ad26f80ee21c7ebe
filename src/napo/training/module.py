"""The module that a trainer trains: policy and objective as one, so that its forward gives the loss.

Path    training.batches -> [training.module] -> update
Takes   a batch of tensors
Gives   Loss; DDP, FSDP and DeepSpeed wrap this module like any other
"""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from torch import Tensor, nn

from napo.models.policy import LanguagePolicy
from napo.objectives._loss import Loss
from napo.scoring.batch import Normalize, TokenBatch
from napo.scoring.by_token import ItemsBelow, titles_and_tokens
from napo.scoring.scored import Scored, Side
from napo.scoring.shared_prefix import TreeOnDevice, title_log_probs
from napo.scoring.temperature import AdaptiveTemperature
from napo.scoring.tree import PrefixTree


class PreferenceModule(nn.Module):
    """Scores a batch's titles and gives the objective's loss.

    The states of objective and temperature are buffers: they are saved and resumed with it.
    """

    def __init__(
        self,
        policy: LanguagePolicy,
        objective: nn.Module,
        tree: PrefixTree,
        normalize: Normalize,
        temperature: AdaptiveTemperature | None = None,
        item_vectors: Tensor | None = None,
    ) -> None:
        """item_vectors: (items, d) the auxiliary recommender's; they are frozen, and no part of the state."""
        super().__init__()
        self.policy, self.objective, self.normalize, self.temperature = policy, objective, normalize, temperature
        self._tree, self._on_device = tree, TreeOnDevice(tree)
        self._item_vectors = item_vectors
        asks: Callable[[int], tuple[int, ...]] | None = getattr(objective, "token_layers", None)
        # nothing of it is made for objectives that look at titles alone
        self._layers = None if asks is None else asks(policy.lens.depth)
        self._below = None if asks is None else ItemsBelow(tree)

    def scored(self, batch: dict[str, Any]) -> Scored:
        """(B, 1 + K) log-probs of a batch under the policy as it is now."""
        tokens = TokenBatch(**batch["tokens"])
        if self._on_device.vocabulary.device != tokens.input_ids.device:
            self._on_device = TreeOnDevice(self._tree, tokens.input_ids.device)
            self._below = None if self._below is None else ItemsBelow(self._tree, tokens.input_ids.device)
        columns = batch["columns"]
        by_token = None
        if self._layers is None or self._below is None:
            by_title = title_log_probs(self.policy, tokens, self._on_device, self.normalize, self.temperature)
        else:
            assert self.temperature is None, "no objective that looks at tokens is trained at a temperature"
            by_title, by_token = titles_and_tokens(
                self.policy, tokens, self._on_device, self._below, self.normalize, columns[:, 0], self._layers
            )
        return Scored(by_title[columns], tokens.lengths[columns], batch.get("reference"), self._side(batch), by_token)

    def _side(self, batch: dict[str, Any]) -> Side | None:
        if "seen" not in batch:
            return None
        given = {field.name: batch[field.name] for field in fields(Side) if field.name in batch}
        if self._item_vectors is not None:
            self._item_vectors = self._item_vectors.to(batch["seen"].device)  # moves once
        return Side(**given, item_vectors=self._item_vectors)

    def forward(self, batch: dict[str, Any]) -> Loss:
        loss = self.objective(self.scored(batch))
        assert isinstance(loss, Loss), f"an objective gives a Loss, not a {type(loss).__name__}"
        return loss
