"""The catalog as a `LogitsProcessor`: any causal model's `generate` then writes titles of the catalog alone.

Path    a causal model's generate -> [scoring.logits_processor] -> item ids
Takes   the prefix tree; token ids (R, L) and scores (R, V) of a step; or a model and its prompts, for the whole of it
Gives   scores, -inf where a token continues no title; item ids of what was written (n, m)
Oracle  tests/scoring/test_logits_processor.py: generate's own prefix_allowed_tokens_fn, and search.exact_top

generate.py does the same several times faster; this is for what only `generate` has. Tell a title by its place in the
tree, never by its text.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, PreTrainedModel

from napo.arrays import IntArray
from napo.errors import UserError
from napo.scoring.batch import NONE, Normalize
from napo.scoring.newcomers import edge_log_probs
from napo.scoring.shared_prefix import TreeOnDevice, at_least_float32, edges_of, judging
from napo.scoring.tree import PrefixTree


class CatalogLogitsProcessor(LogitsProcessor):
    """Leaves the scores of tokens that continue a title; what it is asked with tells it how far each title is.

    Titles alone is what `generate_titles` promises, not this class by itself: it sees a step's scores, neither what
    `generate` was told nor what becomes of a row. In a `generate` of your own the settings in the model's folder are
    heeded (its `max_length` cuts titles), the end token and the length are yours to give, and sampled beams may be
    chosen at a probability of 0, where fewer tokens are legal than there are beams, and go on with what is no title.
    `items_written` gives no items for such a row. It can't raise instead: beams that found nothing are an everyday
    matter in `generate`, which drops them later.

    prompt: tokens before the title, padding in front included. normalize: `catalog` lets the scores compete with those
    of the node's other tokens alone; `vocabulary` takes them as they come, as prefix_allowed_tokens_fn does.
    """

    def __init__(self, tree: PrefixTree, prompt: int, normalize: Normalize = "vocabulary") -> None:
        self.tree, self.prompt, self.normalize = tree, prompt, normalize
        self._steps = _Steps(tree, torch.device("cpu"))

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """(R, L) ids, (R, V) scores -> (R, V)."""
        if self._steps.device != scores.device:
            self._steps = _Steps(self.tree, scores.device)
        steps = self._steps
        nodes = steps.reached(input_ids[:, self.prompt :])
        over = (nodes < 0) | steps.leaf[nodes]  # written, or a beam that generate keeps although it found nothing
        edges, row = edges_of(torch.where(nodes < 0, int(self.tree.leaf[0]), nodes), steps.tree)
        token = steps.token[edges]
        values = scores[row, token]
        if self.normalize == "catalog" and len(values):
            within, group = torch.unique_consecutive(row, return_inverse=True)
            values = edge_log_probs(at_least_float32(values), group, len(within), steps.ceiling[edges]).to(scores)
        held = torch.full_like(scores, -torch.inf)
        held[row, token] = values
        held[over, self.tree.end] = 0.0
        lost = held.isneginf().all(dim=1)[row]  # other processors have forbidden all that is left: that is undone
        held[row[lost], token[lost]] = 0.0
        return held


def generate_titles(
    model: PreTrainedModel,
    tree: PrefixTree,
    prompts: Sequence[IntArray],
    settings: GenerationConfig,
    *,
    normalize: Normalize = "vocabulary",
) -> list[list[IntArray]]:
    """What `generate` writes behind each prompt, held to the catalog: for each sequence that it gives the items (1 or
    more, ascending) whose title it is.

    settings: all that counts (num_beams, do_sample, temperature, num_return_sequences, ...): nothing is read from the
    model's own generation settings, which may hide a penalty or a forced token. Length and end are the catalog's. Beams
    that found no title give none: where there are fewer titles than beams, or sampled ones that had no chance. Raises
    UserError for settings that forbid tokens: a title can't be written without its own.
    """
    settings = _for_titles(settings, tree)
    width = max(map(len, prompts))
    ids, mask = np.full((len(prompts), width), tree.end), np.zeros((len(prompts), width), dtype=np.int64)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :], mask[row, width - len(prompt) :] = prompt, 1
    # inside an adapter's wrapping, which has settings of its own
    causal: Any = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
    device = next(model.parameters()).device
    processor = CatalogLogitsProcessor(tree, width, normalize)
    with judging(model), no_other_settings(causal, settings):  # type: ignore[arg-type]
        written = causal.generate(
            input_ids=torch.from_numpy(ids).to(device),
            attention_mask=torch.from_numpy(mask).to(device),
            generation_config=settings,
            logits_processor=LogitsProcessorList([processor]),
        )
    found = items_written(tree, written[:, width:])
    each = len(found) // len(prompts)
    return [[items for items in found[row * each : (row + 1) * each] if len(items)] for row in range(len(prompts))]


def items_written(tree: PrefixTree, tokens: Tensor) -> list[IntArray]:
    """(R, T) tokens, whatever stands after a title's end -> the items of each, ascending; none where it is no title."""
    nodes = _Steps(tree, tokens.device).reached(tokens).cpu().numpy()
    by_leaf, starts = tree.by_leaf
    return [by_leaf[starts[node] : starts[node + 1]] if node >= 0 else NONE for node in nodes]


