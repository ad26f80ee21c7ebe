"""`napo.Recommender`: a finished run, asked what comes next.

Path    run folder, histories -> [serving.recommender] -> the command line, HTTP, Python
Takes   a user of the log, or a history of titles or item keys, oldest first; a filter of what may be recommended
Gives   Recommendations, exact best first over the whole catalog; log-probabilities of titles, nats

    recommender = napo.Recommender.load("runs/napo")
    for item in recommender.recommend(["Alien (1979)", "Heat (1995)"], k=5):
        print(item.title, item.log_prob)
"""

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch

from napo.arrays import IntArray
from napo.data.additions import extended
from napo.data.catalog import Catalog
from napo.data.histories import Histories
from napo.data.log import InteractionLog, Tally
from napo.errors import UserError
from napo.files import folder_aside
from napo.models.language import META, LanguageModel, open_folder
from napo.scoring.prefix_cache import PrefixCache
from napo.scoring.ranker import TitleRanker
from napo.serving.answer import Recommendation, Recommendations
from napo.serving.card import Facts, read_facts, write_card
from napo.serving.explain import Explanation, explain_items
from napo.serving.filter import Filter, Filters, Permitted, Picks
from napo.serving.history import Named, Suggest, read_items
from napo.serving.request import Asked, Request, UnknownUser
from napo.serving.where import Where

if TYPE_CHECKING:
    from napo.data.settings import SplitSettings
    from napo.evaluation.table import ResultTable

MODEL = "model"  # where a run's folder keeps it
TITLES_AT_ONCE = 64  # scored in one row: attention takes the square of a row's length


