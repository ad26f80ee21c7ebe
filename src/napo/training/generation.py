"""What a language model comes up with by itself, as items: for samplers of rejected items.

Path    models.language -> [training.generation] -> negatives.generated
Takes   LanguageModel as it is now, histories, what each leaves out, how many, keys of chance, how to decode
Gives   (n, count) item ids, -1 where fewer are left
"""

from collections.abc import Sequence

import numpy as np

from napo.arrays import IntArray
from napo.models.language import LanguageModel
from napo.negatives.generated import Key, Settings
from napo.scoring.generate import Sampling


def generate(
    language: LanguageModel,
    histories: Sequence[IntArray],
    left_out: Sequence[IntArray],
    count: int,
    keys: Sequence[Key],
    settings: Settings,
) -> IntArray:
    """The model's own titles after each history; see negatives.generated for what the settings mean."""
    ranker = language.ranker()
    excluded = [np.unique(items) for items in left_out]
    if settings.decoding == "best":
        return ranker.top(histories, excluded, count)
    sampling = Sampling(temperature=settings.temperature, top_p=settings.top_p, top_k=settings.top_k)
    return ranker.sample(histories, excluded, count, keys=keys, sampling=sampling)[0]
