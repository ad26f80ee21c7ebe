"""What users did, told to the server while it answers: kept at once, and part of the next list.

Path    HTTP -> [serving.http.events] -> events.store; app, which asks for a user's history
Takes   events by user and item; a user's key
Gives   how many were kept; a user's history, from the log and since; 503 where the store can't do it now
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Query
from fastapi import Path as InPath
from fastapi.responses import JSONResponse
from pydantic import Field, StrictFloat, StrictInt

from napo.arrays import IntArray
from napo.errors import UserError
from napo.events.event import KINDS, Event, Kind
from napo.events.store import WAIT, Appended, EventStore, KeyTaken, StoreUnavailable
from napo.recipe import load_recipe
from napo.serving.history import Named
from napo.serving.http.batcher import Full
from napo.serving.http.blocking import BlockingCalls
from napo.serving.http.bodies import Body, Item, Mistakes, Text
from napo.serving.http.guard import mistake, not_now
from napo.serving.http.models import Served, ServedModels
from napo.serving.recommender import Recommender
from napo.serving.request import UnknownUser

MOST = 1_000  # events of one call
RECIPE = "recipe.yaml"  # of a run's folder
RETRY = 5  # seconds, where the store can't do it now
MOST_SINCE = 10_000  # events of a user that a list is made by: a search pays for each of them
THREADS = 4  # that write, and as many that read
UNREAD = "events can't be read now: what the user took and skipped since the model was trained is not known"
Since = list[Event] | StoreUnavailable | Full
SEEN: tuple[Kind, ...] = ("took", "skipped")  # kinds that say that a person knows the item
User = Annotated[str, InPath(max_length=500, description="The user's key.")]


class EventBody(Body):
    """One event; docs/events.md says what each field means."""

    user: Text | StrictInt
    item: Text | StrictInt = Field(description="The item's key, or its title.")
    kind: Kind
    time: StrictInt | None = Field(default=None, description="Milliseconds since 1970, UTC; else now.")
    request: Text | None = Field(default=None, description="The `request` of the list that the item stood in.")
    position: StrictInt | None = Field(default=None, description="The item's rank in that list.")
    propensity: StrictFloat | None = None
    key: Text | None = Field(default=None, description="The event's own name: sent again, it is the same event.")


class EventsBody(Body):
    """`POST /v1/events`: all of them are kept, or none."""

    events: list[EventBody] = Field(min_length=1, max_length=MOST)
    model: Text | None = Field(default=None, description="Whose catalog names the items; the first one if left out.")


class Kept(Body):
    """stored: new events. repeated: those that were there already, by their keys."""

    stored: int
    repeated: int


class KeptEvent(Body):
    """An event as it is kept."""

    item: str
    kind: Kind
    time: int
    request: str | None
    position: int | None
    key: str


class UserHistory(Body):
    """log: what the model's log says that the user liked, oldest first. events: what came since, oldest first."""

    user: str
    model: str
    log: list[Item]
    events: list[KeptEvent]


class Forgotten(Body):
    """forgotten: how many events there were.

    in_log: whether the log of a model has the user, which stays: the key is noted as one to be unlearnt.
    """

    forgotten: int
    in_log: bool


def events_beside(folder: Path) -> Path:
    """Where a run's events are kept by default: in its folder; beside a saved model, which may be replaced whole."""
    return folder / "events.db" if (folder / "model").is_dir() else folder.parent / f"{folder.name}.events.db"


def events_of(folder: Path) -> Path:
    """The file of a served run's events: its own where there is one, else that of the runs that it goes on from.

    So a server that is started on a refreshed run knows what was told to the earlier one. The path is whole, with no
    link in it: where a link leads elsewhere later, a server that runs stays with its file.
    """
    folder = folder.resolve()
    own, met = events_beside(folder), {folder}
    while not (file := events_beside(folder)).exists():
        earlier = _earlier(folder)
        if earlier is None or earlier in met:
            return own
        met.add(folder := earlier)
    return file


def _earlier(run: Path) -> Path | None:
    """The run that a refreshed one goes on from (docs/refresh.md), where it is still there."""
    if not (run / RECIPE).is_file():
        return None
    with suppress(UserError):  # another napo's recipe: its model may be served all the same
        refresh = load_recipe(run / RECIPE, files=False).refresh
        if refresh is not None and refresh.run.is_dir():
            return refresh.run.resolve()
    return None


class Events:
    """A store that the server's event loop asks. Who writes may wait for a lock, and keeps no reader waiting."""

    def __init__(self, store: EventStore, room: int) -> None:
        """room: calls of each kind that may wait."""
        self._store = store
        # a call ends by itself once it has waited for a lock; the limit is for a database that says nothing
        times = {"patience": WAIT, "limit": 2.5 * WAIT}
        self._writes = BlockingCalls("events-write", threads=THREADS, room=room, **times)
        self._reads = BlockingCalls("events-read", threads=THREADS, room=room, **times)

    async def append(self, events: Iterable[Event]) -> Appended:
        return await self._writes.ask(lambda: self._store.append(events))

    async def forget(self, user: str, *, learnt: bool) -> int:
        return await self._writes.ask(lambda: self._store.forget(user, learnt=learnt))

    async def history(self, user: str, kinds: Sequence[Kind], newest: int | None = None) -> list[Event]:
        return await self._reads.ask(lambda: self._store.history(user, kinds=kinds, newest=newest))

    async def since(self, user: str) -> Since:
        """What a user is known to have met, the newest `MOST_SINCE` events and one; or why nobody can say now."""
        try:
            return await self.history(user, SEEN, MOST_SINCE + 1)  # one more tells that there are more
        except (StoreUnavailable, Full) as error:
            return error

    def close(self) -> None:
        self._writes.close()
        self._reads.close()


