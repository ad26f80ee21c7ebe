"""Small trees and policies whose numbers are known, for the tests of scoring."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from napo.arrays import IntArray
from napo.models.policy import LanguagePolicy
from napo.rng import rng_for
from napo.scoring.batch import Frame, Row
from napo.scoring.tree import ItemTokens, PrefixTree

# T1 = a b $, T2 = a c $, T3 = a c d $, T4 = e $, with $ the end token
A, B, C, D, E, END = range(6)
TOY_TITLES = ((A, B, END), (A, C, END), (A, C, D, END), (E, END))
TOY_LOGITS = {  # after these tokens of a title, of a b c d e $
    (): (1, 2, -1, 0.5, 0, -2),
    (A,): (0, 0.5, 1.3, -1, 1, 0.2),
    (A, B): (-1, 0.3, 0, -0.5, 0.4, 1),
    (A, C): (0.5, -0.2, 0.1, 0.6, -1, 0.2),
    (A, C, D): (0, 0.2, -0.4, 0.1, 0.3, 0.8),
    (E,): (0.7, -0.3, 0.2, 0, -1, 0.9),
}


def toy_tree() -> PrefixTree:
    return PrefixTree.build(TOY_TITLES, END)


class SeenPolicy(nn.Module):
    """Its state at a token names all that the token sees, in the order of the positions: masks and positions count."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []
        self.rows_run = 0

    def hidden(self, input_ids: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        rows, length = input_ids.shape
        self.rows_run += rows
        if mask is None:
            mask = torch.ones(length, length, dtype=torch.bool).tril().expand(rows, 1, length, length)
        numbers = torch.empty(rows, length, 1, dtype=torch.float64)
        for row in range(rows):
            for query in range(length):
                keys = torch.nonzero(mask[row, 0, query]).flatten().tolist()
                keys.sort(key=lambda key: int(positions[row, key]))
                if [int(positions[row, key]) for key in keys] != list(range(len(keys))):
                    keys = []  # no token of a title sees such a thing; padding may
                self.seen.append(tuple(int(input_ids[row, key]) for key in keys))
                numbers[row, query] = len(self.seen) - 1
        return numbers

    def states(self, hidden: Tensor) -> list[tuple[int, ...]]:
        return [self.seen[int(number)] for number in hidden[:, 0]]


class ToyPolicy(SeenPolicy):
    """The logits of TOY_LOGITS, whatever stands before the title."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(list(TOY_LOGITS.values()), dtype=torch.float64))

    def head(self, hidden: Tensor, tokens: Tensor | None) -> Tensor:
        begun = [_after_last_end(seen, END) for seen in self.states(hidden)]
        logits = self.logits[[list(TOY_LOGITS).index(tokens) for tokens in begun]]
        return logits if tokens is None else logits[:, tokens]


class HashedPolicy(SeenPolicy):
    """Logits drawn from a hash of all that a token sees: any mistake in what it sees gives another number."""

    def __init__(self, vocabulary: int, seed: int = 0, scale: float = 2.0) -> None:
        super().__init__()
        self.vocabulary, self.seed, self.scale = vocabulary, seed, scale

    def logits_after(self, seen: Sequence[int]) -> Tensor:
        drawn = rng_for(self.seed, *seen).normal(size=self.vocabulary) * self.scale
        return torch.from_numpy(drawn)

    def head(self, hidden: Tensor, tokens: Tensor | None) -> Tensor:
        logits = torch.stack([self.logits_after(seen) for seen in self.states(hidden)])
        return logits if tokens is None else logits[:, tokens]


def by_hand(
    policy: HashedPolicy,
    prompt: Sequence[int],
    titles: Sequence[Sequence[int]],
    normalize: str,
    trained: int | None = None,
) -> list[float]:
    """The log-prob of each title behind the prompt, token by token, without a tree. trained: those after it are new."""
    sums = []
    for title in titles:
        total = 0.0
        for place, token in enumerate(title):
            logits = policy.logits_after([*prompt, *title[:place]])
            alike = [number for number, other in enumerate(titles) if list(other[:place]) == list(title[:place])]
            old = [titles[number][place] for number in alike if trained is None or number < trained]
            if normalize == "vocabulary":
                total += float(logits[token] - logits.logsumexp(0))
                continue
            rivals = old or [titles[number][place] for number in alike]
            log_prob = float(logits[token] - logits[sorted(set(rivals))].logsumexp(0))
            if token not in rivals:
                new = sum(titles[number][place] == token for number in alike)
                log_prob = min(log_prob, 0.0, math.log(new / len(old)))
            total += log_prob
        sums.append(total)
    return sums


def _after_last_end(seen: tuple[int, ...], end: int) -> tuple[int, ...]:
    return seen[len(seen) - seen[::-1].index(end) :]


def llama(vocabulary: int = 40, layers: int = 2) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    return seeded(LlamaForCausalLM, config)


def qwen2(vocabulary: int = 40) -> Qwen2ForCausalLM:
    config = Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=False,
    )
    return seeded(Qwen2ForCausalLM, config)


def gpt2(vocabulary: int = 40) -> GPT2LMHeadModel:
    config = GPT2Config(vocab_size=vocabulary, n_embd=32, n_layer=2, n_head=4, n_positions=96)
    return seeded(GPT2LMHeadModel, config)


def seeded(kind: type, config: object) -> LlamaForCausalLM:
    """In float64, weights larger than usual so that tokens matter, dropout off."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = kind(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4)
    return model.double().eval()


SHAPES = {"llama": llama, "qwen2": qwen2, "gpt2": gpt2}


def language_policy(shape: str) -> LanguagePolicy:
    return LanguagePolicy(SHAPES[shape]())


def ids(*numbers: int) -> IntArray:
    return np.array(numbers, dtype=np.int64)


# Nine titles over tokens 3..12: prefix titles (0, 1), equal ones (2, 3), one of a single token (4), long ones.
TITLES = (
    (3, 4, 1),
    (3, 4, 5, 1),
    (6, 7, 1),
    (6, 7, 1),
    (8, 1),
    (3, 9, 10, 11, 12, 1),
    (3, 9, 10, 4, 1),
    (12, 3, 1),
    (9, 9, 9, 1),
)
NEXT = Frame(ids(0, 20, 21))
NEXT_WITH_TAIL = Frame(ids(0, 20, 21), tail=ids(22))
# each title of TITLES, and behind it something that is said of the item
SAID = ItemTokens.build([[*title, 27 + item, 1] for item, title in enumerate(TITLES)])
OTHERWISE = ItemTokens.build([[27 + item, *title[:1], 1] for item, title in enumerate(TITLES)])
NEXT_SAID = Frame(ids(0, 20, 21), history=SAID)
NEXT_OTHERWISE = Frame(ids(0, 20, 21), history=OTHERWISE, titles_first=False)
LIST = Frame(ids(0, 20), middle=ids(23, 24), tail=ids(25, 26))
LIST_SAID = Frame(ids(0, 20), middle=ids(23, 24), tail=ids(25, 26), history=SAID, listed=OTHERWISE)

# rows of every kind: name -> (frame, rows)
ROWS = {
    "prompts with branches": (
        NEXT,
        [
            Row(ids(0, 5, 4), branches=ids(1, 2, 7), sees=ids(3, 3, 3)),
            Row(ids(8), branches=ids(6, 5), sees=ids(1, 1)),
            Row(ids(), branches=ids(0, 3), sees=ids(0, 0)),
        ],
    ),
    "prompts with words behind the history": (
        NEXT_WITH_TAIL,
        [Row(ids(0, 5), branches=ids(1, 8), sees=ids(2, 2)), Row(ids(), branches=ids(4), sees=ids(0))],
    ),
    "prompts that list candidates": (
        LIST,
        [
            Row(ids(0, 8), branches=ids(5, 1, 4), sees=ids(2, 2, 2), listed=ids(4, 1, 5)),
            Row(ids(7), branches=ids(2, 6), sees=ids(1, 1), listed=ids(6, 2)),
        ],
    ),
    "trajectories": (NEXT, [Row(ids(0, 5, 4, 2), ids(0, 1, 2, 3)), Row(ids(8, 7, 1), ids(1, 2))]),
    "trajectories with branches": (
        NEXT,
        [
            Row(ids(0, 5, 4, 2), ids(1, 3), branches=ids(6, 8, 1, 0), sees=ids(1, 1, 3, 3)),
            Row(ids(7, 2), ids(0, 1), branches=ids(5, 5), sees=ids(0, 1)),
            Row(ids(3), ids(0)),
        ],
    ),
    "trajectories where more than titles is said": (
        NEXT_SAID,
        [Row(ids(0, 5, 4, 2), ids(0, 1, 3), branches=ids(6, 8), sees=ids(1, 3)), Row(ids(7, 2), ids(1))],
    ),
    "prompts where items are said otherwise": (
        NEXT_OTHERWISE,
        [Row(ids(0, 5, 4), branches=ids(1, 2), sees=ids(3, 3)), Row(ids(), branches=ids(3), sees=ids(0))],
    ),
    "lists where candidates are said otherwise": (
        LIST_SAID,
        [Row(ids(0, 8), branches=ids(5, 1, 4), sees=ids(2, 2, 2), listed=ids(4, 1, 5))],
    ),
}


def catalog_tree() -> PrefixTree:
    return PrefixTree.build(TITLES, end=1)


def gradients(policy: LanguagePolicy, log_probs: Tensor) -> list[Tensor]:
    """Of a sum in which every title has a weight of its own."""
    weights = torch.linspace(-1, 2, len(log_probs), dtype=log_probs.dtype, device=log_probs.device)
    parameters = list(policy.parameters())
    found = torch.autograd.grad((weights * log_probs).sum(), parameters, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
