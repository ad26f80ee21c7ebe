"""Weights and tokenizers that somebody brings: a known model, a GGUF file, a folder, a name on the hub.

Path    recipe -> [models.pretrained] -> models.language
Takes   a name, a precision, an adapter's settings
Gives   models all of whose weights were there, and their tokenizers; safetensors alone, and no code of a folder's own
"""

import hashlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from napo.errors import UserError
from napo.models.policy import LanguagePolicy
from napo.processor import multiplies_bfloat16
from napo.recipe_keys import LoraSection, ModelSection, PromptSection

KNOWN = ("tiny", "smollm2-135m-instruct")
log = logging.getLogger(__name__)
# reading a pickle can run anything
SAFE: dict[str, Any] = {"use_safetensors": True, "trust_remote_code": False}


def located(name: str) -> tuple[str, str]:
    """(name for tables, what from_pretrained takes)."""
    if name == "smollm2-135m-instruct":
        from napo.models import smollm

        return smollm.DISPLAY_NAME, str(smollm.smollm2_135m_instruct())
    path = Path(name).expanduser()
    if path.suffix == ".gguf":
        from napo.models import gguf_file

        return path.stem, str(gguf_file.dequantized(path))
    if path.is_dir():
        return path.name, str(path)
    if name.startswith((".", "/", "~")):
        raise UserError(
            f"no folder {name}",
            where="model.name",
            remedy=f"one of {', '.join(KNOWN)}, a folder, a .gguf file, a hub name",
        )
    return name, name


def dtype_of(section: ModelSection) -> torch.dtype:
    """`auto`: float32 for weights that are trained, bfloat16 for frozen ones under an adapter, where that is fast."""
    if section.precision == "auto":
        return torch.float32 if section.lora is None or not _fast_in_bfloat16() else torch.bfloat16
    if section.precision == "float16" and not torch.cuda.is_available():
        raise UserError("float16 can't train on a CPU", where="model.precision", remedy="`auto` or `bfloat16`")
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[section.precision]


def _fast_in_bfloat16() -> bool:
    return torch.cuda.is_available() or multiplies_bfloat16()


def pretrained(
    name: str, section: ModelSection, prompt: PromptSection
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    dtype = dtype_of(section)
    model = _whole_model(name, dtype=dtype, **_quantized(section.load_in, dtype))
    tokenizer = or_user_error(name, "tokenizer", lambda: AutoTokenizer.from_pretrained(name, trust_remote_code=False))
    check_sizes(model, tokenizer, name)
    longest = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if longest is not None and longest < prompt.max_tokens:
        raise UserError(
            f"the model reads at most {longest} tokens, and a row may have {prompt.max_tokens}",
            where="prompt.max_tokens",
            remedy=f"at most {longest}",
        )
    LanguagePolicy(model).check_head()
    return model, tokenizer


def saved_weights(folder: Path, precision: str, load_in: str | None = None, rows: int | None = None) -> PreTrainedModel:
    """What was saved in a folder: a whole model, or an adapter and where its base lies.

    load_in: as the base was loaded. rows: token vectors that the base has to have, where tokens were added to it.
    """
    if precision == "bfloat16" and not _fast_in_bfloat16():
        log.warning("%s is in bfloat16, which this processor is many times slower in than in float32", folder)
    how = {"dtype": precision, **_quantized(load_in, getattr(torch, precision))}
    if not (folder / "adapter_config.json").is_file():
        return _whole_model(folder, **how)
    from peft import PeftConfig, PeftModel

    if not (folder / "adapter_model.safetensors").is_file():  # peft would take a pickle instead
        raise UserError("the adapter can't be loaded: no adapter_model.safetensors", where=str(folder))

    def load() -> Any:
        where = PeftConfig.from_pretrained(str(folder)).base_model_name_or_path
        try:
            base = _whole_model(where, **how)
        except UserError as error:
            raise UserError(
                f"the adapter can't be loaded, for its base can't: {error.what}",
                where=str(folder),
                remedy=f"put the base model back: {where}",
            ) from error
        if rows is not None and rows != token_vectors(base):
            base.resize_token_embeddings(rows, mean_resizing=False)
        return PeftModel.from_pretrained(base, str(folder))

    adapted: PreTrainedModel = or_user_error(folder, "adapter", load)
    return adapted


def _quantized(load_in: str | None, dtype: torch.dtype) -> dict[str, Any]:
    if load_in is None:
        return {}
    from napo.models.four_bit import four_bit

    return four_bit(dtype)


def _whole_model(where: str | Path, **how: Any) -> PreTrainedModel:
    """A model all of whose weights were there: transformers would fill up the others with random numbers."""
    load = AutoModelForCausalLM.from_pretrained
    model, found = or_user_error(where, "model", lambda: load(where, output_loading_info=True, **SAFE, **how))
    if missing := sorted(found["missing_keys"]):
        raise UserError(
            f"the weights are not whole: {len(missing)} tensors are missing, such as {missing[0]}",
            where=str(where),
            remedy="copy the folder again",
        )
    whole: PreTrainedModel = model
    return whole


def token_vectors(model: PreTrainedModel) -> int:
    return int(model.get_input_embeddings().weight.size(0))  # type: ignore[operator]


def check_sizes(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, where: str | Path) -> None:
    if (rows := token_vectors(model)) < len(tokenizer):
        raise UserError(
            f"the model has {rows} token vectors and its tokenizer {len(tokenizer)} tokens",
            where=str(where),
            remedy="the folder mixes two models: copy it again",
        )


def weights_digest(model: nn.Module) -> str:
    """SHA-256 of all the parameters, names and values."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_model(model: nn.Module, folder: Path, state_dict: dict[str, Tensor] | None = None) -> None:
    """Weights and configuration of a model or an adapter, as safetensors."""
    with _quiet():
        model.save_pretrained(folder, state_dict=state_dict)  # type: ignore[operator]


@contextmanager
def _quiet() -> Iterator[None]:
    """transformers draws a bar for each file that it writes or reads, across ours; peft calls what is deprecated."""
    drawn = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        if drawn:
            transformers_logging.enable_progress_bar()


def or_user_error(where: str | Path, what: str, load: Any) -> Any:
    """transformers, safetensors and the hub raise a dozen kinds of error for a bad folder or name."""
    try:
        with _quiet() if Path(where).is_dir() else nullcontext():  # a download may show its bar
            return load()
    except UserError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"the {what} can't be loaded: {reason}",
            where=str(where),
            remedy="a folder with safetensors, config.json and tokenizer files, or a hub name while online",
        ) from error


def with_lora(model: PreTrainedModel, lora: LoraSection, seed: int) -> Any:
    from peft import LoraConfig, get_peft_model

    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    config = LoraConfig(
        r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets, task_type="CAUSAL_LM"
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            with _quiet():
                return get_peft_model(model, config)
        except ValueError as error:
            raise UserError(f"the adapter does not fit this model: {error}", where="model.lora.targets") from error