def named_with_events(recommender: Recommender, user: str, since: Since) -> Named:
    """What the log knows of a user and what came since; items that were taken before are not repeated.

    Of more than `MOST_SINCE` events the oldest are left out: their items count neither as history nor as seen. Where
    events can't be read now the log is all. A note says so in either case. Raises UnknownUser where neither knows the
    user, and what keeps events from being read where only they might.
    """
    if isinstance(since, Exception):
        try:
            known = recommender.named(None, user)
        except UnknownUser:
            raise since from None
        return replace(known, notes=(*known.notes, UNREAD))
    return _joined(recommender, user, since)


def _joined(recommender: Recommender, user: str, events: Sequence[Event]) -> Named:
    try:
        known = recommender.named(None, user)
    except UnknownUser:
        if not events:
            raise
        none = np.empty(0, dtype=np.int64)
        known = Named(none, none)
    notes = known.notes
    if len(events) > MOST_SINCE:
        events, notes = events[-MOST_SINCE:], (*notes, f"of what came since, the newest {MOST_SINCE:,} events count")
    index = recommender.catalog.index  # an item may have left the catalog since
    met = [(index[event.item], event.kind) for event in events if event.item in index]
    liked = set(known.items.tolist())
    taken = dict.fromkeys(item for item, kind in met if kind == "took" and item not in liked)
    seen = np.array([item for item, _ in met], dtype=np.int64)
    return Named(np.append(known.items, _ids(taken)), np.union1d(known.seen, seen), notes)


def add_events(app: FastAPI, models: ServedModels, events: Events, item_said: Any) -> None:
    """The paths of events. item_said: what the server says of an item."""

    @app.exception_handler(StoreUnavailable)
    async def of_store(request: Any, error: StoreUnavailable) -> JSONResponse:
        return not_now("events can't be kept or read now", RETRY)

    @app.exception_handler(KeyTaken)
    async def of_key(request: Any, error: KeyTaken) -> JSONResponse:
        return mistake(409, error.what, where=error.where, remedy=error.remedy)

    @app.post("/v1/events", tags=["events"], responses={409: {"model": Mistakes}})
    async def post_events(body: EventsBody) -> Kept:
        """Keep what users did. When this is answered, it is on the disk."""
        kept = await events.append(await asyncio.to_thread(_read, models.named(body.model), body))
        return Kept(stored=kept.stored, repeated=kept.repeated)

    @app.get("/v1/users/{user:path}/history", tags=["events"])
    async def history(
        user: User,
        kinds: Annotated[list[Kind] | None, Query(description="Of which events; `took` if left out.")] = None,
        newest: Annotated[int, Query(ge=1, le=MOST, description="At most so many of each, the newest.")] = 100,
        model: Annotated[str | None, Query(max_length=2_000)] = None,
    ) -> UserHistory:
        """What a user liked by the model's log, and the newest events since."""
        served = models.named(model)
        since = await events.history(user, tuple(kinds or ("took",)), newest)
        number = served.recommender.histories.index.get(user)
        if number is None and not since and not await events.history(user, KINDS, 1):
            served.recommender.named(None, user)  # raises UnknownUser
        liked = [] if number is None else served.recommender.histories.liked[number][-newest:].tolist()
        log = [Item(**item_said(served, item)) for item in liked]
        kept = [KeptEvent(**{name: getattr(event, name) for name in KeptEvent.model_fields}) for event in since]
        return UserHistory(user=user, model=served.name, log=log, events=kept)

    @app.delete("/v1/users/{user:path}", tags=["events"])
    async def forget(user: User) -> Forgotten:
        """Delete all events of a user. What a model learnt from the log stays in its weights and its histories; the key
        of such a user is noted until it is unlearnt."""
        in_log = any(user in served.recommender.histories.index for served in models)
        forgotten = await events.forget(user, learnt=in_log)
        return Forgotten(forgotten=forgotten, in_log=in_log)


def _read(served: Served, body: EventsBody) -> list[Event]:
    items = served.recommender.items([str(event.item) for event in body.events], where="events")
    return list(map(_event, body.events, _keys(served, items)))


def _event(body: EventBody, item: str) -> Event:
    given = body.model_dump(exclude={"user", "item"}, exclude_none=True)
    return Event(user=str(body.user), item=item, **given)


def _keys(served: Served, items: IntArray) -> Sequence[str]:
    return [served.recommender.catalog.keys[item] for item in items.tolist()]


def _ids(items: Any) -> IntArray:
    return np.array(list(items), dtype=np.int64)
