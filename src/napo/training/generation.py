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
from napo.scoring.nearest import NearestWriter


class Generator:
    """Asks one model, for one stage: it is told no news of weights that have changed."""

    def __init__(self, language: LanguageModel) -> None:
        self.language = language
        self._writers: dict[str, NearestWriter] = {}  # by how texts become titles: an embedder takes time to load

    def __call__(
        self,
        histories: Sequence[IntArray],
        left_out: Sequence[IntArray],
        count: int,
        keys: Sequence[Key],
        settings: Settings,
    ) -> IntArray:
        """The model's own titles after each history; see negatives.generated for what the settings mean."""
        excluded = [np.unique(items) for items in left_out]
        sampling = Sampling(temperature=settings.temperature, top_p=settings.top_p, top_k=settings.top_k)
        if settings.ground != "catalog":
            writer = self._writer(settings.ground)
            if settings.decoding == "best":
                return writer.top(histories, excluded, count)
            return writer.draw(histories, excluded, count, keys=keys, sampling=sampling)
        ranker = self.language.ranker()
        if settings.decoding == "best":
            return ranker.top(histories, excluded, count)
        return ranker.sample(histories, excluded, count, keys=keys, sampling=sampling)[0]

    def _writer(self, by: str) -> NearestWriter:
        if by not in self._writers:
            self._writers[by] = NearestWriter(self.language, by)
        return self._writers[by]
