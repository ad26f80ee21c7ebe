"""The logit lens: what the blocks of a causal model would say next, were each of them the last.

Path    models.policy -> [models.lens] -> scoring.by_token
Takes   the pass that a policy makes anyway: its blocks' states are caught at chosen places as they come by
Gives   logits of intermediate blocks, through the model's own last norm and head, which learn nothing by it
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from napo.errors import UserError
from napo.scoring.shared_prefix import device_of, judging

if TYPE_CHECKING:
    from napo.models.policy import LanguagePolicy


class Lens:
    """Finds a model's blocks and its last norm once, and tries that they are these.

    depth: how many blocks there are; block 1 reads the embedded tokens, block `depth` is what the head reads from.
    """

    def __init__(self, policy: "LanguagePolicy") -> None:
        self._policy = policy
        body = policy.causal.base_model
        self.depth = int(policy.causal.config.get_text_config().num_hidden_layers)
        lists = [
            name for name, part in body.named_modules() if isinstance(part, nn.ModuleList) and len(part) == self.depth
        ]
        for blocks, norm in [pair for name in lists for pair in self._candidates(name)]:
            self._blocks, self._norm = blocks, norm
            if self._is_right():
                return
        raise UserError(
            f"the layers of {type(policy.causal).__name__} can't be told apart: no norm behind any list of"
            f" {self.depth} blocks gives what its head reads from",
            where="objective",
            remedy="another objective, or a model of a family like Llama, Qwen2 or GPT-2",
        )

    @contextmanager
    def caught(self, layers: Sequence[int], places: Tensor) -> Iterator[list[Tensor]]:
        """The states (P, d) of these blocks at flat places of B * L, put into the list as a pass within comes by."""
        blocks: Any = self._part(self._blocks)
        found: dict[int, Tensor] = {}
        states: list[Tensor] = []

        def keep(layer: int) -> Any:
            def hook(module: nn.Module, given: Any, output: Any) -> None:
                of_block: Tensor = output[0] if isinstance(output, tuple) else output
                # at the places alone: the rest of the row is of no use to anyone
                found[layer] = of_block.flatten(0, 1)[places]

            return hook

        handles = [blocks[layer - 1].register_forward_hook(keep(layer)) for layer in layers]
        try:
            yield states
        finally:
            for handle in handles:
                handle.remove()
        states += [found[layer] for layer in layers]

    def logits(self, states: Tensor, tokens: Tensor | None) -> Tensor:
        """(P, d) states of a block -> logits (P, V), or of `tokens` alone; norm and head take no gradient."""
        return self._policy.head(self.normed(states), tokens, frozen=True)

    def normed(self, states: Tensor) -> Tensor:
        """(P, d) states of a block through the model's last norm, which takes no gradient."""
        return states if self._norm is None else without_learning(self._part(self._norm), states)

    def _part(self, name: str) -> nn.Module:
        return self._policy.causal.base_model.get_submodule(name)

    def _candidates(self, blocks: str) -> list[tuple[str, str | None]]:
        """The list of blocks with each module beside it that may be the last norm, or with none."""
        above = blocks.rpartition(".")[0]
        beside = [f"{above}.{name}".lstrip(".") for name, part in self._part(above).named_children() if _is_norm(name)]
        return [*((blocks, name) for name in reversed(beside)), (blocks, None)]

    def _is_right(self) -> bool:
        """Whether norm and last block give what the head reads from, on a made-up row of three tokens."""
        policy = self._policy
        ids = torch.tensor([[3, 2, 1]], device=device_of(policy))
        positions = torch.arange(3, device=ids.device)
        with judging(policy), self.caught([self.depth], positions) as states:
            whole = policy.hidden(ids, positions[None], None)[0].float()
        try:
            with judging(policy):
                ours = self.normed(states[0]).float()
        except (TypeError, RuntimeError):  # a norm of other things than states
            return False
        return bool(ours.shape == whole.shape and torch.allclose(ours, whole, rtol=0.02, atol=0.02))


def without_learning(module: nn.Module, given: Tensor) -> Tensor:
    """The module's output, differentiable in what it is given and not in its weights."""
    frozen = {name: parameter.detach() for name, parameter in module.named_parameters()}
    output: Tensor = functional_call(module, frozen, (given,))
    return output


def _is_norm(name: str) -> bool:
    return "norm" in name or name.startswith("ln")
