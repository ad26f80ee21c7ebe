"""Any `transformers` causal language model, cut at its head.

Path    models -> [models.policy] -> scoring
Takes   a causal model, plain or with adapters
Gives   LanguagePolicy: hidden states of packed rows, and logits of gathered places alone; rows kept, to be gone on from
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Cache, DynamicCache, PreTrainedModel

from napo.errors import UserError
from napo.models.kept_states import KeptStates
from napo.models.lens import Lens, without_learning
from napo.scoring.shared_prefix import device_of, judging


class LanguagePolicy(nn.Module):
    """Runs the body of a causal model over packed rows and its head only where a title token is predicted."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        self.temperature = 1.0  # what all logits are divided by: the one that the model was trained at

    @property
    def causal(self) -> PreTrainedModel:
        """The causal model itself, inside its adapters where it has some."""
        model = self.model
        return model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]

    def hidden(self, input_ids: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        """(B, L) ids and positions, (B, 1, L, L) bool mask or None for causal -> (B, L, d)."""
        body = self.causal.base_model
        given = {"input_ids": input_ids, "use_cache": False}
        if mask is not None:
            given["attention_mask"] = self._by_layer(mask, positions)
        if mask is not None or _takes(body, "position_ids"):  # without a mask positions are what they always are
            given["position_ids"] = positions
        states: Tensor = body(**given).last_hidden_state
        return states

    def keep(self, input_ids: Tensor) -> tuple[Tensor, KeptStates]:
        """(B, L) ids, padded behind -> (B, L, d), and what each layer remembers of these rows."""
        cache = DynamicCache()  # without the config: a window would forget, and `_by_layer` makes windows itself
        states: Tensor = self.causal.base_model(**self._with_cache(input_ids, cache)).last_hidden_state
        return states, KeptStates.of(cache)

    def hidden_behind(
        self, kept: KeptStates, rows: Tensor, input_ids: Tensor, positions: Tensor, mask: Tensor
    ) -> Tensor:
        """Tokens behind kept rows, which stay as they are: (B, Q) ids -> (B, Q, d).

        rows: (B,) the kept row that each goes on from; some may serve several. positions: (B, Q). mask: (B, 1, Q,
        L + Q) bool, over the kept tokens, which stand at positions 0 to L - 1, and then over the new ones.
        """
        before = torch.arange(kept.length, device=positions.device).expand(len(rows), -1)
        given = self._with_cache(input_ids, kept.cache(rows))
        given["attention_mask"] = self._by_layer(mask, positions, torch.cat([before, positions], dim=1))
        states: Tensor = self.causal.base_model(**given, position_ids=positions).last_hidden_state
        return states

    def _with_cache(self, input_ids: Tensor, cache: Cache) -> dict[str, Any]:
        name = "cache" if _names(self.causal.base_model, "cache") else "past_key_values"
        return {"input_ids": input_ids, "use_cache": True, name: cache}

    def _by_layer(self, mask: Tensor, positions: Tensor, key_positions: Tensor | None = None) -> Any:
        """The mask in the model's terms: narrowed to its attention window where it has one, by kind of layer.

        Given no mask, models make windows themselves; given one, they take it as it is. A window counts positions, not
        places in the row, where a branch may stand far from what it follows.
        """
        config = self.causal.config.get_text_config()
        window, kinds = getattr(config, "sliding_window", None), set(getattr(config, "layer_types", None) or ())
        if window is None or mask.shape[-1] <= window or (kinds and "sliding_attention" not in kinds):
            return self._for_attention(mask)
        keys = positions if key_positions is None else key_positions
        near = mask & (positions[:, None, :, None] - keys[:, None, None, :] < window)
        if not kinds:
            return self._for_attention(near)
        return {"full_attention": self._for_attention(mask), "sliding_attention": self._for_attention(near)}

    def _for_attention(self, mask: Tensor) -> Tensor:
        causal = self.causal
        if causal.config._attn_implementation != "eager":
            return mask
        # eager attention adds the mask to its weights: True would count as 1, and nothing would be hidden
        low = torch.finfo(causal.dtype).min
        return torch.zeros(mask.shape, dtype=causal.dtype, device=mask.device).masked_fill(~mask, low)

    def head(self, hidden: Tensor, tokens: Tensor | None, *, frozen: bool = False) -> Tensor:
        """(P, d) -> logits (P, V), or of `tokens` alone (P, len(tokens)). frozen: the head's weights learn nothing."""
        head = self.causal.get_output_embeddings()
        if tokens is None or type(head) is not nn.Linear:
            # an adapter on the head, or a quantized one: its weight is not all of it
            logits = without_learning(head, hidden) if frozen else head(hidden)
            return self._finished(logits if tokens is None else logits[:, tokens])
        weight, bias = (part.detach() if frozen and part is not None else part for part in (head.weight, head.bias))
        return self._finished(F.linear(hidden, weight[tokens], None if bias is None else bias[tokens]))

    @cached_property
    def lens(self) -> Lens:
        """What its intermediate layers would say next. Raises UserError where its layers can't be told."""
        return Lens(self)

    def _finished(self, logits: Tensor) -> Tensor:
        """What some families do to each logit after the head: Granite, Cohere, Gemma."""
        config = self.causal.config.get_text_config()
        if divisor := getattr(config, "logits_scaling", None):
            logits = logits / divisor
        if factor := getattr(config, "logit_scale", None):
            logits = logits * factor
        if cap := getattr(config, "final_logit_softcapping", None):
            logits = torch.tanh(logits / cap) * cap
        return logits if self.temperature == 1.0 else logits / self.temperature

    def check_head(self) -> None:
        """Raises UserError where the model's own logits are not what `head` makes of `hidden`."""
        ids = torch.tensor([[3, 2, 1]], device=device_of(self))
        with judging(self):
            own = self.model(input_ids=ids, use_cache=False).logits[0].float()
            ours = self.head(self.hidden(ids, torch.arange(3, device=ids.device)[None], None)[0], None).float()
        if not torch.allclose(ours, own, rtol=0.03, atol=0.03 * float(own.abs().max())):
            raise UserError(
                f"{type(self.causal).__name__} works on its logits after the head in a way that napo does not know",
                remedy="another model family",
            )


def _takes(body: nn.Module, name: str) -> bool:
    parameters = inspect.signature(body.forward).parameters
    return name in parameters or any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())


def _names(body: nn.Module, name: str) -> bool:
    return name in inspect.signature(body.forward).parameters


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