@contextmanager
def no_other_settings(model: Any, settings: GenerationConfig) -> Iterator[None]:
    """A model's folder may bring a repetition penalty, a forced token, a sampling rule: generate() would heed it."""
    theirs = model.generation_config
    model.generation_config = settings
    try:
        yield
    finally:
        model.generation_config = theirs


FORBIDDING = (
    *("min_length", "min_new_tokens", "no_repeat_ngram_size", "bad_words_ids", "suppress_tokens"),
    *(
        "begin_suppress_tokens",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "sequence_bias",
        "max_time",
        "stop_strings",
    ),
    *("watermarking_config", "prompt_lookup_num_tokens", "assistant_early_exit"),
)


def _for_titles(settings: GenerationConfig, tree: PrefixTree) -> GenerationConfig:
    """A copy, with the catalog's end and length."""
    if said := [name for name in FORBIDDING if getattr(settings, name, None)]:
        raise UserError(f"{said[0]} may forbid a title's own tokens", remedy="leave it out of the settings")
    ours = {"max_new_tokens": int(tree.lengths.max()), "eos_token_id": tree.end, "pad_token_id": tree.end}
    unset = {"max_length": None, "return_dict_in_generate": False}
    return GenerationConfig.from_dict({**settings.to_dict(), **ours, **unset})


class _Steps:
    """The tree's edges on a device, to be walked along by many rows at once."""

    def __init__(self, tree: PrefixTree, device: torch.device) -> None:
        self.device, self.tree = device, TreeOnDevice(tree, device)
        self.token, self.node, self.ceiling, children = (
            torch.tensor(array, device=device)
            for array in (tree.child_token, tree.child_node, tree.ceiling, np.diff(tree.child_start))
        )
        self.leaf = children == 0
        self.size = int(tree.vocabulary[-1]) + 1
        owner = torch.repeat_interleave(torch.arange(tree.nodes, device=device), children)
        self.key = owner * self.size + self.token  # ascends

    def reached(self, tokens: Tensor) -> Tensor:
        """(R, T) tokens -> (R,) the node that they lead to: a leaf for good, once it is come to; -1 off the tree."""
        node = torch.zeros(len(tokens), dtype=torch.int64, device=tokens.device)
        for token in tokens.T:
            key = node * self.size + token
            edge = torch.searchsorted(self.key, key).clamp(max=len(self.key) - 1)
            stepped = (self.key[edge] == key) & (token < self.size) & (node >= 0)
            stayed = self.leaf[node] & (node >= 0)
            node = torch.where(stepped, self.node[edge], torch.where(stayed, node, -1))
        return node
