"""One loader for every language model: `tiny`, a known model, a GGUF file, a local folder, a name on the hub.

Path    catalog, recipe -> [models.language] -> scoring, training, serving
Takes   what to load and how: name, sizes, adapter, precision, template, normalization, limits
Gives   LanguageModel: policy, tokenizer, prefix tree, frame; saved as one folder that plain transformers can open too
"""

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from napo.data.catalog import Catalog
from napo.errors import UserError
from napo.files import write_aside
from napo.models.columns import columns_as_text
from napo.models.policy import LanguagePolicy, dropout
from napo.models.pretrained import (
    check_sizes,
    located,
    or_user_error,
    pretrained,
    save_model,
    saved_weights,
    token_vectors,
    with_lora,
)
from napo.models.tiny import make_model, make_tokenizer
from napo.models.tokens import apart, end_token, title_tokens, tokenizer_digest
from napo.prompts.template import Template, load_template
from napo.recipe_keys import DropoutSection, ModelSection, PromptSection
from napo.scoring.batch import Frame, Normalize
from napo.scoring.ranker import TitleRanker
from napo.scoring.self_check import keeps_histories, shares_prefixes
from napo.scoring.tree import PrefixTree

log = logging.getLogger(__name__)

META, CATALOG = "napo.json", "catalog.parquet"


@dataclass(frozen=True)
class Usage:
    """How a model is asked: kept beside the weights, since scores mean nothing without it."""

    name: str
    normalize: Normalize
    template: Template
    max_history: int
    max_tokens: int
    temperature: float = 1.0  # of the softmax that it was trained with; another one ranks titles otherwise
    load_in: str | None = None  # `4bit`: how the frozen weights under its adapter are held
    trained: int | None = None  # items of the catalog that it was trained on, where others came later; None: all


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
        tokens = title_tokens(self.tokenizer, self.catalog.titles)
        apart(self.tokenizer, self.catalog.titles, tokens)
        return PrefixTree.build(tokens, end_token(self.tokenizer), trained=self.usage.trained)

    @cached_property
    def frame(self) -> Frame:
        template, titles = self.usage.template, self.catalog.titles
        return template.frame(self.tokenizer, titles, self.tree.titles, columns_as_text(self.catalog, template.columns))

    @property
    def wording(self) -> list[str]:
        """All that its prompts say beside titles, for whoever has to know whether that changed."""
        said = [texts for texts in (self.frame.history, self.frame.listed) if texts is not None]
        of_items = [hashlib.sha256(part.tobytes()).hexdigest() for texts in said for part in (texts.start, texts.token)]
        return [*self.usage.template.texts, *of_items]

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

    @cached_property
    def keeps(self) -> bool:
        """Whether a history may be run once and kept through all rounds of a search; tried once."""
        return self.shared and keeps_histories(self.policy, self.tree, self.frame, self.usage.max_tokens)

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
        tokens = {
            "tokenizer": tokenizer_digest(self.tokenizer),
            "tokens": len(self.tokenizer),
            "tree": self.tree.digest,  # it is built again from the titles, and has to come out the same
        }
        # an adapter's folder does not hold the base model, whose own files may be of another precision
        precision = str(self.model.get_input_embeddings().weight.dtype).removeprefix("torch.")
        held = {"precision": precision, "token_vectors": token_vectors(self.model)}
        said = {"format": 1, **asdict(self.usage), **tokens, **held}
        with write_aside(folder / META) as aside:
            aside.write_text(json.dumps(said, indent=2, ensure_ascii=False), encoding="utf-8")


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
    if template.kind != prompt.kind:
        raise UserError(
            f"the template {'names no' if prompt.kind == 'list' else 'names the'} candidates, as `prompt.kind:"
            f" {template.kind}` does",
            where="prompt.template",
            remedy=f"`prompt.kind: {template.kind}`, or another template",
        )
    if section.name == "tiny":
        texts = template.texts + template.said(catalog.titles, columns_as_text(catalog, template.columns))
        tokenizer: PreTrainedTokenizerBase = make_tokenizer(catalog.titles, texts, section.vocabulary)
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
        name, folder = located(section.name)
        model, tokenizer = pretrained(folder, section, prompt)
    if section.lora is not None:
        model = with_lora(model, section.lora, seed)
    usage = Usage(name, normalize, template, prompt.max_history, prompt.max_tokens, load_in=section.load_in)
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

    Raises UserError for a folder that is none, unreadable weights, or a tokenizer that is not the model's own or splits
    the saved titles in another way than it did.
    """
    meta = read_meta(folder)
    tokenizer = or_user_error(
        folder, "tokenizer", lambda: AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    )
    if tokenizer_digest(tokenizer) != meta["tokenizer"]:
        raise UserError(
            f"the tokenizer ({len(tokenizer)} tokens) is not the one that this model was trained with"
            f" ({meta['tokens']} tokens)",
            where=str(folder),
            remedy="put the model's own tokenizer files back",
        )
    usage = Usage(
        template=Template(**meta["template"]),
        load_in=meta.get("load_in"),
        trained=meta.get("trained"),
        **{name: meta[name] for name in _USAGE},
    )
    model = saved_weights(folder, meta["precision"], usage.load_in, meta.get("token_vectors"))
    check_sizes(model, tokenizer, folder)
    language = LanguageModel(model, tokenizer, catalog or Catalog.load(folder / CATALOG), usage)
    if catalog is None and meta.get("tree", language.tree.digest) != language.tree.digest:
        raise UserError(
            "the titles give another prefix tree than the one that was saved: catalog or tokenizer have changed",
            where=str(folder),
            remedy="copy the folder again, or install the version of `tokenizers` that it was made with",
        )
    return language


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
        what = f"{META} has format {meta.get('format')!r}, this napo reads 1"
        raise UserError(what, where=str(folder), remedy="the napo that saved it, or a newer one")
    if missing := {*_USAGE, "template", "tokenizer", "precision"} - set(meta):
        raise UserError(f"{META} lacks {', '.join(sorted(missing))}", where=str(folder), remedy="copy it again")
    return meta
