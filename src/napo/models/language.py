"""One loader for every language model: `tiny`, a known model, a local folder, a name on the hub.

Path    catalog, recipe -> [models.language] -> scoring, training, serving
Takes   what to load and how: name, sizes, adapter, precision, template, normalization, limits
Gives   LanguageModel: policy, tokenizer, prefix tree, frame; saved as one folder that plain transformers can open too
"""

import hashlib
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from napo.data.catalog import Catalog
from napo.errors import UserError
from napo.models.policy import LanguagePolicy, dropout
from napo.models.tiny import make_model, make_tokenizer
from napo.prompts.template import Template, load_template
from napo.recipe_keys import DropoutSection, LoraSection, ModelSection, PromptSection
from napo.scoring.batch import Frame, Normalize
from napo.scoring.ranker import TitleRanker
from napo.scoring.self_check import shares_prefixes
from napo.scoring.tree import PrefixTree

log = logging.getLogger(__name__)

META, CATALOG = "napo.json", "catalog.parquet"
KNOWN = ("tiny", "smollm2-135m-instruct")


@dataclass(frozen=True)
class Usage:
    """How a model is asked: kept beside the weights, since scores mean nothing without it."""

    name: str
    normalize: Normalize
    template: Template
    max_history: int
    max_tokens: int
    temperature: float = 1.0  # of the softmax that it was trained with; another one ranks titles otherwise


