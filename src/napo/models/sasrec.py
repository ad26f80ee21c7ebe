"""SASRec: a small causal Transformer over item ids; the light baseline, and the auxiliary model that NAPO asks.

Path    split -> [models.sasrec] -> training.auxiliary, models.sasrec_scorer, negatives, objectives (its frozen vectors)
Takes   histories of item ids, oldest first; only the newest `max_length` are read
Gives   one vector (d,) a history, one vector (d,) an item, and their dot products as scores (items,)
Oracle  tests/models/test_sasrec.py: losses by hand, a later item changes nothing before, one history = its row of many

Kang and McAuley, Self-Attentive Sequential Recommendation, arXiv 1808.09781; gBCE is arXiv 2308.07192.
Two things differ from the paper. Place 0 of every row holds no item, so a user without history has a vector too,
and the first item of a row is trained. Rows are padded at the end, where a causal model never looks.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from napo.arrays import IntArray
from napo.errors import UserError
from napo.files import folder_aside
from napo.settings import Strict

PADDING = -1
WEIGHTS, CONFIG = "model.safetensors", "config.json"

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]


class SASRecSettings(Strict):
    """What a SASRec is, and which loss it is trained with."""

    width: PositiveInt = 64
    blocks: PositiveInt = 2
    heads: PositiveInt = 2
    inner: PositiveInt | None = None  # width of the feed-forward layer; the paper has it as wide as the rest
    max_length: PositiveInt = 25
    dropout: Fraction = 0.2
    norm: Literal["original", "pre"] = "pre"  # original: only queries are normalised, and the residual adds LN(x)
    loss: Literal["ce", "bce", "gbce"] = "ce"
    negatives: PositiveInt = 1  # a place, for bce and gbce; ce takes every other item
    calibration: Annotated[float, Field(ge=0.0, le=1.0)] = 0.75  # t of gbce


def ce_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Full softmax of each place: loss_i = logsumexp_j logits_ij - logits_i,target.

    logits: (n, items); targets: (n,). Returns (n,), nats. Relations: with two items it is -log sigmoid(s+ - s-).
    """
    return F.cross_entropy(logits, targets, reduction="none")


def bce_loss(positive: Tensor, negative: Tensor) -> Tensor:
    """Binary cross-entropy of each place, as one mean over its 1 + K scores.

        loss_i = -(log sigmoid(s+) + sum_k log sigmoid(-s-_k)) / (1 + K)

    positive: (n,); negative: (n, K). Returns (n,). Relations: with K = 1 the paper's sum of two means is twice this.
    """
    return gbce_loss(positive, negative, beta=1.0)


def gbce_loss(positive: Tensor, negative: Tensor, *, beta: float) -> Tensor:
    """gBCE of each place: bce_loss with the positive term weighed by beta.

    positive: (n,); negative: (n, K). Returns (n,). beta: see gbce_beta.
    """
    wrong = F.logsigmoid(-negative).sum(dim=1)  # (n,)
    return -(beta * F.logsigmoid(positive) + wrong) / (1 + negative.shape[1])


def gbce_beta(negatives: int, items: int, calibration: float) -> float:
    """beta = alpha (t (1 - 1/alpha) + 1/alpha), where alpha = negatives / (items - 1); t = 0: 1, t = 1: alpha."""
    alpha = negatives / (items - 1)
    return alpha * (calibration * (1.0 - 1.0 / alpha) + 1.0 / alpha)


def pad(rows: Sequence[IntArray]) -> Tensor:
    """Rows of ids, one under the other: (rows, longest), int64, PADDING at the end of the shorter ones."""
    padded = np.full((len(rows), max(map(len, rows), default=0)), PADDING, dtype=np.int64)
    for row, ids in zip(padded, rows, strict=True):
        row[: len(ids)] = ids
    return torch.from_numpy(padded)


