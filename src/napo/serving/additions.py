"""New items in a finished run's folder.

Path    items file -> [serving.additions] -> the run's `model` folder
Takes   a run; `item`, `title` and other columns
Gives   Added; a folder in which catalog, tree and popularity go together, whole or as it was
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from napo.data.log import Tally
from napo.files import folder_aside
from napo.models.language import CATALOG
from napo.serving.card import METRICS, write_card
from napo.serving.recommender import Recommender, model_folder


@dataclass(frozen=True)
class Added:
    """items: how many the catalog has now. counts, examples, notes: what was added, skipped, tidied; see data.log.

    untrained: how many new titles hold a token that no title of the training had: their ranks mean little.
    """

    items: int
    counts: dict[str, int]
    examples: dict[str, tuple[str, ...]]
    notes: tuple[str, ...]
    untrained: int

    def lines(self) -> list[str]:
        """What to tell a person."""
        said = []
        for name, words in _SAID.items():
            if number := self.counts.get(name, 0):
                some = "; ".join(self.examples.get(name, ()))
                said.append(f"{number:,} {words}{f' ({some})' if some else ''}")
        if self.untrained:
            said.append(
                f"{self.untrained:,} of the new titles hold tokens that no title had in training: until the model is"
                " trained with them, their ranks mean little (docs/serving.md)"
            )
        return [*self.notes, *said, f"the catalog has {self.items:,} items"]


_SAID = {
    "items_added": "items added",
    "items_there_already": "are there already: skipped",
    "items_with_a_title_of_another": "have the title of another item: skipped, unless --same-titles is given",
    "items_without_id": "without an id: skipped",
    "items_without_title": "without a title: skipped",
    "item_rows_repeated": "rows repeated: skipped",
}


def add_items(
    run: Path, items: pl.DataFrame, *, same_titles: bool = False, tally: Tally | None = None, where: str = "items"
) -> Added:
    """Let a run's model name new items; see Recommender.with_items.

    The weights stay as they are, and the run is judged by the items that it was trained on. Raises UserError as
    with_items does; then the folder is as it was.
    """
    tally = tally or Tally()
    folder = model_folder(run).resolve()
    before = Recommender.load(folder, device="cpu")
    after = before.with_items(items, same_titles=same_titles, tally=tally, where=where)
    if len(after.catalog) > len(before.catalog):
        with folder_aside(folder) as aside:
            # a second name for the weights, not a second copy; both files are then written anew, under new names
            shutil.copytree(folder, aside, copy_function=_link_or_copy, dirs_exist_ok=True)
            after.catalog.save(aside / CATALOG)
            after.histories.save(aside)
            after.language.save_usage(aside)  # which items the model was trained on
            if (aside / METRICS).is_file():
                write_card(aside, after.facts, after.language, users=len(after.users))
    old, new = before.language.tree, after.language.tree
    titles = [new.title(item) for item in range(old.items, new.items)]
    untrained = sum(not np.isin(title, old.vocabulary).all() for title in titles)
    return Added(len(after.catalog), tally.counts, tally.examples, tuple(tally.notes), untrained)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)
