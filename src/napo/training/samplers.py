"""The samplers and labellers that a recipe names, built with what they may ask.

Path    recipe, prepared data, models -> [training.samplers] -> training.stages
Takes   Method; Prepared, LanguageModel, a function that gives the auxiliary model where it is needed
Gives   NegativeSampler, Labeller
"""

from functools import partial
from typing import Protocol

from napo import plugins
from napo.data.exposures import known_to_training
from napo.data.log import InteractionLog
from napo.data.prepare import Prepared
from napo.labels._protocol import Labeller
from napo.models.language import LanguageModel
from napo.models.sasrec import SASRec
from napo.models.sasrec_scorer import SASRecScorer
from napo.models.title_vectors import title_vectors
from napo.negatives._protocol import Exposed, NegativeSampler, SamplerContext
from napo.recipe_keys import Method
from napo.training.generation import Generator


class Auxiliary(Protocol):
    """Gives the auxiliary recommender where it is needed; with folds, one that has not trained on that fold's users."""

    def __call__(self, folds: int = 1, fold: int = 0) -> SASRec: ...


def labeller_of(method: Method, prepared: Prepared, language: LanguageModel, auxiliary: Auxiliary) -> Labeller:
    module = plugins.load("labels", method.name)
    context = _context(prepared, language, auxiliary if module.Labeller.needs_auxiliary else None)
    labeller: Labeller = module.Labeller(context, module.Settings(**method.settings))
    return labeller


def sampler_of(
    method: Method, prepared: Prepared, language: LanguageModel, auxiliary: Auxiliary | None
) -> NegativeSampler:
    module = plugins.load("negatives", method.name)
    settings = module.Settings(**{name: value for name, value in method.settings.items() if name != "count"})
    assert auxiliary is not None or not module.Sampler.needs_auxiliary
    context = _context(prepared, language, auxiliary if module.Sampler.needs_auxiliary else None)
    sampler: NegativeSampler = module.Sampler(context, settings)
    return sampler


def _exposed(prepared: Prepared) -> dict[int, Exposed] | None:
    log = prepared.log
    if not isinstance(log, InteractionLog) or log.exposures is None:
        return None
    return known_to_training(log, prepared.split)


def _context(prepared: Prepared, language: LanguageModel, auxiliary: Auxiliary | None) -> SamplerContext:
    catalog = prepared.log.catalog
    return SamplerContext(
        len(catalog),
        prepared.split.popularity,
        None if auxiliary is None else SASRecScorer(auxiliary()).item_scores,
        catalog.titles,
        partial(title_vectors, language),
        _exposed(prepared),
        Generator(language),
    )
