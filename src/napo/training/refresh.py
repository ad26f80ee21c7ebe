"""What a run does otherwise that goes on from an earlier one: its start, its rows, its reference.

Path    a recipe with `refresh`, the earlier run's folder -> [training.refresh] -> training.stages, training.run
Takes   Recipe, Prepared, whose catalog goes on from the earlier one (data.known_items)
Gives   News; the earlier run's final model, able to name the new items; the rows of a pass; the reference's weights

A pass has all rows of new interactions, and beside them as many rows of the old ones, drawn anew for each pass, as make
`replay` of what it trains: a model that sees the new ones alone gets worse at everything else. The reference is the
earlier run's final model, so the preference stage pays for leaving what was served.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from napo.arrays import IntArray
from napo.data.catalog import Catalog
from napo.data.histories import Histories
from napo.data.news import news_of
from napo.data.prepare import Prepared
from napo.data.windows import Windows
from napo.errors import UserError
from napo.evaluation.runs import MODEL
from napo.files import folder_aside
from napo.models.columns import columns_as_text
from napo.models.grown import grow, grown_tokenizer, most_new_tokens
from napo.models.language import CATALOG, LanguageModel, open_folder
from napo.models.pretrained import save_model
from napo.recipe_keys import Recipe
from napo.rng import rng_for
from napo.training.examples import Layout, Span
from napo.training.processes import is_main, main_first

START = "start"  # the weights that the reference has, in the preference stage's folder


def with_news(recipe: Recipe, prepared: Prepared) -> Prepared:
    """The data with what is new in them. Raises UserError where the earlier run is gone, or has other items now."""
    if recipe.refresh is None:
        return prepared
    assert not isinstance(prepared.log, Windows), "recipe_checks has made sure"
    assert recipe.data.catalog is not None
    before = histories_of(recipe.refresh.run, Catalog.load(recipe.data.catalog))
    return replace(prepared, news=news_of(prepared.log, before, recipe.split.min_rating))


def histories_of(run: Path, known: Catalog) -> Histories:
    """What an earlier run knows of its users. known: the catalog that the numbers in it are of."""
    there = Catalog.load(run / MODEL / CATALOG)
    if there.keys != known.keys:
        raise UserError(
            f"{run} has other items than when this run was begun ({len(there):,}, then {len(known):,})",
            where="refresh.run",
            remedy="begin a new refresh: napo train --from",
        )
    return Histories.load(run / MODEL, len(there))


def going_on(recipe: Recipe, catalog: Catalog) -> LanguageModel:
    """The earlier run's final model over a catalog that goes on from its own; `tiny` gets tokens for new titles."""
    assert recipe.refresh is not None
    folder = recipe.refresh.run / MODEL
    language = open_folder(folder, catalog)
    model, tokenizer, usage = language.model, language.tokenizer, replace(language.usage, trained=None)
    known = len(Catalog.load(folder / CATALOG))
    if recipe.model.name == "tiny" and known < len(catalog):
        template, columns = usage.template, columns_as_text(catalog, usage.template.columns)
        old = {name: texts[:known] for name, texts in columns.items()}
        texts = [*catalog.titles[:known], *template.texts, *template.said(catalog.titles[:known], old)]
        most = most_new_tokens(tokenizer, known, len(catalog) - known)
        tokenizer, parts = grown_tokenizer(tokenizer, texts, catalog.titles[known:], most)
        grow(model, parts)
    for name, weight in model.named_parameters():
        if "lora_" in name:  # peft opens an adapter to be used, not to be trained
            weight.requires_grad_(True)
    return LanguageModel(model, tokenizer, catalog, usage)


def reference_of(recipe: Recipe, catalog: Catalog, folder: Path) -> Path | None:
    """Where the weights of the preference stage's reference lie; None: they are those that the stage begins with."""
    if recipe.refresh is None or recipe.sft is None:
        return None
    place = folder / START
    with main_first():
        if is_main() and not place.is_dir():
            with folder_aside(place) as aside:
                save_model(going_on(recipe, catalog).model, aside)
    return place


def rows_of_passes(
    layout: Layout, events: tuple[IntArray, IntArray], per_row: int, begins: IntArray, replay: float, seed: int
) -> Callable[[int], list[Span]]:
    """The rows of each pass: the new events' all, of the old events' some, another draw each time.

    events: (users,) twice, where each user's events to train begin and end. begins: (users,) where the new ones do.
    replay: the share of a pass's events that are old ones; where there are too few, all of them.
    """
    first, end = events
    border = np.clip(begins, first, end)
    new, old = layout.spans(border, end, per_row), layout.spans(first, border, per_row)
    news, known = int((end - border).sum()), int((border - first).sum())
    if not new:
        raise UserError(
            "no new interaction is left to train on: all of them are held out",
            where="split",
            remedy="a longer log, or smaller shares: split.valid, split.test",
        )
    # so many rows, not so many events: the number of steps has to be the same in each pass
    count = 0 if not known else min(len(old), round(news * replay / (1 - replay) * len(old) / known))

    def rows(epoch: int) -> list[Span]:
        drawn = np.sort(rng_for(seed, "replay", epoch).permutation(len(old))[:count])
        return [*new, *(old[place] for place in drawn.tolist())]

    return rows
