"""From a recipe's data section to cases and lists: the part of a run that is the same for every method.

Path    recipe -> log -> split -> [data.prepare] -> every stage, evaluation
Takes   Recipe
Gives   Prepared: the split, validation and test cases with their candidate lists, drawn once
"""

import json
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from napo.data.candidates import CandidateLists, draw_candidates
from napo.data.log import InteractionLog
from napo.data.settings import Columns, DataSettings
from napo.data.source import load_source
from napo.data.split import Cases, Split, SplitSettings, make_split
from napo.errors import UserError
from napo.recipe_keys import Recipe


@dataclass(frozen=True, eq=False)
class Prepared:
    """valid: the cases that every look at validation uses, a fixed sample; test: all test cases."""

    log: InteractionLog
    split: Split
    valid: Cases
    valid_lists: CandidateLists
    test: Cases
    test_lists: CandidateLists
    all_valid: Cases
    all_valid_lists: CandidateLists

    @cached_property
    def key(self) -> str:
        """A hash of everything here, in short."""
        parts = [self.split.digest, self.valid_lists.digest, self.test_lists.digest]
        return key_of(parts)


def prepare(recipe: Recipe, folder: Path | None = None) -> Prepared:
    """Read, split, and draw the lists; kept in `folder`, and checked against their checksum when they lie there.

    Raises UserError for data that can't be read or is too little to validate and test on.
    """
    log = load_source(data_settings(recipe))
    split = make_split(log, SplitSettings(**recipe.split.model_dump()))
    valid, test = split.cases("valid"), split.cases("test")
    for name, cases in (("validation", valid), ("test", test)):
        if not len(cases):
            raise UserError(
                f"no {name} case is left: no user has enough events",
                where="split",
                remedy="a longer log, or a lower `split.min_history`",
            )
    valid_lists = _lists(recipe, valid, folder)
    sample = valid.subset(recipe.evaluation.validation_cases, seed=0)
    kept = {pair: index for index, pair in enumerate(zip(valid.user.tolist(), valid.position.tolist(), strict=True))}
    places = [kept[pair] for pair in zip(sample.user.tolist(), sample.position.tolist(), strict=True)]
    return Prepared(
        log=log,
        split=split,
        valid=sample,
        valid_lists=valid_lists.take(places),  # type: ignore[arg-type]
        test=test,
        test_lists=_lists(recipe, test, folder),
        all_valid=valid,
        all_valid_lists=valid_lists,
    )


def data_settings(recipe: Recipe) -> DataSettings:
    """The recipe's data section in the data layer's words."""
    section = recipe.data
    return DataSettings(
        source=section.source,
        interactions=section.interactions,
        items=section.items,
        columns=Columns(**section.columns.model_dump(exclude_defaults=True)),
        encoding=section.encoding,
        separator=section.separator,
        untitled=section.untitled,
        repeats=section.repeats,
    )


def _lists(recipe: Recipe, cases: Cases, folder: Path | None) -> CandidateLists:
    """The candidate lists of the cases, from the folder where they lie there."""
    path = None if folder is None else folder / f"candidates-{cases.part}.npz"
    if path is not None and path.is_file():
        return CandidateLists.load(path, cases)
    section = recipe.candidates
    lists = draw_candidates(cases, count=section.count, list_seed=section.seed, negatives=section.negatives)
    if path is not None:
        lists.save(path)
    return lists


def key_of(parts: Any) -> str:
    """A short hash of anything that JSON can say."""
    return sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]
