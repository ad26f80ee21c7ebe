"""From a recipe's data section to cases and lists: the part of a run that is the same for every method.

Path    recipe -> log -> split -> [data.prepare] -> every stage, evaluation
Takes   Recipe
Gives   Prepared: the split, validation and test cases with their candidate lists, drawn once
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from napo.data.candidates import CandidateLists, draw_candidates, released_candidates
from napo.data.item_groups import ItemGroups, item_groups
from napo.data.log import InteractionLog
from napo.data.news import News
from napo.data.settings import Columns, DataSettings
from napo.data.source import load_source
from napo.data.split import Cases, Part, Split, SplitSettings, make_split
from napo.data.window_split import split_windows
from napo.data.windows import Windows, load_windows
from napo.errors import UserError
from napo.recipe_keys import Recipe


@dataclass(frozen=True, eq=False)
class Prepared:
    """valid: the cases that every look at validation uses, a fixed sample; test: all test cases, or a fixed sample.

    legacy: by part, the cases and lists that the data's own files name; empty where the recipe does not ask for them.
    """

    log: InteractionLog | Windows
    split: Split
    valid: Cases
    valid_lists: CandidateLists
    test: Cases
    test_lists: CandidateLists
    all_valid: Cases
    all_valid_lists: CandidateLists
    legacy: Mapping[Part, tuple[Cases, CandidateLists]] = field(default_factory=dict)
    groups: tuple[ItemGroups, ...] = ()  # by which results are broken down
    news: News | None = None  # what an earlier run did not know, where a run goes on from one

    @cached_property
    def key(self) -> str:
        """A hash of everything here, in short."""
        parts = [self.split.digest, self.valid_lists.digest, self.test_lists.digest]
        return key_of(parts)

    def under(self, protocol: str) -> "Prepared":
        """The same with the cases and lists of a protocol in the place of its own: `legacy` has others."""
        if protocol != "legacy":
            return self
        if not self.legacy:
            raise UserError(
                "this recipe does not ask for the lists that came with the data",
                where="evaluation.protocols",
                remedy="train with `legacy` among them, on rows that have an `itemList`",
            )
        (valid, valid_lists), (test, test_lists) = self.legacy["valid"], self.legacy["test"]
        return replace(self, all_valid=valid, all_valid_lists=valid_lists, test=test, test_lists=test_lists)


def prepare(recipe: Recipe, folder: Path | None = None) -> Prepared:
    """Read, split, and draw the lists; kept in `folder`, and checked against their checksum when they lie there.

    Raises UserError for data that can't be read or is too little to validate and test on.
    """
    log, split = _log_and_split(data_settings(recipe), SplitSettings(**recipe.split.model_dump()))
    groups = tuple(item_groups(log.catalog, *column) for column in recipe.evaluation.groups.items())
    valid, test = split.cases("valid"), split.cases("test")
    for name, cases in (("validation", valid), ("test", test)):
        if not len(cases):
            raise UserError(
                f"no {name} case is left: no user has enough events",
                where="split",
                remedy="a longer log, or a lower `split.min_history`",
            )
    if recipe.evaluation.test_cases is not None:
        test = test.subset(recipe.evaluation.test_cases, seed=0)
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
        legacy=_released(log, valid, test) if "legacy" in recipe.evaluation.protocols else {},
        groups=groups,
    )


def _log_and_split(data: DataSettings, settings: SplitSettings) -> tuple[InteractionLog | Windows, Split]:
    if data.test is not None:
        windows = load_windows(data)
        return windows, split_windows(windows, settings)
    log = load_source(data)
    return log, make_split(log, settings)


def _released(log: InteractionLog | Windows, *parts: Cases) -> dict[Part, tuple[Cases, CandidateLists]]:
    assert isinstance(log, Windows), "recipe_checks has made sure"
    listed = {window.key: window.listed for window in log.windows}
    found = {}
    for cases in parts:
        rows = [listed[key] for key in cases.split.user_keys]
        released = [None if row is None else np.array(row, dtype=np.int64) for row in rows]
        found[cases.part] = released_candidates(cases, released)
    return found


def data_settings(recipe: Recipe) -> DataSettings:
    """The recipe's data section in the data layer's words."""
    section = recipe.data
    columns = Columns(**section.columns.model_dump(exclude_defaults=True))
    return DataSettings(**{**section.model_dump(exclude={"columns"}), "columns": columns})


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
