"""The module that a trainer trains: policy and objective as one, so that its forward gives the loss.

Path    training.batches -> [training.module] -> update
Takes   a batch of tensors
Gives   Loss; DDP, FSDP and DeepSpeed wrap this module like any other
"""

from typing import Any

from torch import Tensor, nn

from napo.models.policy import LanguagePolicy
from napo.objectives._loss import Loss
from napo.scoring.batch import Normalize, TokenBatch
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
    ) -> None:
        super().__init__()
        self.policy, self.objective, self.normalize, self.temperature = policy, objective, normalize, temperature
        self._tree, self._on_device = tree, TreeOnDevice(tree)

    def scored(self, batch: dict[str, Any]) -> Scored:
        """(B, 1 + K) log-probs of a batch under the policy as it is now."""
        tokens = TokenBatch(**batch["tokens"])
        if self._on_device.vocabulary.device != tokens.input_ids.device:
            self._on_device = TreeOnDevice(self._tree, tokens.input_ids.device)
        columns = batch["columns"]
        by_title = title_log_probs(self.policy, tokens, self._on_device, self.normalize, self.temperature)
        return Scored(by_title[columns], tokens.lengths[columns], batch.get("reference"), _side(batch))

    def forward(self, batch: dict[str, Any]) -> Loss:
        loss = self.objective(self.scored(batch))
        assert isinstance(loss, Loss), f"an objective gives a Loss, not a {type(loss).__name__}"
        return loss


def _side(batch: dict[str, Any]) -> Side | None:
    if "seen" not in batch:
        return None
    names: list[str] = ["chosen", "rejected", "user", "seen"]
    given: dict[str, Tensor] = {name: batch[name] for name in names}
    return Side(**given, history_vectors=batch.get("history_vectors"), auxiliary=batch.get("auxiliary"))