class SASRec(nn.Module):
    """Item ids (B, L) to states (B, 1 + L, d); state t has seen the first t items and predicts the next."""

    def __init__(self, items: int, settings: SASRecSettings) -> None:
        super().__init__()
        if settings.width % settings.heads:
            raise UserError(
                f"width {settings.width} cannot be shared among {settings.heads} heads",
                where="sasrec: width, heads",
                remedy=f"a width that {settings.heads} divides",
            )
        self.settings = settings
        self.items = nn.Embedding(items, settings.width)  # the input's and the output's: tied
        self.places = nn.Embedding(1 + settings.max_length, settings.width)
        self.blocks = nn.ModuleList(Block(settings) for _ in range(settings.blocks))
        self.last_norm = nn.LayerNorm(settings.width)
        self.dropout = nn.Dropout(settings.dropout)
        for table in (self.items, self.places):
            nn.init.normal_(table.weight, std=0.02)

    @property
    def device(self) -> torch.device:
        return self.items.weight.device

    def forward(self, ids: Tensor) -> Tensor:
        """States (B, 1 + L, d) of ids (B, L), PADDING at the end; those beyond a row's own length mean nothing."""
        length = ids.shape[1]
        assert length <= self.settings.max_length, f"{length} items, but max_length is {self.settings.max_length}"
        real = (ids != PADDING).unsqueeze(2)  # (B, L, 1); by the id: a zero vector could be an item's
        vectors = self.items(ids.clamp(min=0)) * self.settings.width**0.5 * real  # (B, L, d)
        # Place 0 holds no item: its vector alone is what a user without history gets.
        states = F.pad(vectors, (0, 0, 1, 0)) + self.places.weight[: 1 + length]  # (B, 1 + L, d)
        states = self.dropout(states)
        for block in self.blocks:
            states = block(states)
        normalised: Tensor = self.last_norm(states)
        return normalised

    def place_losses(self, states: Tensor, targets: Tensor, negatives: Tensor | None = None) -> Tensor:
        """The loss of each place: (n,), nats.

        states: (n, d); targets: (n,); negatives: (n, K), for bce and gbce alone.
        """
        if self.settings.loss == "ce":
            return ce_loss(states @ self.items.weight.T, targets)
        assert negatives is not None, f"{self.settings.loss} needs negatives"
        positive = (states * self.items(targets)).sum(dim=1)  # (n,)
        negative = torch.einsum("nd,nkd->nk", states, self.items(negatives))  # (n, K)
        if self.settings.loss == "bce":
            return bce_loss(positive, negative)
        beta = gbce_beta(negatives.shape[1], self.items.num_embeddings, self.settings.calibration)
        return gbce_loss(positive, negative, beta=beta)

    @property
    def item_vectors(self) -> Tensor:
        """(items, d), without gradient."""
        return self.items.weight.detach()

    @torch.no_grad()
    def sequence_vectors(self, histories: Sequence[IntArray], *, batch_size: int = 256) -> Tensor:
        """The state after each history, (n, d): dropout off, no gradient; an empty history has one too."""
        vectors = self.item_vectors.new_empty(len(histories), self.settings.width)
        with scoring(self):
            for start in range(0, len(histories), batch_size):
                rows = [history[-self.settings.max_length :] for history in histories[start : start + batch_size]]
                states = self(pad(rows).to(self.device))  # (B, 1 + L, d)
                # the state after the last real item, not the last of the row: that one has read padding
                after = torch.tensor([len(row) for row in rows], device=self.device)
                vectors[start : start + len(rows)] = states[torch.arange(len(rows), device=self.device), after]
        return vectors

    @torch.no_grad()
    def scores(self, histories: Sequence[IntArray], *, batch_size: int = 256) -> Tensor:
        """Score of every item after each history, (n, items): higher is likelier, no probability."""
        return self.sequence_vectors(histories, batch_size=batch_size) @ self.item_vectors.T

    def save(self, folder: Path) -> None:
        """Weights and settings as two files of `folder`, which is replaced whole."""
        with folder_aside(folder) as aside:
            weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
            save_file(weights, aside / WEIGHTS)
            config = {"items": self.items.num_embeddings, "settings": self.settings.model_dump()}
            (aside / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, device: torch.device | str = "cpu") -> "SASRec":
        """The model that `save` wrote, in eval mode."""
        try:
            config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            model = cls(config["items"], SASRecSettings.model_validate(config["settings"]))
            model.load_state_dict(load_file(folder / WEIGHTS))
        except (OSError, KeyError, ValueError, RuntimeError, SafetensorError, ValidationError) as error:
            raise UserError(
                f"{folder} holds no SASRec that can be read: {error}", remedy="a folder that SASRec.save has written"
            ) from error
        return model.to(device).eval()


class Block(nn.Module):
    """Causal self-attention, then a feed-forward layer; (B, L, d) to (B, L, d)."""

    def __init__(self, settings: SASRecSettings) -> None:
        super().__init__()
        width, inner = settings.width, settings.inner or settings.width
        self.pre, self.heads, self.attention_dropout = settings.norm == "pre", settings.heads, settings.dropout
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.attention_norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.feed = nn.Sequential(
            nn.Linear(width, inner), nn.ReLU(), nn.Dropout(settings.dropout), nn.Linear(inner, width)
        )
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, x: Tensor) -> Tensor:
        normalised: Tensor = self.attention_norm(x)
        # As published, keys and values are not normalised, and both residuals start from what was.
        x = (x if self.pre else normalised) + self.dropout(self.attend(normalised, normalised if self.pre else x))
        normalised = self.feed_norm(x)
        fed: Tensor = self.dropout(self.feed(normalised))
        return (x if self.pre else normalised) + fed

    def attend(self, queries: Tensor, others: Tensor) -> Tensor:
        """Each place looks at itself and at those before; padding, which comes after, is never seen."""
        parts = (self.query(queries), self.key(others), self.value(others))
        query, key, value = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)  # (B, heads, L, .)
        rate = self.attention_dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=rate, is_causal=True)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))  # (B, L, d)
        return out


@contextmanager
def scoring(model: nn.Module) -> Iterator[None]:
    """Dropout off inside, and afterwards as before: a score must not hang on chance."""
    before = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(before)