class LanguageModel:
    """A causal language model that names the items of one catalog."""

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, catalog: Catalog, usage: Usage
    ) -> None:
        self.model, self.tokenizer, self.catalog, self.usage = model, tokenizer, catalog, usage
        self.policy = LanguagePolicy(model)
        self.policy.temperature = usage.temperature

    @cached_property
    def tree(self) -> PrefixTree:
        return PrefixTree.build(title_tokens(self.tokenizer, self.catalog.titles), end_token(self.tokenizer))

    @cached_property
    def frame(self) -> Frame:
        return self.usage.template.frame(self.tokenizer)

    @cached_property
    def shared(self) -> bool:
        """Whether titles may stand side by side behind one prompt; tried once, and told where they may not."""
        shared = shares_prefixes(self.policy, self.tree, self.frame, self.usage.max_tokens)
        if not shared:
            log.warning(
                "%s gives other numbers for titles side by side behind one prompt than for each by itself: each"
                " title is run with a prompt of its own, which takes several times as long",
                self.usage.name,
            )
        return shared

    def set_temperature(self, temperature: float) -> None:
        """From now on, and when it is saved, its logits are divided by this."""
        self.usage = replace(self.usage, temperature=temperature)
        self.policy.temperature = temperature

    @property
    def parameters(self) -> int:
        """How many there are, adapters included."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def ranker(self) -> TitleRanker:
        """This model behind the protocol by which every recommender is judged."""
        return TitleRanker.of(self)

    def save(self, folder: Path) -> None:
        """Fill a folder: weights (safetensors), tokenizer, catalog, and how to ask."""
        save_model(self.model, folder)
        self.tokenizer.save_pretrained(folder)
        self.catalog.save(folder / CATALOG)
        self.save_usage(folder)

    def save_usage(self, folder: Path) -> None:
        tokens = {"tokenizer": tokenizer_digest(self.tokenizer), "tokens": len(self.tokenizer)}
        # an adapter's folder does not hold the base model, whose own files may be of another precision
        precision = str(self.model.get_input_embeddings().weight.dtype).removeprefix("torch.")
        said = {"format": 1, **asdict(self.usage), **tokens, "precision": precision}
        (folder / META).write_text(json.dumps(said, indent=2, ensure_ascii=False), encoding="utf-8")


def create(
    section: ModelSection, catalog: Catalog, prompt: PromptSection, normalize: Normalize, seed: int
) -> LanguageModel:
    """The model that a recipe starts from. Raises UserError where it can't be found or can't serve."""
    if section.name == "tiny" and section.lora is not None:  # its folder would hold the adapter and nothing under it
        raise UserError(
            "`tiny` is made from scratch: it has no weights that an adapter could be laid on",
            where="model.lora",
            remedy="leave `lora` out, or name a pretrained model",
        )
    template = load_template(prompt.template)
    if section.name == "tiny":
        tokenizer: PreTrainedTokenizerBase = make_tokenizer(catalog.titles, template.texts, section.vocabulary)
        model: PreTrainedModel = make_model(
            len(tokenizer),
            width=section.width,
            layers=section.layers,
            heads=section.heads,
            feed_forward=section.feed_forward,
            positions=prompt.max_tokens,
            seed=seed,
        )
        name = "tiny"
    else:
        name, folder = _where(section.name)
        model, tokenizer = _pretrained(folder, _dtype(section), prompt)
    if section.lora is not None:
        model = _with_lora(model, section.lora, seed)
    usage = Usage(name, normalize, template, prompt.max_history, prompt.max_tokens)
    return LanguageModel(model, tokenizer, catalog, usage)


@contextmanager
def recipe_dropout(language: LanguageModel, section: ModelSection, on: bool = True) -> Iterator[None]:
    """The recipe's dropout while a stage trains: of `tiny` by hooks, of an adapter by its own layers' rates."""
    own = [module for module in language.model.modules() if isinstance(module, nn.Dropout)]
    rates = [module.p for module in own]
    for module in own:
        module.p = module.p if on else 0.0
    tiny = section.dropout if section.name == "tiny" and on else DropoutSection(embedding=0.0, block=0.0)
    try:
        with dropout(language.model, embedding=tiny.embedding, block=tiny.block):
            yield
    finally:
        for module, rate in zip(own, rates, strict=True):
            module.p = rate


def open_folder(folder: Path, catalog: Catalog | None = None) -> LanguageModel:
    """A saved model. catalog: another one than was saved with it, for items added since.

    Raises UserError for a folder that is none, unreadable weights, or a tokenizer that is not the model's own.
    """
    meta = read_meta(folder)
    tokenizer = _or_user_error(
        folder, "tokenizer", lambda: AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    )
    if tokenizer_digest(tokenizer) != meta["tokenizer"]:
        raise UserError(
            f"the tokenizer ({len(tokenizer)} tokens) is not the one that this model was trained with"
            f" ({meta['tokens']} tokens)",
            where=str(folder),
            remedy="put the model's own tokenizer files back",
        )
    model = _load_weights(folder, meta["precision"])
    _check_sizes(model, tokenizer, folder)
    usage = Usage(template=Template(**meta["template"]), **{name: meta[name] for name in _USAGE})
    return LanguageModel(model, tokenizer, catalog or Catalog.load(folder / CATALOG), usage)


_USAGE = ("name", "normalize", "max_history", "max_tokens", "temperature")


def read_meta(folder: Path) -> dict[str, Any]:
    """What `save_usage` wrote. Raises UserError where there is nothing to read."""
    try:
        meta: dict[str, Any] = json.loads((folder / META).read_text(encoding="utf-8"))
        known = meta.get("format") == 1
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(
            f"no model that napo saved lies there: {META} can't be read",
            where=str(folder),
            remedy="name a run's folder, or the `model` folder in it",
        ) from error
    if not known:
        raise UserError(f"{META} has format {meta.get('format')!r}, this napo reads 1", where=str(folder))
    if missing := {*_USAGE, "template", "tokenizer", "precision"} - set(meta):
        raise UserError(f"{META} lacks {', '.join(sorted(missing))}", where=str(folder), remedy="copy it again")
    return meta


def title_tokens(tokenizer: PreTrainedTokenizerBase, titles: Sequence[str]) -> list[list[int]]:
    """Each title's tokens by itself, the end token last.

    The end token is scored too: without it "Alien" could not be told from "Aliens", which goes on where it stops.
    """
    end = end_token(tokenizer)
    encoded = tokenizer(list(titles), add_special_tokens=False)["input_ids"]
    return [[*ids, end] for ids in encoded]


def end_token(tokenizer: PreTrainedTokenizerBase) -> int:
    if tokenizer.eos_token_id is None:
        raise UserError("this tokenizer has no end token", remedy="set its eos_token: every title ends with it")
    return int(tokenizer.eos_token_id)


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """What the tokens are, as a hash: vocabulary with numbers, and the special ones."""
    vocabulary = sorted(tokenizer.get_vocab().items())
    said = json.dumps([vocabulary, tokenizer.eos_token, tokenizer.bos_token], ensure_ascii=True)
    return hashlib.sha256(said.encode()).hexdigest()


def _where(name: str) -> tuple[str, str]:
    """(name for tables, what from_pretrained takes)."""
    if name == "smollm2-135m-instruct":
        from napo.models import smollm

        return smollm.DISPLAY_NAME, str(smollm.smollm2_135m_instruct())
    if Path(name).is_dir():
        return Path(name).name, name
    if name.startswith((".", "/", "~")):
        raise UserError(
            f"no folder {name}", where="model.name", remedy=f"one of {', '.join(KNOWN)}, a folder, a hub name"
        )
    return name, name


def _dtype(section: ModelSection) -> torch.dtype:
    """`auto`: bfloat16 for frozen weights under an adapter, float32 for weights that are trained."""
    if section.precision == "auto":
        return torch.float32 if section.lora is None else torch.bfloat16
    if section.precision == "float16" and not torch.cuda.is_available():
        raise UserError("float16 can't train on a CPU", where="model.precision", remedy="`auto` or `bfloat16`")
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[section.precision]


def _pretrained(
    name: str, dtype: torch.dtype, prompt: PromptSection
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    model = _whole_model(name, dtype=dtype)
    tokenizer = _or_user_error(name, "tokenizer", lambda: AutoTokenizer.from_pretrained(name))
    _check_sizes(model, tokenizer, name)
    longest = getattr(model.config, "max_position_embeddings", None)
    if longest is not None and longest < prompt.max_tokens:
        raise UserError(
            f"the model reads at most {longest} tokens, and a row may have {prompt.max_tokens}",
            where="prompt.max_tokens",
            remedy=f"at most {longest}",
        )
    LanguagePolicy(model).check_head()
    return model, tokenizer


def _load_weights(folder: Path, precision: str) -> PreTrainedModel:
    """Safetensors alone, and no code of the folder's own: reading a pickle can run anything."""
    safe: dict[str, Any] = {"use_safetensors": True, "trust_remote_code": False, "dtype": precision}
    if (folder / "adapter_config.json").is_file():
        from peft import AutoPeftModelForCausalLM

        if not (folder / "adapter_model.safetensors").is_file():  # peft would take a pickle instead
            raise UserError("the adapter can't be loaded: no adapter_model.safetensors", where=str(folder))
        load = AutoPeftModelForCausalLM.from_pretrained
        adapted: PreTrainedModel = _or_user_error(folder, "adapter", lambda: load(folder, **safe))
        return adapted
    return _whole_model(folder, **safe)


def _whole_model(where: str | Path, **how: Any) -> PreTrainedModel:
    """A model all of whose weights were there: transformers would fill up the others with random numbers."""
    model, found = _or_user_error(
        where, "model", lambda: AutoModelForCausalLM.from_pretrained(where, output_loading_info=True, **how)
    )
    if missing := sorted(found["missing_keys"]):
        raise UserError(
            f"the weights are not whole: {len(missing)} tensors are missing, such as {missing[0]}",
            where=str(where),
            remedy="copy the folder again",
        )
    whole: PreTrainedModel = model
    return whole


def _check_sizes(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, where: str | Path) -> None:
    rows = int(model.get_input_embeddings().weight.size(0))  # type: ignore[operator]
    if rows < len(tokenizer):
        raise UserError(
            f"the model has {rows} token vectors and its tokenizer {len(tokenizer)} tokens",
            where=str(where),
            remedy="the folder mixes two models: copy it again",
        )


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


def _or_user_error(where: str | Path, what: str, load: Any) -> Any:
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


def _with_lora(model: PreTrainedModel, lora: LoraSection, seed: int) -> Any:
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
