"""Prompt templates: text files with a place for the history and, in `list` prompts, for the candidates.

Path    examples -> [prompts.template] -> token batch
Takes   the text of a template; a tokenizer
Gives   Frame: the words before, between and after the titles, as tokens
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from napo.errors import UserError, did_you_mean
from napo.scoring.batch import Frame

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FOLDER = Path(__file__).parent
FIELDS = ("history", "candidates")


@dataclass(frozen=True)
class Template:
    """A prompt's words. kind `next` names the history alone, `list` the candidates too."""

    kind: Literal["next", "list"]
    header: str
    middle: str
    tail: str

    @property
    def texts(self) -> list[str]:
        return [text for text in (self.header, self.middle, self.tail) if text]

    def frame(self, tokenizer: "PreTrainedTokenizerBase") -> Frame:
        """The template's words as tokens, the tokenizer's begin token first where it has one.

        Each part is tokenized by itself, as titles are, so no token crosses the border of prompt and title.
        """
        parts = [
            np.array(tokenizer(text, add_special_tokens=False)["input_ids"] if text else [], dtype=np.int64)
            for text in (self.header, self.middle, self.tail)
        ]
        if tokenizer.bos_token_id is not None:
            parts[0] = np.concatenate([[tokenizer.bos_token_id], parts[0]])
        if not len(parts[0]):
            raise UserError(
                "the prompt begins with a title, and this tokenizer has no token to begin with",
                remedy="put some words before {history} in the template",
            )
        return Frame(*parts)


def load_template(name: str) -> Template:
    """A template that napo ships, by name, or a text file of the user's, by path.

    Raises UserError for an unknown name, a field other than {history} and {candidates}, or fields out of order.
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
    pieces = re.split(r"\{(\w*)\}", text.removesuffix("\n"))
    fields = pieces[1::2]
    for name in fields:
        if name not in FIELDS:
            raise UserError(
                f"unknown field {{{name}}} in a prompt template", where=where, remedy=did_you_mean(name, FIELDS)
            )
    if fields not in (["history"], ["history", "candidates"]):
        raise UserError(
            f"a prompt template needs {{history}} once, then at most one {{candidates}}; this one has {fields}",
            where=where,
            remedy="write the fields in that order",
        )
    words = pieces[0::2]
    if len(fields) == 1:
        return Template("next", header=words[0], middle="", tail=words[1])
    if not words[1]:
        raise UserError(
            "nothing stands between {history} and {candidates}: a model could not tell them apart",
            where=where,
            remedy="write a line in between, like `One of these comes next:`",
        )
    return Template("list", header=words[0], middle=words[1], tail=words[2])
