"""Any `transformers` causal language model, cut at its head.

Path    models -> [models.policy] -> scoring
Takes   a causal model, plain or with adapters
Gives   LanguagePolicy: hidden states of packed rows, and logits of gathered places alone
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from napo.errors import UserError
from napo.scoring.shared_prefix import device_of, judging


class LanguagePolicy(nn.Module):
    """Runs the body of a causal model over packed rows and its head only where a title token is predicted."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        self.temperature = 1.0  # what all logits are divided by: the one that the model was trained at

    @property
    def _causal(self) -> PreTrainedModel:
        """The causal model itself, inside its adapters where it has some."""
        model = self.model
        return model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]

    def hidden(self, input_ids: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        """(B, L) ids and positions, (B, 1, L, L) bool mask or None for causal -> (B, L, d)."""
        causal = self._causal
        if mask is not None and causal.config._attn_implementation == "eager":
            # eager attention adds the mask to its weights: True would count as 1, and nothing would be hidden
            low = torch.finfo(causal.dtype).min
            mask = torch.zeros(mask.shape, dtype=causal.dtype, device=mask.device).masked_fill(~mask, low)
        out = causal.base_model(input_ids=input_ids, position_ids=positions, attention_mask=mask, use_cache=False)
        states: Tensor = out.last_hidden_state
        return states

    def head(self, hidden: Tensor, tokens: Tensor | None) -> Tensor:
        """(P, d) -> logits (P, V), or of `tokens` alone (P, len(tokens))."""
        head = self._causal.get_output_embeddings()
        if tokens is None:
            return self._finished(head(hidden))
        if type(head) is not nn.Linear:  # an adapter on the head, or a quantized one: its weight is not all of it
            return self._finished(head(hidden)[:, tokens])
        bias = None if head.bias is None else head.bias[tokens]
        return self._finished(F.linear(hidden, head.weight[tokens], bias))

    def _finished(self, logits: Tensor) -> Tensor:
        """What some families do to each logit after the head: Granite, Cohere, Gemma."""
        config = self._causal.config.get_text_config()
        if divisor := getattr(config, "logits_scaling", None):
            logits = logits / divisor
        if factor := getattr(config, "logit_scale", None):
            logits = logits * factor
        if cap := getattr(config, "final_logit_softcapping", None):
            logits = torch.tanh(logits / cap) * cap
        return logits if self.temperature == 1.0 else logits / self.temperature

    def takes_mask(self) -> bool:
        """Whether the model heeds a 4-D mask: tried on three tokens, the last of which must not see the second."""
        device = device_of(self)
        ids, positions = torch.tensor([[3, 2, 1]], device=device), torch.tensor([[0, 1, 1]], device=device)
        mask = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 0, 1]], dtype=torch.bool, device=device)[None, None]
        with judging(self):
            alone = self.hidden(ids[:, ::2], positions[:, :2], None)[0, -1].float()
            try:
                masked = self.hidden(ids, positions, mask)[0, -1].float()
            except (TypeError, ValueError, RuntimeError, IndexError):
                return False
        # bfloat16 rounds to about 1 %; a token too much moves the state further
        return bool((masked - alone).norm() <= 0.03 * alone.norm())

    def check_head(self) -> None:
        """Raises UserError where the model's own logits are not what `head` makes of `hidden`."""
        ids = torch.tensor([[3, 2, 1]], device=device_of(self))
        with judging(self):
            own = self.model(input_ids=ids, use_cache=False).logits[0].float()
            ours = self.head(self.hidden(ids, torch.arange(3, device=ids.device)[None], None)[0], None).float()
        if not torch.allclose(ours, own, rtol=0.03, atol=0.03 * float(own.abs().max())):
            raise UserError(
                f"{type(self._causal).__name__} works on its logits after the head in a way that napo does not know",
                remedy="another model family",
            )


@contextmanager
def dropout(model: nn.Module, *, embedding: float, block: float) -> Iterator[None]:
    """Dropout where Llama has none: on the embedded tokens, and on what each attention and feed-forward layer adds.

    Works in training mode alone, and only within the `with` block; the weights keep their names.
    """

    def hook(rate: float) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        def drop(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> Tensor:
            return F.dropout(output, rate, module.training)

        return drop

    places = []
    if embedding:
        places.append((model.get_input_embeddings(), embedding))  # type: ignore[operator]
    if block:
        ends = ("o_proj", "down_proj")
        places += [(module, block) for name, module in model.named_modules() if name.endswith(ends)]
    handles = [module.register_forward_hook(hook(rate)) for module, rate in places]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
