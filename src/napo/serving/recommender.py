"""`napo.Recommender`: a finished run, asked what comes next.

Path    run folder, histories -> [serving.recommender] -> the command line, HTTP, Python
Takes   a user of the log, or a history of titles or item keys, oldest first; conditions on what may be recommended
Gives   Recommendations, exact best first over the whole catalog; log-probabilities of titles, nats

    recommender = napo.Recommender.load("runs/napo")
    for item in recommender.recommend(["Alien (1979)", "Heat (1995)"], k=5):
        print(item.title, item.log_prob)
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch

from napo.arrays import FloatArray, IntArray
from napo.data.additions import extended
from napo.data.catalog import Catalog
from napo.data.histories import Histories
from napo.data.log import Tally
from napo.errors import UserError
from napo.files import folder_aside
from napo.models.language import META, LanguageModel, open_folder
from napo.serving.answer import Recommendation, Recommendations
from napo.serving.history import Named, read_items
from napo.serving.where import Filter, Where, read_where

MODEL = "model"  # where a run's folder keeps it
TITLES_AT_ONCE = 64  # scored in one row: attention takes the square of a row's length


class Recommender:
    """A language model with what it remembers of the log. Without gradients and dropout; not safe for threads."""

    def __init__(self, language: LanguageModel, histories: Histories) -> None:
        assert len(histories.popularity) == len(language.catalog)
        self.language, self.histories = language, histories
        self.ranker = language.ranker()
        self._by_popularity = np.argsort(-histories.popularity, kind="stable")

    @classmethod
    def load(cls, folder: str | Path, *, device: str | torch.device | None = None) -> "Recommender":
        """Open a run's folder, or the `model` folder in it. device: a GPU where there is one, if left out.

        Raises UserError where there is no finished run, or its files can't be read or don't belong together.
        """
        path = model_folder(Path(folder))
        language = open_folder(path)
        language.model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))  # type: ignore[arg-type]
        return cls(language, Histories.load(path, len(language.catalog)))

    def save(self, folder: str | Path) -> None:
        """Write all that `load` needs, as one folder that is there whole or not at all.

        Raises UserError where the folder holds anything but a model, which it would replace.
        """
        path = Path(folder)
        if path.exists() and not (path / META).is_file() and (not path.is_dir() or any(path.iterdir())):
            raise UserError(f"{path} holds other things, which saving would delete", remedy="name a new folder")
        with folder_aside(path) as aside:
            self.language.save(aside)
            self.histories.save(aside)

    @property
    def catalog(self) -> Catalog:
        return self.language.catalog

    @property
    def users(self) -> tuple[str, ...]:
        """The keys of the log's users, who can be asked for by name."""
        return self.histories.user_keys

    def with_items(
        self, items: pl.DataFrame, *, same_titles: bool = False, tally: Tally | None = None, where: str = "items"
    ) -> "Recommender":
        """A recommender that can name new items too, as new paths in the prefix tree; nothing is trained.

        items: `item` (the key), `title`, and any columns of the catalog. same_titles: add items whose title is there
        already; else they are skipped, and counted in `tally`. docs/serving.md says what to expect of their ranks.

        Raises UserError for a key that is there under another title, and for a title that can't be asked for.
        """
        catalog = extended(self.catalog, items, same_titles=same_titles, tally=tally, where=where)
        added = len(catalog) - len(self.catalog)
        usage = self.language.usage
        if added and usage.trained is None:
            usage = replace(usage, trained=len(self.catalog))
        language = LanguageModel(self.language.model, self.language.tokenizer, catalog, usage)
        _check_titles(language, len(self.catalog), where)
        popularity = np.append(self.histories.popularity, np.zeros(added, dtype=self.histories.popularity.dtype))
        return Recommender(language, replace(self.histories, popularity=popularity))

    def recommend(
        self,
        history: Sequence[str] | None = None,
        *,
        user: str | None = None,
        k: int = 10,
        exclude_seen: bool = True,
        where: Where = (),
    ) -> Recommendations:
        """The k best items after a history, or after all that a user of the log liked; fewer where fewer are left.

        history: titles (case and outer blanks forgiven) or item keys, oldest first; empty: the most popular items,
        and a note says so. exclude_seen: leave out the history, and everything the log knows the user to have met.
        where: conditions on the items file's columns that all the items meet, such as "genre=Comedy" or
        ["genre in Drama, War", "year>=1990"]; see serving.where. The list is as long as without, if so many meet them.

        Raises UserError for a title, user, column or value that is not known, and where nothing is left to recommend.
        """
        if (history is None) == (user is None):
            raise UserError(
                "whom to recommend to?" if user is None else "both a user and a history",
                remedy="either `history`, a list of titles, or `user`, a key of the log",
            )
        named = self._of_user(user) if user is not None else read_items(history or (), self.catalog)
        return self._recommend([named], k, exclude_seen, where)[0]

    def recommend_many(
        self, histories: Sequence[Sequence[str]], *, k: int = 10, exclude_seen: bool = True, where: Where = ()
    ) -> list[Recommendations]:
        """As `recommend`, for many histories together, which is quicker than one by one."""
        named = [
            read_items(history, self.catalog, where=f"history {number}")
            for number, history in enumerate(histories, start=1)
        ]
        return self._recommend(named, k, exclude_seen, where)

    def score(self, history: Sequence[str], titles: Sequence[str]) -> list[float]:
        """Log-probability of each title after the history, summed over its tokens, nats.

        titles: as in a history, titles or item keys. A prompt that lists candidates lists these.
        """
        before = read_items(history, self.catalog).items
        asked = read_items(titles, self.catalog, where="titles").items
        step = len(asked) if self.ranker.lists_candidates else TITLES_AT_ONCE
        scores: list[float] = []
        for start in range(0, len(asked), max(step, 1)):
            part = asked[None, start : start + step]
            scores += self.ranker.candidate_scores([before], part)[0].tolist()
        return scores

    def _of_user(self, user: str) -> Named:
        number = self.histories.index.get(user)
        if number is None:
            raise UserError(
                f"no user {user!r} in the log that this model was trained on",
                where="user",
                remedy="`--history` (in Python `history=[...]`) with titles that the user liked",
            )
        liked = self.histories.liked[number]
        return Named(liked, np.union1d(liked, self.histories.known[number]))

    def _recommend(self, asked: Sequence[Named], k: int, exclude_seen: bool, where: Where) -> list[Recommendations]:
        if k < 1:
            raise UserError(f"k is {k}", where="k", remedy="at least 1")
        allowed = read_where(where, self.catalog)
        excluded = [named.seen if exclude_seen else named.seen[:0] for named in asked]
        for number, out in enumerate(excluded, start=1):
            self._check_something_is_left(out, allowed, f"history {number}" if len(asked) > 1 else None)
        more = min(k, len(self.catalog)) + 1  # one more than wanted shows whether the last one is tied
        some = [index for index, named in enumerate(asked) if len(named.items)]
        best = self.ranker.top_with_scores(
            [asked[index].items for index in some], [excluded[index] for index in some], more, allowed.items
        )
        ranked = dict(zip(some, zip(*best, strict=True), strict=True))
        return [
            self._answer(named, *ranked[index], k, allowed)
            if index in ranked
            else self._popular(excluded[index], named.notes, k, allowed)
            for index, named in enumerate(asked)
        ]

    def _check_something_is_left(self, excluded: IntArray, allowed: Filter, where: str | None) -> None:
        left = allowed.items.copy()
        left[excluded] = False
        if not left.any():
            count = int(allowed.items.sum())
            seen = (
                f"all {count:,} items with {allowed.said}" if allowed.said else f"the whole catalog ({count:,} items)"
            )
            raise UserError(
                f"the user has seen {seen}: nothing is left to recommend",
                where=where,
                remedy="`--include-seen` (in Python `exclude_seen=False`)",
            )

    def _answer(self, named: Named, items: IntArray, log_probs: FloatArray, k: int, allowed: Filter) -> Recommendations:
        notes = list(named.notes)
        shown = len(self.ranker.shown(named.items))
        if shown < len(named.items):
            notes.append(f"history cut to the newest {shown} of {len(named.items)} items")
        found = items >= 0
        return self._listed(items[found], log_probs[found], k, notes, allowed, by_model=True)

    def _popular(self, excluded: IntArray, notes: tuple[str, ...], k: int, allowed: Filter) -> Recommendations:
        left = allowed.items.copy()
        left[excluded] = False
        items = self._by_popularity[left[self._by_popularity]]
        events = self.histories.popularity[items]
        said = [*notes, "no history: the most popular items"]
        return self._listed(items, events, k, said, allowed, by_model=False)

    def _listed(
        self,
        items: IntArray,
        scores: FloatArray | IntArray,
        k: int,
        notes: list[str],
        allowed: Filter,
        *,
        by_model: bool,
    ) -> Recommendations:
        """The best k. items, scores: best first, one more than k where there are more."""
        same = scores[1:] == scores[:-1]
        tied = np.append(same, False) | np.insert(same, 0, False)  # with the next, with the one before
        notes += allowed.notes
        if len(items) < k:
            notes.append(f"only {len(items)} of the {int(allowed.items.sum())} items are left")
        listed = tuple(
            Recommendation(
                item=int(item),
                key=self.catalog.keys[item],
                title=self.catalog.titles[item],
                log_prob=float(score) if by_model else None,
                tied=bool(equal),
                columns=self.catalog.row(int(item)),
            )
            for item, score, equal in zip(items[:k], scores[:k], tied[:k], strict=True)
        )
        return Recommendations(listed, tuple(notes), allowed.columns)


def _check_titles(language: LanguageModel, first: int, where: str) -> None:
    """Raises UserError where a title from item `first` on can't be spelt, or is longer than a prompt may be."""
    tree, unknown = language.tree, language.tokenizer.unk_token_id
    room = language.usage.max_tokens - language.frame.words
    for item in range(first, tree.items):
        named = f"the title of {language.catalog.keys[item]!r}, {language.catalog.titles[item]!r}"
        if unknown is not None and unknown in tree.title(item):
            raise UserError(f"{named}, has characters that the model's tokenizer lacks", where=where)
        if tree.lengths[item] > room:
            raise UserError(
                f"{named}, has {tree.lengths[item]} tokens, and a prompt has room for {room}",
                where=where,
                remedy="a shorter title, or training with a higher `prompt.max_tokens`",
            )


def model_folder(folder: Path) -> Path:
    """Where the model lies: the folder itself, or `model` in it. Raises UserError for a run that has not ended."""
    if (folder / MODEL / META).is_file():
        return folder / MODEL
    if (folder / "recipe.yaml").is_file():
        raise UserError(
            "this run has not ended: there is no model yet", where=str(folder), remedy="`napo train ... --resume`"
        )
    return folder
