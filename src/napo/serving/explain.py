"""Why a title stands where it does: what the history adds to it, token by token and item by item.

Path    recommender -> [serving.explain] -> the command line, HTTP, Python
Takes   a ranker; items of a history, oldest first; items to explain
Gives   Explanation: log-probabilities with the history and without, nats; the change that each item makes
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napo.arrays import IntArray
from napo.errors import UserError
from napo.scoring.batch import NONE
from napo.scoring.ranker import TitleRanker

if TYPE_CHECKING:
    from rich.console import RenderableType
    from transformers import PreTrainedTokenizerBase

    from napo.models.language import LanguageModel


@dataclass(frozen=True)
class TokenShare:
    """One token of a title: its log-prob after the history, and without any. text: what it adds to the title.

    Where no other token can follow, both are 0 under `normalize: catalog`. The end of a title has the text "".
    """

    text: str
    log_prob: float
    prior: float


@dataclass(frozen=True)
class HistoryShare:
    """One item of the history. place: its number, from 1, in what was asked. change: log-prob with it less without."""

    place: int
    item: int
    key: str
    title: str
    change: float


@dataclass(frozen=True)
class Explanation:
    """prior: the title's log-prob without any history. tokens: both numbers, token by token; they sum to them.

    history: the items that the prompt shows, each with the change when it alone is left out; what lifts most is first.
    """

    item: int
    key: str
    title: str
    log_prob: float
    prior: float
    tokens: tuple[TokenShare, ...]
    history: tuple[HistoryShare, ...]
    notes: tuple[str, ...] = ()

    @property
    def lift(self) -> float:
        """What the history adds to the log-prob, nats."""
        return self.log_prob - self.prior

    def to_json(self) -> dict[str, Any]:
        """The same as plain dicts and lists."""
        return {**asdict(self), "lift": self.lift}

    def table(self) -> "RenderableType":
        """For a terminal."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        head = f"log-prob {self.log_prob:.3f}, without history {self.prior:.3f}: the history adds {self.lift:+.3f}"
        tokens, history = Table("token", "log-prob", "without history"), Table("left out", "change")
        for token in self.tokens:
            tokens.add_row(Text(repr(token.text) if token.text else "(end)"), *_figures(token.log_prob, token.prior))
        for share in self.history:
            history.add_row(Text(share.title), f"{share.change:+.3f}")
        return Group(Text(self.title), Text(head), tokens, history, *(Text(f"- {note}") for note in self.notes))


def _figures(*values: float) -> list[str]:
    return [f"{value:.3f}" for value in values]


def explain_items(
    ranker: TitleRanker, language: "LanguageModel", history: IntArray, items: IntArray, notes: Sequence[str] = ()
) -> list[Explanation]:
    """An explanation of each item after the history. It takes as many prompts as the history has items, and two more.

    Raises UserError for a model whose prompt names the candidates: its log-probs are of the lists that it is given.
    """
    if ranker.lists_candidates:
        raise UserError(
            "a prompt that names the candidates has no log-probability of a title by itself",
            remedy="a model whose template has no {candidates}",
        )
    shown = ranker.shown(history)
    first = len(history) - len(shown)  # what the prompt does not show can't be left out
    without = [np.delete(shown, place) for place in range(len(shown))]
    left_out = ranker.title_scores(without, [items] * len(without))
    after, before = ranker.token_scores(shown, items), ranker.token_scores(NONE, items)
    catalog = language.catalog
    explained = []
    for number, item in enumerate(items.tolist()):
        total = float(after[number].sum())
        shares = [
            HistoryShare(
                place=first + place + 1,
                item=(one := int(shown[place])),
                key=catalog.keys[one],
                title=catalog.titles[one],
                change=total - float(scores[number]),
            )
            for place, scores in enumerate(left_out)
        ]
        texts = pieces(language.tokenizer, language.tree.title(item))
        tokens = zip(texts, after[number].tolist(), before[number].tolist(), strict=True)
        explained.append(
            Explanation(
                item=item,
                key=catalog.keys[item],
                title=catalog.titles[item],
                log_prob=total,
                prior=float(before[number].sum()),
                tokens=tuple(TokenShare(*token) for token in tokens),
                history=tuple(sorted(shares, key=lambda share: -share.change)),
                notes=tuple(notes),
            )
        )
    return explained


def pieces(tokenizer: "PreTrainedTokenizerBase", tokens: IntArray) -> list[str]:
    """(T,) what each token adds to the text; a letter of several tokens comes with its last one, the end is ""."""
    texts, done = [], ""
    for count in range(1, len(tokens)):
        whole = tokenizer.decode(tokens[:count].tolist(), clean_up_tokenization_spaces=False)
        whole = str(whole).rstrip("\N{REPLACEMENT CHARACTER}")  # the first bytes of a letter
        texts.append(whole[len(done) :])
        done = whole
    return [*texts, ""]
