"""Tokenizers of every kind that the hub has, made on the spot: with and without a begin token, pad = end, unknowns."""

from collections.abc import Callable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

TEXTS = [
    "What this person liked, oldest first:",
    "The next one:",
    "Alien",
    "Aliens",
    "Alien 3",
    "Title number 1234567890",
]


def gpt2_like() -> PreTrainedTokenizerFast:
    """Byte-level BPE; begin and end are one token, which is not put before a text; no token to pad with."""
    tokenizer = _byte_level(["<|endoftext|>"])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>")


def qwen_like() -> PreTrainedTokenizerFast:
    """Byte-level BPE behind NFC; no begin token at all; pads with another token than the end."""
    tokenizer = _byte_level(["<|endoftext|>", "<|im_end|>"])
    tokenizer.normalizer = normalizers.NFC()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")


def llama3_like() -> PreTrainedTokenizerFast:
    """Byte-level BPE with a begin token before each text; pad = end."""
    tokenizer = _byte_level(["<|begin|>", "<|end|>"])
    _put_around(tokenizer, "<|begin|>")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|begin|>", eos_token="<|end|>", pad_token="<|end|>"
    )


def llama2_like() -> PreTrainedTokenizerFast:
    """BPE over characters, a blank before each text, bytes for what it does not know."""
    letters = sorted({"▁", *"".join(TEXTS).replace(" ", "")})
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    _put_around(tokenizer, "<s>")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>"
    )


def unigram() -> PreTrainedTokenizerFast:
    """Unigram, a blank before each text, begin and end token around it, unknown letters all alike, NFKC."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<unk>", "<s>", "</s>", "<pad>"]
    trainer = trainers.UnigramTrainer(vocab_size=60, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(TEXTS * 4, trainer)
    _put_around(tokenizer, "<s>", "</s>")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>"
    )


def words_and_unknowns() -> PreTrainedTokenizerFast:
    """BPE over characters that has an unknown token and nothing else for other scripts."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=80, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


MADE: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "gpt2": gpt2_like,
    "qwen": qwen_like,
    "llama 3": llama3_like,
    "llama 2": llama2_like,
    "unigram": unigram,
    "unknowns": words_and_unknowns,
}
# what each puts before a text by its own rule
BEGINS = {"gpt2": [], "qwen": [], "llama 3": ["<|begin|>"], "llama 2": ["<s>"], "unigram": ["<s>"], "unknowns": []}


def _byte_level(special: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    # merges over the border of a prompt and a title, were the two ever tokenized together
    over = [f"Answer: {edge}" for edge in ("$9", "19", "'T", "...", "Title")]
    tokenizer.train_from_iterator([*TEXTS, *over * 9], trainer)
    return tokenizer


def _put_around(tokenizer: Tokenizer, begin: str, end: str = "") -> None:
    special = [(token, tokenizer.token_to_id(token)) for token in (begin, end) if token]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{begin} $A {end}".strip(), special_tokens=special)
