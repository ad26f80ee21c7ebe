"""GGUF files as models: de-quantized once, into a folder of plain weights.

Path    a .gguf file -> [models.gguf_file] -> models.pretrained
Takes   a file as llama.cpp writes it, of an architecture that transformers can read
Gives   a folder for `from_pretrained` in the cache, named by the file's content: safetensors, config, tokenizer

De-quantized weights take ordinary training and adapters. What the quantization rounded off does not come back.
"""

import hashlib
import logging
from pathlib import Path
from typing import Any

from napo.data.fetch import cache_folder
from napo.errors import UserError
from napo.files import folder_aside

log = logging.getLogger(__name__)

# How a byte-level tokenizer cuts words before it merges (`tokenizer.ggml.pre`), where transformers does not read it.
DIGITS_APART = ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b")
AS_GPT2 = ("gpt-2", "default", "mpt", "olmo", "phi-2", "dolly", "stablelm", "jais")
WHOLE = ("F32", "F16", "BF16")  # tensors of these types were not quantized


def dequantized(path: Path) -> Path:
    """The folder of a file's model; made by the first call, found by later ones whatever the file is called by then.

    Raises UserError for a missing file, one that is no GGUF, or an architecture that transformers can't read.
    """
    if not path.is_file():
        raise UserError(f"no file {path}", where="model.name", remedy="a path to a .gguf file")
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            what, remedy = "this is no GGUF file: it does not begin with GGUF", "name one, or a folder of safetensors"
            raise UserError(what, where=str(path), remedy=remedy)
        file.seek(0)
        content = hashlib.file_digest(file, "sha256").hexdigest()
    target = cache_folder() / f"gguf-{content[:16]}"
    if (target / "config.json").is_file():  # the folder is renamed into place whole
        return target
    try:
        with folder_aside(target) as aside:
            unpack(path, aside)
    except (ValueError, KeyError, NotImplementedError, OSError, RuntimeError, IndexError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"the GGUF file can't be read: {reason}",
            where=str(path),
            remedy="a file of another architecture or quantization, or the model's own folder of safetensors",
        ) from error
    return target


def unpack(path: Path, folder: Path) -> None:
    """Write a GGUF file's model and tokenizer to `folder`, without a trace of the quantization.

    In float32 where no tensor was quantized, else in bfloat16: its rounding (0.1 %) is far below that of four bits.
    """
    import torch
    from gguf import GGUFReader
    from transformers import AutoModelForCausalLM, AutoTokenizer

    reader = GGUFReader(path)
    whole = all(tensor.tensor_type.name in WHOLE for tensor in reader.tensors)
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, output_loading_info=True
    )
    quantized, found = loaded
    if found["missing_keys"]:  # they would be random numbers
        raise ValueError(f"{len(found['missing_keys'])} tensors are missing, such as {min(found['missing_keys'])}")
    config = quantized.config
    if hasattr(config, "quantization_config"):  # with it the model refuses to be saved
        del config.quantization_config
    with torch.random.fork_rng(devices=[]):  # its first, random weights leave no mark on what comes after
        plain = type(quantized)(config)
    if not whole:
        plain = plain.bfloat16()
    plain.load_state_dict(quantized.state_dict())
    plain.generation_config = quantized.generation_config
    plain.save_pretrained(folder)
    field = reader.fields.get("tokenizer.ggml.pre")
    cut_words_as(tokenizer.backend_tokenizer, None if field is None else str(field.contents()))
    tokenizer.model_max_length = getattr(config, "max_position_embeddings", tokenizer.model_max_length)
    tokenizer.save_pretrained(folder)


def cut_words_as(tokenizer: Any, name: str | None) -> None:
    """Have a `tokenizers` tokenizer cut words as the file says, where the loader knows byte-level cutting alone."""
    from tokenizers import pre_tokenizers

    if not isinstance(tokenizer.pre_tokenizer, pre_tokenizers.ByteLevel):
        return  # SentencePiece, or a cutting that the loader knew
    if name in DIGITS_APART:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    elif name is not None and name not in AS_GPT2:
        log.warning(
            "the GGUF file cuts words in a way that is not known here, `%s`; they are cut as GPT-2 does, so titles may"
            " have other tokens than the model has learnt them by",
            name,
        )
