"""Models and data that the benchmarks run on: made up from a seed, so every machine has the same.

Path    [made_up] -> an arm of a benchmark
Takes   a case: model, dtype, sizes
Gives   policies whose adapters are not the identity; catalogs as token trees; a split with users and events

Titles are drawn as tokens: what a step costs depends on how many there are, not on what they say.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napo.arrays import IntArray
from napo.data.catalog import Catalog
from napo.data.split import Split
from napo.models.policy import LanguagePolicy
from napo.scoring.batch import Frame
from napo.scoring.tree import PrefixTree

if TYPE_CHECKING:
    from transformers import PreTrainedModel

END = 2  # SmolLM2's end token; `tiny` takes the same
TINY_VOCABULARY = 8192


def policy(name: str, dtype: str = "float32") -> LanguagePolicy:
    """`tiny` in the sizes of the recipes' default, all of it trained; or `smollm2` under LoRA of rank 8."""
    if name == "tiny":
        from napo.models.tiny import make_model

        tiny = make_model(TINY_VOCABULARY, width=128, layers=4, heads=4, feed_forward=384, positions=4096, seed=0)
        return LanguagePolicy(tiny.to(getattr(torch, dtype)).train())
    return LanguagePolicy(_with_lora(_smollm2(dtype)).train())


def vocabulary(name: str) -> int:
    return TINY_VOCABULARY if name == "tiny" else 49152


def _smollm2(dtype: str) -> "PreTrainedModel":
    from transformers import AutoModelForCausalLM

    from napo.models.smollm import smollm2_135m_instruct

    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        smollm2_135m_instruct(), dtype=getattr(torch, dtype), attn_implementation="sdpa"
    )
    return model


def _with_lora(model: "PreTrainedModel") -> Any:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    # no dropout: the arms must compute the same
    config = LoraConfig(r=8, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")
    adapted = get_peft_model(model, config)
    with torch.no_grad():
        for parameter_name, parameter in adapted.named_parameters():
            if "lora_B" in parameter_name:  # as made they are 0, and half of the gradients with them
                parameter.normal_(std=0.01)
    return adapted


def gradient_norms(policy: LanguagePolicy) -> list[float]:
    """Of each trained tensor: what is compared between arms."""
    trained = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    return [0.0 if parameter.grad is None else float(parameter.grad.float().norm()) for parameter in trained]


def tree(items: int, lengths: tuple[int, int], tokens: int, seed: int = 0) -> PrefixTree:
    """Distinct titles of lengths[0] to lengths[1] tokens, the end token counted, that share beginnings as titles do."""
    rng = np.random.default_rng(seed)
    found: dict[tuple[int, ...], None] = {}
    while len(found) < items:
        length = int(rng.integers(lengths[0], lengths[1] + 1)) - 1
        ranks = rng.zipf(1.3, size=length) % (tokens - 3)  # few tokens begin many titles
        ranks[-1] = rng.integers(tokens - 3)
        found[(*(ranks + 3).tolist(), END)] = None
    return PrefixTree.build(list(found), END)


@dataclass(frozen=True)
class Data:
    """split: users with `events` events each, all of them for training."""

    split: Split
    tree: PrefixTree
    frame: Frame


def data(users: int, events: int, items: int, lengths: tuple[int, int], tokens: int, header: int = 8) -> Data:
    """Users who like items by a Zipf law, each item once."""
    rng = np.random.default_rng(1)
    weights = 1 / np.arange(1, items + 1)
    taste = weights / weights.sum()
    sequences = tuple(rng.choice(items, size=events, replace=False, p=taste) for _ in range(users))
    everything: IntArray = np.full(users, events, dtype=np.int64)
    keys = tuple(map(str, range(items)))
    split = Split(
        name="made up",
        catalog=Catalog(keys, keys),
        user_keys=tuple(map(str, range(users))),
        sequences=sequences,
        known=tuple(np.sort(sequence) for sequence in sequences),
        valid_from=everything,
        test_from=everything,
    )
    frame = Frame(header=np.arange(3, 3 + header, dtype=np.int64))
    return Data(split, tree(items, lengths, tokens), frame)
