"""New titles for a model whose tokenizer was made from the titles that it had: more tokens, and vectors for them.

Path    earlier model, catalog with new titles -> [models.grown] -> training.refresh
Takes   a byte-level BPE tokenizer (models.tiny); the texts that it cut so far; new titles
Gives   the same tokenizer with merges behind the old ones; a model with a row for each new token

Any title can be written with the old tokens, if need be byte by byte; but long titles make a small model slow. So the
learning of merges goes on, over the new titles alone, with one rule more: no pair is merged that stands in an old text.
New merges come after all old ones, hence old texts are cut as they were, and all that the model has learnt of them
stays. The vector of a new token is the mean of those of the old tokens that it stands for: it begins as likely, and
means as much, as its parts do. Old weights are not touched.
"""

import heapq
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from napo.models.tiny import fast_tokenizer
from napo.models.tokens import text_tokens

ALPHABET = 258  # tokens of every tokenizer of models.tiny: begin, end, the bytes
Pair = tuple[int, int]


def most_new_tokens(tokenizer: PreTrainedTokenizerBase, old: int, new: int) -> int:
    """As many tokens a new title as the old ones were given, on average."""
    return -(-(len(tokenizer) - ALPHABET) * new // max(old, 1))


def grown_tokenizer(
    tokenizer: PreTrainedTokenizerBase, old: Sequence[str], new: Sequence[str], most: int
) -> tuple[PreTrainedTokenizerBase, list[list[int]]]:
    """At most so many tokens more, learnt on `new`; of each the old tokens that it stands for.

    old: texts that have to be cut as they were.
    """
    said: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary: dict[str, int] = said["model"]["vocab"]
    texts = {number: text for text, number in vocabulary.items()}
    parts: list[list[int]] = []
    first = len(tokenizer)
    taken = {pair for ids in text_tokens(tokenizer, old) for pair in pairwise(ids)}
    words = _Words(text_tokens(tokenizer, new), taken)
    while len(parts) < most and (pair := words.best()) is not None:
        left, right = pair
        text = texts[left] + texts[right]
        if (made := vocabulary.get(text)) is None:
            made = first + len(parts)
            vocabulary[text], texts[made] = made, text
            parts.append([old for one in pair for old in (parts[one - first] if one >= first else [one])])
        said["model"]["merges"].append([texts[left], texts[right]])
        words.merge(pair, made)
    return fast_tokenizer(Tokenizer.from_str(json.dumps(said))), parts


class _Words:
    """Texts as tokens, and how often each pair of neighbours stands in them. Pairs in `taken` are never merged."""

    def __init__(self, words: list[list[int]], taken: set[Pair]) -> None:
        self.words, self.taken = words, taken
        self.counts: Counter[Pair] = Counter()
        self.places: dict[Pair, set[int]] = defaultdict(set)
        self.heap: list[tuple[int, Pair]] = []
        self._count(range(len(words)), 1)

    def best(self) -> Pair | None:
        """The most frequent pair; of equal ones that of the oldest tokens."""
        while self.heap:
            count, pair = self.heap[0]
            if -count == self.counts[pair] > 0:
                return pair
            heapq.heappop(self.heap)  # its count has changed since
        return None

    def merge(self, pair: Pair, made: int) -> None:
        """Put one token in the place of the pair, everywhere."""
        mine = sorted(self.places[pair])
        self._count(mine, -1)
        for place in mine:
            self.words[place] = _merged(self.words[place], pair, made)
        self._count(mine, 1)

    def _count(self, places: Sequence[int], step: int) -> None:
        moved = set()
        for place in places:
            for pair in pairwise(self.words[place]):
                if pair not in self.taken:
                    self.counts[pair] += step
                    self.places[pair].add(place)  # that it has gone from there costs a look, and no more
                    moved.add(pair)
        for pair in moved:
            if self.counts[pair] > 0:
                heapq.heappush(self.heap, (-self.counts[pair], pair))


def _merged(word: list[int], pair: Pair, made: int) -> list[int]:
    found, place = [], 0
    while place < len(word):
        if tuple(word[place : place + 2]) == pair:
            found.append(made)
            place += 2
        else:
            found.append(word[place])
            place += 1
    return found


@torch.no_grad()
def grow(model: PreTrainedModel, parts: Sequence[Sequence[int]]) -> None:
    """A row for each new token, in the input and, where it is another matrix, in the output: the mean of its parts."""
    if not parts:
        return
    embeddings: nn.Embedding = model.get_input_embeddings()  # type: ignore[assignment]
    rows = embeddings.weight.size(0)
    model.resize_token_embeddings(rows + len(parts), mean_resizing=False)
    heads = {id(layer.weight): layer for layer in (model.get_input_embeddings(), model.get_output_embeddings())}
    for layer in heads.values():
        weight: torch.Tensor = layer.weight  # type: ignore[assignment]
        for number, old in enumerate(parts):
            weight[rows + number] = weight[list(old)].mean(dim=0)
