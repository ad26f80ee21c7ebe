"""A recipe for a log of one's own: the model and the passes that its size is worth, and why.

Path    InteractionLog -> [training.choose] -> `napo train --data`
Takes   the log as read
Gives   sections of a recipe beside its data, and a reason for each choice

The middle size is recipes/napo.yaml, what the demo and the tables of docs/results are made with.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from napo.data.log import InteractionLog

FEW, MANY = 10_000, 500_000  # events
_MIDDLE = 20  # passes over a log of middle size
_LARGE_CATALOG = 50_000  # items of which a title is mostly not worth a token of its own


@dataclass(frozen=True)
class Choice:
    """sections: of a recipe. reasons: sentences, one a choice."""

    sections: dict[str, Any]
    reasons: tuple[str, ...]


def choose(log: InteractionLog) -> Choice:
    """The sections for a log, by how many events and items it has."""
    events, items = log.frame.height, len(log.catalog)
    if events < FEW:
        width, dropout, epochs = 64, 0.2, 2 * _MIDDLE
        why = f"{events:,} events are few: a small model, and many passes"
    elif events <= MANY:
        width, dropout, epochs = 128, 0.3, _MIDDLE
        why = f"{events:,} events: the size that our own tables are made with"
    else:
        width, dropout, epochs = 128, 0.1, max(2, round(_MIDDLE * MANY / events))
        why = f"{events:,} events are many: few passes see as much as many do of a smaller log"
    vocabulary = 4_000 if items < 4_000 else 12_000 if items < _LARGE_CATALOG else 24_000
    sections: dict[str, Any] = {
        "model": {
            "name": "tiny",
            "width": width,
            "layers": 2,
            "heads": 4,
            "feed_forward": 3 * width,
            "vocabulary": vocabulary,
            "dropout": {"embedding": dropout, "block": dropout},
        },
        "auxiliary": {"name": "sasrec"},
        "sft": {"epochs": float(epochs), "leave_out": dropout, "evaluate_every": float(max(1, epochs // 4))},
        "objective": {"name": "napo"},
        "preference": {"epochs": 3.0 if events <= MANY else 1.0},
    }
    reasons = [why, f"{items:,} items: titles are cut into a vocabulary of {vocabulary:,} pieces"]
    reasons += _for_few_items(log, sections)
    reasons.append("NAPO's preference stage after the supervised one; kept only where validation says that it helps")
    return Choice(sections, tuple(reasons))


def _for_few_items(log: InteractionLog, sections: dict[str, Any]) -> list[str]:
    """Of a small catalog the user who met most leaves too few items for 20 candidates, or for three rejected ones."""
    met = log.frame.unique(["user", "item"])["user"].to_numpy()
    free = len(log.catalog) - int(np.bincount(met).max())
    if free >= 20:
        return []
    candidates, rejected = max(2, free + 1), max(1, min(3, free))
    sections["candidates"] = {"count": candidates}
    sections["negatives"] = {"name": "uniform", "count": rejected}
    sections["evaluation"] = {"ks": sorted({k for k in (1, 5, 10) if k <= candidates})}
    return [f"one user has met all but {free} of the items: {candidates} candidates, {rejected} rejected titles"]


def within(choice: Choice, predicted: float, most: float) -> Choice:
    """The choice with fewer passes, where it would take more than `most` seconds; two are the least."""
    epochs = choice.sections["sft"]["epochs"]
    if predicted <= most or epochs <= 2:
        return choice
    fewer = float(max(2, int(epochs * most / predicted)))
    sft = {**choice.sections["sft"], "epochs": fewer, "evaluate_every": max(1.0, fewer // 4)}
    reason = f"{fewer:g} passes instead of {epochs:g}: all of them would take more than {most / 3600:g} hours here"
    return Choice({**choice.sections, "sft": sft}, (*choice.reasons, reason))
