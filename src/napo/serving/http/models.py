"""The models of a server, each under its name, and how one is taken in another's place.

Path    run folders -> [serving.http.models] -> app
Takes   folders, named on the command line: a request names a model, never a folder
Gives   Served: a recommender, its title index, its batches; reload(), which swaps all of them or none
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from napo.arrays import IntArray
from napo.errors import UserError, did_you_mean
from napo.models.language import META
from napo.serving.answer import Recommendations
from napo.serving.explain import Explanation
from napo.serving.history import Named
from napo.serving.http.batcher import Batcher
from napo.serving.http.settings import ServerSettings
from napo.serving.http.titles import TitleIndex
from napo.serving.recommender import MODEL, Recommender
from napo.serving.request import Asked, Request

log = logging.getLogger(__name__)
LATEST = "latest"


class UnknownModel(UserError):
    """A name under which no model is served."""


class Busy(UserError):
    """Models are being loaded already."""


@dataclass(frozen=True, eq=False)
class ListJob:
    """A list to make. explain: why each item stands in it."""

    asked: Asked
    explain: bool = False


@dataclass(frozen=True, eq=False)
class ScoreJob:
    """Items to score after a history."""

    named: Named
    items: IntArray
    explain: bool = False


@dataclass(frozen=True, eq=False)
class Done:
    """A job's answer. found: of a ListJob. scores: of a ScoreJob. why: of each item, if it was asked for."""

    found: Recommendations | None = None
    scores: Sequence[float] = ()
    why: Sequence[Explanation] = ()


Job = ListJob | ScoreJob
Load = Callable[[Path, int], Recommender]


def load_recommender(folder: Path, cache_bytes: int) -> Recommender:
    """A run's recommender, warm: the first request does not pay for what is worked out once."""
    recommender = Recommender.load(folder, remembers=cache_bytes)
    if not recommender.ranker.lists_candidates and len(recommender.catalog) > 1:
        recommender.answer([recommender.read(Request([recommender.catalog.keys[0]], k=1))])
    return recommender


@dataclass(eq=False)
class Served:
    """One model. What was read by its recommender is answered by it, also after another has taken its place."""

    name: str
    recommender: Recommender
    index: TitleIndex
    batcher: Batcher[Job, Done]
    loaded: float = field(default_factory=time.time)
    _users: int = 0

    @contextmanager
    def used(self) -> Iterator["Served"]:
        """Who reads a request by this model, and then asks its batches: they are not ended meanwhile."""
        self._users += 1
        try:
            yield self
        finally:
            self._users -= 1

    async def close(self) -> None:
        """Answer whoever uses it, or waits, and end."""
        while self._users:
            await asyncio.sleep(0.01)
        await self.batcher.close()

    @classmethod
    def of(cls, name: str, recommender: Recommender, settings: ServerSettings, seen: Callable[[int], None]) -> "Served":
        """Has to be called where an event loop runs."""
        index = TitleIndex(recommender.catalog.titles, recommender.histories.popularity)
        recommender.suggest = index.suggest
        batcher: Batcher[Job, Done] = Batcher(
            lambda jobs: work_on(recommender, jobs),
            most=settings.batch,
            room=settings.waiting,
            linger=settings.linger,
            patience=settings.patience,
            seen=seen,
        )
        return cls(name, recommender, index, batcher)


def work_on(recommender: Recommender, jobs: Sequence[Job]) -> list[Done | Exception]:
    """All the lists in one search, all the scores in one pass; each explanation by itself.

    Where several together fail, each is tried alone: one request's fault is not another's.
    """
    try:
        return list(_worked(recommender, jobs))
    except Exception as error:
        if len(jobs) == 1:
            return [error]
        log.warning("%d requests together failed (%s): they are tried one by one", len(jobs), error)
        return [one for job in jobs for one in work_on(recommender, [job])]


