"""Rejected items that the language model itself comes up with: what it would wrongly recommend.

Path    examples -> [negatives.generated] -> training.pairs
Takes   examples with their histories, what each leaves out, a count; the model as it is when asked
Gives   (n, count) items: drawn as the model draws, or its likeliest first
Relations   In one round from the supervised start, `best`: RosePO's self-hard rule (arXiv 2410.12519). In `rounds`,
            with a supervised pass before each preference pass: SPRec (arXiv 2412.09243). Not all of their rules are
            known to us, and where they are we differ: `avoid: seen` and `ground: catalog` are ours

Drawing from the model weighs a uniform draw by the model's own probability (the SPRec card's 2.1: one uniform draw in N
items, weight N p): never weigh such draws a second time. p is the model's probability token by token, among tokens
that lead to an item that may be drawn: what is avoided gives its share to the titles that begin like it, which are all
titles only where each is one token (scoring.generate).
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from napo.arrays import IntArray
from napo.errors import UserError
from napo.negatives._protocol import Example, SamplerContext, rejectable
from napo.settings import Strict

Key = tuple[int | str, ...]


class Settings(Strict):
    decoding: Literal["sample", "best"] = Field(
        default="sample",
        description="sample: titles drawn with the model's own probabilities, token by token among those that lead to a"
        " title that is not avoided, none twice. best: its likeliest titles.",
    )
    temperature: PositiveFloat = Field(default=1.0, description="Of the draws.")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(default=1.0, description="Draw from so much of each token.")
    top_k: PositiveInt | None = Field(default=None, description="Draw from so many of each token; null: all.")
    ground: Annotated[str, Field(min_length=1)] = Field(
        default="catalog",
        description="catalog: only titles of the catalog can be generated. Else the model writes freely, as the papers'"
        " programs do, and the nearest title is taken: by `spelling`, or by an embedder's vectors"
        " (`all-minilm-l6-v2`, a folder, a name on the hub).",
    )
    avoid: Literal["seen", "chosen", "nothing"] = Field(
        default="seen",
        description="What is never generated. seen: the user's training items and the chosen one. chosen: that one"
        " alone, so that repeats are rejected too. nothing: an example whose own title comes up does not train.",
    )


class Sampler:
    needs_auxiliary = False
    needs_whole_catalog = True  # a prompt that names candidates can't bring other titles

    def __init__(self, context: SamplerContext, settings: Settings) -> None:
        if context.generate is None:
            raise UserError(
                "negatives `generated` need a language model, and there is none",
                where="negatives.name",
                remedy="`uniform` or `popularity`",
            )
        self._items, self._generate, self._settings = context.items, context.generate, settings

    def draw(self, example: Example, seen: IntArray, count: int, rng: np.random.Generator) -> IntArray:
        """One example's, by the model as it is now."""
        rejectable(self._items, example, seen, count)
        (drawn,) = self.propose([example], [seen], count, [(int(rng.integers(2**62)),)])
        return np.asarray(drawn)

    def propose(
        self, examples: Sequence[Example], seen: Sequence[IntArray], count: int, keys: Sequence[Key]
    ) -> IntArray:
        """(n, count) items, best or first drawn first; -1 where fewer are left. keys: what each draw depends on."""
        avoid = self._settings.avoid
        nothing = np.empty(0, dtype=np.int64)
        left_out = [
            np.append(known if avoid == "seen" else nothing, example.chosen) if avoid != "nothing" else nothing
            for example, known in zip(examples, seen, strict=True)
        ]
        histories = [example.history for example in examples]
        return self._generate(histories, left_out, count, keys, self._settings)
