"""Prompt templates: text files with a place for the history and, in `list` prompts, for the candidates.

Path    examples -> [prompts.template] -> token batch
Takes   the text of a template; a tokenizer, the titles' tokens, the catalog's columns that the template names
Gives   Frame: the words before, between and after the items, and what is said of each item, as tokens

    What this person liked, oldest first:
    {history: {title} ({genre})}

`{history}` alone is short for `{history: {title}}`; the words after the colon are said of each item.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from napo.errors import UserError, did_you_mean
from napo.scoring.batch import Frame
from napo.scoring.tree import ItemTokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FOLDER = Path(__file__).parent
FIELDS = ("history", "candidates")
TITLE = "{title}"
_FIELD = re.compile(r"\{([^{}]*)\}")
_PLACE = re.compile(r"\{([^{}:]*)(?::((?:[^{}]|\{[^{}]*\})*))?\}")


@dataclass(frozen=True)
class Template:
    """A prompt's words. kind `next` names the history alone, `list` the candidates too.

    history, candidates: what is said of each item, with fields: {title} and columns of the catalog.
    """

    kind: Literal["next", "list"]
    header: str
    middle: str
    tail: str
    history: str = TITLE
    candidates: str = TITLE

    @property
    def texts(self) -> list[str]:
        """The words around the items."""
        return [text for text in (self.header, self.middle, self.tail) if text]

    @property
    def columns(self) -> list[str]:
        """The columns of the catalog that it names, each once."""
        named = [name for line in (self.history, self.candidates) for name in _FIELD.findall(line)]
        return list(dict.fromkeys(name for name in named if name != "title"))

    def said(self, titles: Sequence[str], columns: Mapping[str, Sequence[str]]) -> list[str]:
        """What it says of items beside their titles, or with them where it does not begin with them; each text once."""
        lines = [line for line in (self.history, self.candidates) if line != TITLE]
        texts = [text for line in lines for text in _written(line.removeprefix(TITLE), titles, columns)]
        return list(dict.fromkeys(texts))

    def frame(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        titles: Sequence[str] = (),
        title_tokens: ItemTokens | None = None,
        columns: Mapping[str, Sequence[str]] | None = None,
    ) -> Frame:
        """The template's words as tokens, after what the tokenizer itself puts before a text.

        Each part is tokenized by itself, as titles are, so no token crosses the border of prompt and title. titles,
        title_tokens, columns: of the catalog; needed only where more than titles is said of items.
        """
        parts = [
            np.array(tokenizer(text, add_special_tokens=False)["input_ids"] if text else [], dtype=np.int64)
            for text in (self.header, self.middle, self.tail)
        ]
        begin = begin_tokens(tokenizer)
        if parts[0][: len(begin)].tolist() != begin:  # a template may write it out
            parts[0] = np.concatenate([begin, parts[0]]).astype(np.int64)
        if not len(parts[0]) and tokenizer.bos_token_id is not None:
            parts[0] = np.array([tokenizer.bos_token_id])
        if not len(parts[0]):
            raise UserError(
                "the prompt begins with a title, and this tokenizer has no token to begin with",
                remedy="put some words before {history} in the template",
            )
        history, listed = (
            _item_tokens(line, tokenizer, titles, title_tokens, columns or {})
            for line in (self.history, self.candidates)
        )
        header, middle, tail = parts
        return Frame(header, middle, tail, history, listed, titles_first=self.history.startswith(TITLE))


def begin_tokens(tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """What the tokenizer puts before a text by its own rule: a begin token, mostly, or nothing at all.

    That it has one does not say that it uses it: GPT-2 and Qwen do not.
    """
    alone, whole = (tokenizer("a", add_special_tokens=added)["input_ids"] for added in (False, True))
    for start in range(len(whole) - len(alone) + 1):
        if whole[start : start + len(alone)] == alone:
            return list(whole[:start])
    return []


def _item_tokens(
    line: str,
    tokenizer: "PreTrainedTokenizerBase",
    titles: Sequence[str],
    title_tokens: ItemTokens | None,
    columns: Mapping[str, Sequence[str]],
) -> ItemTokens | None:
    """What a line says of each item, each text ended by the end token; None where that is the title alone.

    A line that begins with the title has the very tokens of the title there, its end token too, and then the rest: so
    the title can be scored where it stands, before anything is said of the item.
    """
    if line == TITLE:
        return None
    assert title_tokens is not None
    end = [int(tokenizer.eos_token_id)]
    texts = _written(line.removeprefix(TITLE), titles, columns)
    # data, not markup: "</s>" in a column is no end token
    said = tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    if line.startswith(TITLE):
        firsts = [title_tokens.of(np.array([item])).tolist() for item in range(len(titles))]
        return ItemTokens.build([[*first, *rest, *end] for first, rest in zip(firsts, said, strict=True)])
    return ItemTokens.build([[*rest, *end] for rest in said])


def _written(line: str, titles: Sequence[str], columns: Mapping[str, Sequence[str]]) -> list[str]:
    """The line, filled in for each item."""
    pieces = _FIELD.split(line)
    values = [titles if name == "title" else columns[name] for name in pieces[1::2]]
    written = []
    for item in range(len(titles)):
        fields = [value[item] for value in values]
        written.append(pieces[0] + "".join(field + words for field, words in zip(fields, pieces[2::2], strict=True)))
    return written


def load_template(name: str) -> Template:
    """A template that napo ships, by name, or a text file of the user's, by path.

    Raises UserError for an unknown name, a place other than {history} and {candidates}, or places out of order.
    """
    known = {path.stem: path for path in FOLDER.glob("*.txt")}
    path = known.get(name, Path(name))
    if not path.is_file():
        raise UserError(f"no prompt template {name!r}", remedy=f"a path to a text file, or {did_you_mean(name, known)}")
    try:
        text = path.read_text(encoding="utf-8-sig")  # with or without the mark that Windows editors put in front
    except UnicodeDecodeError as error:
        raise UserError(
            f"a prompt template that is not UTF-8, at byte {error.start}", where=str(path), remedy="save it as UTF-8"
        ) from error
    return parse_template(text, where=str(path))


def parse_template(text: str, where: str = "template") -> Template:
    """Words, {history}, words, and perhaps {candidates} and more words. The last line break is not part of it."""
    pieces = _PLACE.split(text.removesuffix("\n"))
    words, places, lines = pieces[0::3], pieces[1::3], pieces[2::3]
    for name in places:
        if name not in FIELDS:
            remedy = did_you_mean(name, FIELDS)
            if name:
                remedy += f"; what is said of each item stands after a colon: {{history: {{title}} ({{{name}}})}}"
            raise UserError(f"unknown field {{{name}}} in a prompt template", where=where, remedy=remedy)
    if places not in (["history"], ["history", "candidates"]):
        raise UserError(
            f"a prompt template needs {{history}} once, then at most one {{candidates}}; this one has {places}",
            where=where,
            remedy="write the fields in that order",
        )
    said = [_line(line, place, where) for place, line in zip(places, lines, strict=True)]
    if len(places) == 1:
        return Template("next", header=words[0], middle="", tail=words[1], history=said[0])
    if not words[1]:
        raise UserError(
            "nothing stands between {history} and {candidates}: a model could not tell them apart",
            where=where,
            remedy="write a line in between, like `One of these comes next:`",
        )
    return Template("list", words[0], words[1], words[2], *said)


def _line(line: str | None, place: str, where: str) -> str:
    """What a place says of each item, from the words after its colon."""
    if line is None:
        return TITLE
    if not _FIELD.search(line):
        raise UserError(
            f"{{{place}: ...}} says the same of every item", where=where, remedy=f"{{{place}: {TITLE}}}, or a column"
        )
    return line.strip()