def _worked(recommender: Recommender, jobs: Sequence[Job]) -> Iterable[Done]:
    lists = [job for job in jobs if isinstance(job, ListJob)]
    scores = [job for job in jobs if isinstance(job, ScoreJob)]
    found = dict(zip(lists, recommender.answer([job.asked for job in lists]), strict=True))
    scored = dict(zip(scores, recommender.score_many([(job.named, job.items) for job in scores]), strict=True))
    for job in jobs:
        if isinstance(job, ListJob):
            items = np.array([one.item for one in found[job]], dtype=np.int64)
            why = recommender.explain_many(job.asked.named, items) if job.explain else []
            yield Done(found=found[job], why=why)
        else:
            why = recommender.explain_many(job.named, job.items) if job.explain else []
            yield Done(scores=scored[job], why=why)


class ServedModels:
    """By name, in the order of the command line."""

    def __init__(
        self,
        folders: Mapping[str, Path],
        settings: ServerSettings,
        *,
        load: Load = load_recommender,
        seen: Callable[[str, int], None] = lambda name, size: None,
    ) -> None:
        """seen: is told the size of each batch of a model."""
        self._folders, self._settings, self._load, self._seen = dict(folders), settings, load, seen
        self._read: dict[str, Recommender] = {}
        self._served: dict[str, Served] = {}
        self._loading = asyncio.Lock()

    def __iter__(self) -> Iterator[Served]:
        return iter(self._served.values())

    def load(self) -> None:
        """Read all the folders. Raises UserError for one that can't be loaded."""
        size = self._settings.cache_mb * 1_000_000
        self._read = {name: self._load(folder, size) for name, folder in self._folders.items()}

    def start(self) -> None:
        """Begin to take requests for what was loaded; where an event loop runs."""
        if not self._read:
            self.load()
        self._served = {name: self._new(name, one) for name, one in self._read.items()}

    @property
    def ready(self) -> bool:
        """Whether every model takes requests."""
        return len(self._served) == len(self._folders) and all(one.batcher.alive for one in self._served.values())

    def named(self, name: str | None) -> Served:
        """The model of a name, or the first one. Raises UnknownModel."""
        if name is None:
            return next(iter(self._served.values()))
        if name not in self._served:
            raise UnknownModel(f"no model {name!r} is served", where="model", remedy=did_you_mean(name, self._served))
        return self._served[name]

    def folder(self, name: str) -> Path:
        """Where a served model was read from."""
        return self._folders[name]

    async def reload(self) -> None:
        """Read all the folders again, beside those that answer, and put the new ones in their place.

        Raises UserError where one can't be loaded: then all stay as they are; and Busy while another reload runs.
        """
        if self._loading.locked():
            raise Busy("models are being loaded already", remedy="ask again when that is done")
        async with self._loading:
            await asyncio.to_thread(self.load)
            old = list(self._served.values())
            self.start()
        for one in old:
            await one.close()  # what was read by a model is answered by it

    @property
    def busy(self) -> bool:
        """Whether a thread is at work that may not end soon."""
        return self._loading.locked() or any(one.batcher.busy for one in self)

    async def close(self, seconds: float | None = None) -> None:
        """Answer what waits, and end; after so many seconds, whatever is under way."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for one in self:
                    await one.batcher.close()

    def _new(self, name: str, recommender: Recommender) -> Served:
        return Served.of(name, recommender, self._settings, lambda size: self._seen(name, size))


def named_folders(runs: Sequence[str]) -> dict[str, Path]:
    """`NAME=FOLDER`, or a folder under its own name; the folder `latest` is the run of `runs/` that ended last.

    Raises UserError where two have one name.
    """
    folders: dict[str, Path] = {}
    for text in runs:
        name, equals, path = text.partition("=")
        given = bool(equals) and not Path(text).exists()
        folder = Path(path if given else text)
        if str(folder) == LATEST and not folder.exists():
            folder = latest_run()
        name = name if given else folder.resolve().name
        if name in folders:
            raise UserError(
                f"two runs would be served as {name!r}", where=text, remedy=f"give one of them a name: other={folder}"
            )
        folders[name] = folder
    return folders


def latest_run(below: Path = Path("runs")) -> Path:
    """The run whose model was written last. Raises UserError where none has ended."""
    ended = list(below.glob(f"*/{MODEL}/{META}"))
    if not ended:
        raise UserError(
            f"no run in {below}/ has ended", where=LATEST, remedy="`napo train ...`, or name a run's folder"
        )
    return max(ended, key=lambda file: file.stat().st_mtime_ns).parents[1]
