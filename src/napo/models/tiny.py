"""A small Llama made from scratch, and a tokenizer trained on the catalog's titles.

Path    catalog -> [models.tiny] -> models.language
Takes   titles, sizes
Gives   an untrained LlamaForCausalLM of 1-5 M parameters; a byte-level BPE tokenizer whose merges may cross blanks
"""

from collections.abc import Sequence

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

BEGIN, END = "<begin>", "<end>"


def make_tokenizer(titles: Sequence[str], texts: Sequence[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A BPE tokenizer of at most `vocabulary` tokens, trained on titles and the templates' texts.

    Byte-level, so any script can be written; without a split at blanks, so that a frequent phrase, or a whole title,
    becomes one token: short titles are what makes a small model quick.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[BEGIN, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*titles, *texts], trainer)
    return fast_tokenizer(tokenizer)


def fast_tokenizer(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """It as transformers has them. The begin token is put before a text: a prompt begins with it."""
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BEGIN, eos_token=END, pad_token=END, add_bos_token=True
    )


def make_model(
    vocabulary: int, *, width: int, layers: int, heads: int, feed_forward: int, positions: int, seed: int
) -> LlamaForCausalLM:
    """An untrained Llama with tied embeddings; its weights depend on the seed alone."""
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=feed_forward,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=positions,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=None,
        attn_implementation="sdpa",  # type: ignore[call-arg]
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)
