"""Titles as tokens, by the tokenizer's own rules.

Path    catalog, tokenizer -> [models.tokens] -> prefix tree
Takes   titles in any script
Gives   each title's tokens by itself, the end token last; titles that can't be told apart are refused or told
"""

import hashlib
import json
import logging
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from napo.errors import UserError

log = logging.getLogger(__name__)


def title_tokens(tokenizer: PreTrainedTokenizerBase, titles: Sequence[str]) -> list[list[int]]:
    """Each title's tokens by itself, the end token last; no begin token, which stands once, before the prompt.

    The end token is scored too: without it "Alien" could not be told from "Aliens", which goes on where it stops.
    """
    end = end_token(tokenizer)
    return [[*ids, end] for ids in text_tokens(tokenizer, titles)]


def text_tokens(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Each text's tokens, nothing put around them. A title that reads `</s>` is these letters and no end token."""
    if not texts:
        return []
    found: list[list[int]] = tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return found


def apart(tokenizer: PreTrainedTokenizerBase, titles: Sequence[str], tokens: Sequence[Sequence[int]]) -> None:
    """Raises UserError for titles of no token at all, or that unknown tokens make alike.

    Titles that differ in ways that the tokenizer smooths over by rule (composed and decomposed accents, say) are told:
    they are one title to the model, and tie.
    """
    if blank := [title for title, ids in zip(titles, tokens, strict=True) if len(ids) < 2]:
        raise UserError(
            f"the tokenizer leaves nothing of {_named(blank)}",
            where="titles",
            remedy="another title for it, or a model whose tokenizer knows its letters",
        )
    written: dict[tuple[int, ...], str] = {}
    alike: list[tuple[str, str]] = []
    unknown = tokenizer.unk_token_id
    for title, ids in zip(titles, tokens, strict=True):
        first = written.setdefault(tuple(ids), title)
        if first == title:
            continue
        if unknown is not None and unknown in ids:
            raise UserError(
                f"this tokenizer can't tell {first!r} from {title!r}: it does not know their letters",
                where="titles",
                remedy="a model whose tokenizer knows their script, or falls back to bytes; or `model.name: tiny`",
            )
        alike.append((first, title))
    if alike:
        log.warning(
            "%d titles differ from another one in ways that this tokenizer does not see, such as %r from %r: they"
            " score the same, and are listed as ties",
            len(alike),
            *alike[0][::-1],
        )


def _named(titles: Sequence[str]) -> str:
    """The first three, and how many there are."""
    shown = ", ".join(repr(title) for title in titles[:3])
    return shown if len(titles) <= 3 else f"{shown} and {len(titles) - 3} more titles"


def end_token(tokenizer: PreTrainedTokenizerBase) -> int:
    if tokenizer.eos_token_id is None:
        raise UserError("this tokenizer has no end token", remedy="set its eos_token: every title ends with it")
    return int(tokenizer.eos_token_id)


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """What the tokens are, as a hash: vocabulary with numbers, and the special ones."""
    vocabulary = sorted(tokenizer.get_vocab().items())
    said = json.dumps([vocabulary, tokenizer.eos_token, tokenizer.bos_token], ensure_ascii=True)
    return hashlib.sha256(said.encode()).hexdigest()