class Recommender:
    """A language model with what it remembers of the log. Without gradients and dropout; safe for threads.

    Whoever asks from several threads waits for the others; asking for several together is what saves time.
    """

    def __init__(
        self, language: LanguageModel, histories: Histories, *, facts: Facts | None = None, remembers: int = 0
    ) -> None:
        """facts: what the model card is made from. remembers: bytes for states of histories that are asked about again.

        With `remembers` the weights have to stay as they are.
        """
        assert len(histories.popularity) == len(language.catalog)
        self.language, self.histories, self.facts = language, histories, facts or {}
        self.remembered = PrefixCache(remembers) if remembers else None
        self.ranker = TitleRanker.of(language, remembers=self.remembered)
        self.suggest: Suggest | None = None  # who finds the nearest titles; None: by comparing with all of them
        self._filters = Filters(language.catalog)
        self._by_popularity = np.argsort(-histories.popularity, kind="stable")
        self._lock = threading.Lock()  # a model switches between training and judging, which a second thread would see

    @classmethod
    def load(cls, folder: str | Path, *, device: str | torch.device | None = None, remembers: int = 0) -> "Recommender":
        """Open a run's folder, the `model` folder in it, or what `save` wrote.

        device: a GPU where there is one, if left out. remembers: bytes for the states of histories; 0: none are kept.
        Raises UserError where there is no finished run, or its files can't be read or don't belong together.
        """
        path = model_folder(Path(folder))
        language = open_folder(path)
        language.model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))  # type: ignore[arg-type]
        histories = Histories.load(path, len(language.catalog))
        return cls(language, histories, facts=read_facts(path), remembers=remembers)

    def save(self, folder: str | Path, *, histories: bool = True, licence: str | None = None) -> None:
        """Write all that `load` needs, as one folder that is there whole or not at all; `transformers` opens it too.

        histories: keep what each user liked and met; without, the folder answers `history=` alone. licence: what the
        model card says of the weights' licence. Raises UserError where the folder holds anything but a model, which it
        would replace.
        """
        path = Path(folder)
        if path.exists() and not (path / META).is_file() and (not path.is_dir() or any(path.iterdir())):
            raise UserError(f"{path} holds other things, which saving would delete", remedy="name a new folder")
        with folder_aside(path) as aside:
            kept = self.histories if histories else self.histories.without_users()
            self.language.save(aside)
            kept.save(aside)
            facts = {**self.facts, **({"licence": licence} if licence else {})}
            write_card(aside, facts, self.language, users=len(kept.user_keys))

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
        more = Recommender(language, replace(self.histories, popularity=popularity), facts=self.facts)
        more._lock = self._lock  # the model is the same
        return more

    def recommend(
        self,
        history: Sequence[str] | None = None,
        *,
        user: str | None = None,
        k: int = 10,
        exclude_seen: bool = True,
        filter: Filter | Where = (),
    ) -> Recommendations:
        """The k best items after a history, or after all that a user of the log liked; fewer where fewer are left.

        history: titles (case and outer blanks forgiven) or item keys, oldest first; empty: the most popular items,
        and a note says so. exclude_seen: leave out the history, and everything the log knows the user to have met.
        filter: conditions on the items file's columns that all the items meet, such as "genre=Comedy" or
        ["genre in Drama, War", "year>=1990"]; or a Filter, which has lists of allowed and blocked items and caps too.
        The list is as long as without, if so many items are left.

        Raises UserError for a title, user, column or value that is not known, and where nothing is left to recommend.
        """
        return self.answer([self.read(Request(history, user, k, exclude_seen, filter))])[0]

    def recommend_many(
        self,
        histories: Sequence[Sequence[str]],
        *,
        k: int = 10,
        exclude_seen: bool = True,
        filter: Filter | Where = (),
    ) -> list[Recommendations]:
        """As `recommend`, for many histories together, which is quicker than one by one."""
        requests = [Request(history, k=k, exclude_seen=exclude_seen, filter=filter) for history in histories]
        return self.answer(
            [self.read(request, where=f"history {number}") for number, request in enumerate(requests, start=1)]
        )

    def read(self, request: Request, *, where: str = "history", named: Named | None = None) -> Asked:
        """Check a request and look up what it names; no model is run. Raises UserError as `recommend` does.

        named: whose history is meant, where more is known of the user than the log says.
        """
        if isinstance(request.k, bool) or not isinstance(request.k, int) or request.k < 1:
            raise UserError(f"k is {request.k}", where="k", remedy="a whole number, at least 1")
        named = named or self.named(request.history, request.user, where=where)
        permitted = self._filters.read(request.filter, self.suggest)
        excluded = named.seen if request.exclude_seen else named.seen[:0]
        self._check_something_is_left(excluded, permitted, where if where != "history" else None)
        return Asked(named, excluded, request.k, permitted)

    def answer(self, asked: Sequence[Asked]) -> list[Recommendations]:
        """The lists of requests that were read, which may differ in all they ask; together is quicker than alone."""
        some = [index for index, one in enumerate(asked) if len(one.named.items)]
        ranked = dict(zip(some, self._ranked([asked[index] for index in some]), strict=True))
        return [
            self._by_model(one, ranked[index]) if index in ranked else self._popular(one)
            for index, one in enumerate(asked)
        ]

    def score(
        self, history: Sequence[str] | None = None, titles: Sequence[str] = (), *, user: str | None = None
    ) -> list[float]:
        """Log-probability of each title after the history, or after what a user liked, summed over its tokens, nats.

        titles: as in a history, titles or item keys. A prompt that lists candidates lists these.
        """
        return self.score_many([(self.named(history, user), self.items(titles, where="titles"))])[0]

    def score_many(self, asked: Sequence[tuple[Named, IntArray]]) -> list[list[float]]:
        """The log-probs of items (c,) after each history, as `named` and `items` give them; together is quicker."""
        histories, parts, owner = [], [], []
        for number, (named, items) in enumerate(asked):
            step = max(len(items), 1) if self.ranker.lists_candidates else TITLES_AT_ONCE
            for start in range(0, len(items), step):
                histories.append(named.items)
                parts.append(items[start : start + step])
                owner.append(number)
        scores: list[list[float]] = [[] for _ in asked]
        if not histories:
            return scores
        with self._lock:
            scored = self.ranker.title_scores(histories, parts)
        for number, part in zip(owner, scored, strict=True):
            scores[number] += part.tolist()
        return scores

    def explain(self, history: Sequence[str] | None = None, title: str = "", *, user: str | None = None) -> Explanation:
        """Why a title stands where it does after a history: its log-prob against the one without any, token by token,
        and by how much each item of the history moves it, told by leaving it out.

        Raises UserError for a title that is not known, and for a model whose prompt lists candidates.
        """
        return self.explain_many(self.named(history, user), self.items([title], where="title"))[0]

    def explain_many(self, named: Named, items: IntArray) -> list[Explanation]:
        """An explanation of each item (c,), as `explain` gives it."""
        with self._lock:
            return explain_items(self.ranker, self.language, named.items, items, self._cut(named))

    def evaluate(
        self,
        log: "InteractionLog | pl.DataFrame | str | Path",
        *,
        protocol: str = "full",
        split: "SplitSettings | None" = None,
        name: str | None = None,
    ) -> "ResultTable":
        """Judge it on a log, newer than its own or another's: its row, popularity and chance in the protocol's table.

        log: an InteractionLog, a frame with `user`, `item` and perhaps `time` and `rating`, or a file of these. Items
        are matched by key; events of others are left out and counted in a note. protocol: `full`, or `cand20`.
        split: what of each user's events is the history and what is judged; by default the last tenth is judged.

        Raises UserError where no event is of a known item, or no case is left. Events that the model was trained on are
        no test: see docs/serving.md.
        """
        from napo.serving.judged import judge_on  # evaluation takes a second to import, and few ask for it

        with self._lock:
            return judge_on(self, log, protocol=protocol, split=split, name=name)

    def named(self, history: Sequence[str] | None, user: str | None, *, where: str = "history") -> Named:
        """Whose history is meant: exactly one of the two. Raises UserError for what is not known."""
        if (history is None) == (user is None):
            raise UserError(
                "whom to recommend to?" if user is None else "both a user and a history",
                where="history, user",
                remedy="either `history`, a list of titles, or `user`, a key of the log",
            )
        if user is None:
            return read_items(history or (), self.catalog, where=where, suggest=self.suggest)
        number = self.histories.index.get(user)
        if number is None:
            what = f"no user {user!r} in the log that this model was trained on"
            if not self.users:
                what = "this model knows no users: it was saved without histories, or its data named none"
            raise UnknownUser(
                what,
                where="user",
                remedy="a `history` of titles that the user liked (`--history`, in Python `history=[...]`)",
            )
        liked = self.histories.liked[number]
        return Named(liked, np.union1d(liked, self.histories.known[number]))

    def items(self, titles: Sequence[str], *, where: str) -> IntArray:
        """The item of each title or key; of several with one title the first. Raises UserError for unknown ones."""
        return read_items(titles, self.catalog, where=where, suggest=self.suggest).items

    def _ranked(self, asked: Sequence[Asked]) -> list[Picks]:
        """The best items by the model, one more than is wanted: that shows whether the last one is tied."""
        picks = [Picks(one.permitted.caps, min(one.k, len(self.catalog)) + 1) for one in asked]
        gone = [one.excluded for one in asked]
        waiting = list(range(len(asked)))
        while waiting:
            # where caps will pass some over, a few more at once save a second search
            ks = [picks[case].left * (2 if asked[case].permitted.caps else 1) for case in waiting]
            with self._lock:
                found = self.ranker.best(
                    [asked[case].named.items for case in waiting],
                    [gone[case] for case in waiting],
                    ks,
                    [asked[case].permitted.items for case in waiting],
                )
            again = []
            for case, k, (items, scores) in zip(waiting, ks, found, strict=True):
                picks[case].take(items, scores)
                if picks[case].left and len(items) == k:
                    gone[case] = np.union1d(gone[case], np.union1d(items, picks[case].closed()))
                    again.append(case)
            waiting = again
        return picks

    def _check_something_is_left(self, excluded: IntArray, permitted: Permitted, where: str | None) -> None:
        left = permitted.items.copy()
        left[excluded] = False
        if not left.any():
            count = int(permitted.items.sum())
            whole = f"the whole catalog ({count:,} items)"
            seen = f"all {count:,} items with {permitted.said}" if permitted.said else whole
            raise UserError(
                f"the user has seen {seen}: nothing is left to recommend",
                where=where,
                remedy="`--include-seen` (in Python `exclude_seen=False`)",
            )

    def _cut(self, named: Named) -> list[str]:
        shown = len(self.ranker.shown(named.items))
        cut = f"history cut to the newest {shown} of {len(named.items)} items"
        return [*named.notes, *([cut] if shown < len(named.items) else [])]

    def _by_model(self, asked: Asked, picks: Picks) -> Recommendations:
        return self._listed(asked, picks, self._cut(asked.named), by_model=True)

    def _popular(self, asked: Asked) -> Recommendations:
        left = asked.permitted.items.copy()
        left[asked.excluded] = False
        items = self._by_popularity[left[self._by_popularity]]
        picks = Picks(asked.permitted.caps, min(asked.k, len(self.catalog)) + 1)
        picks.take(items, self.histories.popularity[items])
        notes = [*asked.named.notes, "no history: the most popular items"]
        return self._listed(asked, picks, notes, by_model=False)

    def _listed(self, asked: Asked, picks: Picks, notes: list[str], *, by_model: bool) -> Recommendations:
        """The best k of the picks, which are one more than k where there are more."""
        permitted, k, scores = asked.permitted, asked.k, np.array(picks.scores)
        same = scores[1:] == scores[:-1]
        tied = np.append(same, False) | np.insert(same, 0, False)  # with the next, with the one before
        notes += permitted.notes
        if len(picks.items) < k:
            under = " under the caps" if permitted.caps else ""
            notes.append(f"only {len(picks.items)} of the {int(permitted.items.sum())} items are left{under}")
        listed = tuple(
            Recommendation(
                item=item,
                key=self.catalog.keys[item],
                title=self.catalog.titles[item],
                log_prob=score if by_model else None,
                tied=bool(equal),
                columns=self.catalog.row(item),
                popularity=int(self.histories.popularity[item]),
            )
            for item, score, equal in zip(picks.items[:k], picks.scores[:k], tied[:k], strict=True)
        )
        return Recommendations(listed, tuple(notes), permitted.columns)


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
