"""Pairs that are made once, before a stage begins: what the model proposes, labelled, by example.

Path    negatives, labels, the model at the stage's start -> [training.pairs] -> training.batches
Takes   a sampler, a labeller, the spans that will train
Gives   Pairs: a sampler that looks up what was made; kept in a file, so that a resumed stage trains on the same
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from napo.arrays import IntArray
from napo.data.split import Split
from napo.errors import UserError
from napo.files import write_aside
from napo.labels._protocol import Labelled, Labeller, Proposals
from napo.negatives._protocol import Example, NegativeSampler
from napo.rng import rng_for
from napo.training.examples import Span, TrainingRow
from napo.training.processes import is_main, main_first

AT_ONCE = 512  # examples proposed for together
SAID = "said"


@dataclass(frozen=True, eq=False)
class Pairs:
    """A chosen item and its rejected ones for each (user, position) of a stage; draws are looked up.

    users, positions: (n,). figures: what was proposed, in numbers; see `figures_of`. seconds: that proposing took.
    """

    users: IntArray
    positions: IntArray
    labelled: Labelled
    figures: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    needs_auxiliary = False

    @cached_property
    def _place(self) -> dict[tuple[int, int], int]:
        return {
            pair: place for place, pair in enumerate(zip(self.users.tolist(), self.positions.tolist(), strict=True))
        }

    @cached_property
    def digest(self) -> str:
        """What these pairs are, as a hash: a stored reference is for them alone."""
        whole = hashlib.sha256()
        for array in (self.users, self.positions, *vars(self.labelled).values()):
            whole.update(np.ascontiguousarray(array).tobytes())
        return whole.hexdigest()

    def draw(self, example: Example, seen: IntArray, count: int, rng: np.random.Generator) -> IntArray:
        """The rejected items of an example, whose history is all that stands before it in its sequence."""
        return np.asarray(self.labelled.rejected[self._place[example.user, len(example.history)]])

    def trained(self, spans: Sequence[Span]) -> list[Span]:
        """The spans that hold an example to train on."""
        return [span for span in spans if self.labelled.trains[self._of(span.user, range(span.begin, span.end))].any()]

    def relabelled(self, row: TrainingRow) -> TrainingRow:
        """The row with the chosen items of its labels, and without the examples that are left out."""
        places = self._of(row.user, row.positions.tolist())
        kept = self.labelled.trains[places]
        chosen = self.labelled.chosen[places][kept]
        return replace(row, positions=row.positions[kept], chosen=chosen, at=row.at[kept])

    def _of(self, user: int, positions: Sequence[int]) -> IntArray:
        return np.array([self._place[user, position] for position in positions], dtype=np.int64)

    def save(self, path: Path) -> None:
        arrays = {"users": self.users, "positions": self.positions, **vars(self.labelled)}
        said = json.dumps({"figures": dict(self.figures), "seconds": self.seconds})
        with write_aside(path) as aside:
            whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
            save_file(whole, aside, metadata={SAID: said})

    @classmethod
    def load(cls, path: Path) -> "Pairs":
        try:
            with safe_open(path, framework="numpy") as file:
                said: dict[str, Any] = json.loads((file.metadata() or {})[SAID])
                found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            remedy = "delete the file; the pairs are made anew"
            raise UserError(f"the pairs can't be read: {error}", where=str(path), remedy=remedy) from error
        return cls(found.pop("users"), found.pop("positions"), Labelled(**found), **said)


def make_pairs(
    sampler: NegativeSampler,
    labeller: Labeller,
    spans: Sequence[Span],
    split: Split,
    *,
    count: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Pairs:
    """Propose for every example of the spans, and label it. seed: with the user and the position, what chance rests on.

    A sampler with `propose` is asked for many together; of any other one its draws are the proposals.
    """
    began = time.monotonic()
    where = [(span.user, position) for span in spans for position in range(span.begin, span.end)]
    sequences = split.sequences
    times = split.times
    examples = [
        Example(user, sequences[user][:at], int(sequences[user][at]), None if times is None else int(times[user][at]))
        for user, at in where
    ]
    wanted = labeller.proposals(count)
    parts = []
    for start in range(0, len(examples), AT_ONCE):
        part = examples[start : start + AT_ONCE]
        parts.append(_proposed(sampler, part, split, wanted, seed))
        if progress is not None:
            progress(min(start + AT_ONCE, len(examples)), len(examples))
    items = np.concatenate(parts) if parts else np.empty((0, wanted), dtype=np.int64)
    proposals = Proposals(examples, items)
    labelled = labeller.label(proposals, count)
    users, positions = np.array(where, dtype=np.int64).reshape(-1, 2).T
    figures = figures_of(proposals, labelled, split)
    return Pairs(users, positions, labelled, figures, round(time.monotonic() - began, 1))


def kept_pairs(make: Callable[[], Pairs], path: Path | None) -> Pairs:
    """The pairs in a file that is named by all that makes them; made and kept there where it is not. None: made."""
    if path is None:
        return make()
    with main_first():
        if is_main() and not path.is_file():
            make().save(path)
    return Pairs.load(path)


def proposed(
    sampler: NegativeSampler,
    examples: Sequence[Example],
    seen: Sequence[IntArray],
    count: int,
    keys: Sequence[tuple[int | str, ...]],
) -> IntArray:
    """(n, count) items of a sampler's `propose` where it has one, with -1 where fewer are left; of its draws else.

    seen: of each example, what it must not be given. keys: what the chance of each rests on.
    """
    propose = getattr(sampler, "propose", None)
    if propose is not None:
        found: IntArray = propose(examples, seen, count, keys)
        return found
    drawn = [
        sampler.draw(example, known, count, rng_for(*key))
        for example, known, key in zip(examples, seen, keys, strict=True)
    ]
    return np.stack(drawn)


def _proposed(sampler: NegativeSampler, examples: Sequence[Example], split: Split, count: int, seed: int) -> IntArray:
    seen = [np.append(split.seen(example.user), example.chosen) for example in examples]
    keys = [(seed, "proposals", split.user_keys[example.user], len(example.history)) for example in examples]
    return proposed(sampler, examples, seen, count, keys)


def figures_of(proposals: Proposals, labelled: Labelled, split: Split) -> dict[str, float]:
    """What was proposed, in numbers: shares of all proposals, and on how few items they fall.

    target: the logged title itself. history: an item of the history. Both are 0 by construction where the sampler
    avoids what the user has seen, as `generated` does by default and all others do. none: nothing was left. left_out:
    examples that train nothing. distinct: items. entropy: of the proposed items, nats. log_popularity: mean
    log(1 + training events).
    """
    items, chosen = proposals.items, np.array([example.chosen for example in proposals.examples])
    there = items >= 0
    old = [np.isin(mine, example.history) for mine, example in zip(items, proposals.examples, strict=True)]
    counts = np.bincount(items[there], minlength=split.popularity.size)
    share = counts[counts > 0] / max(counts.sum(), 1)
    return {
        "target": float((items == chosen[:, None]).mean()),
        "history": float((np.array(old) & there).mean()),
        "none": float((~there).mean()),
        "left_out": float((~labelled.trains).mean()),
        "distinct": float((counts > 0).sum()),
        "entropy": float(-(share * np.log(share)).sum()),
        "log_popularity": float(np.log1p(split.popularity[items[there]]).mean()) if there.any() else 0.0,
    }
