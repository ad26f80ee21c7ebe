"""What users did, told to the server while it answers: kept at once, and part of the next list.

Path    HTTP -> [serving.http.events] -> events.store; app, which asks for a user's history
Takes   events by user and item; a user's key
Gives   how many were kept; a user's history, from the log and since; 503 where the store can't do it now
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Query
from fastapi import Path as InPath
from fastapi.responses import JSONResponse
from pydantic import Field, StrictInt

from napo.arrays import IntArray
from napo.events.event import KINDS, Event, Kind
from napo.events.store import EventStore, KeyTaken, StoreUnavailable
from napo.serving.history import Named
from napo.serving.http.bodies import Body, Item, Mistakes, Text
from napo.serving.http.guard import mistake
from napo.serving.http.models import Served, ServedModels
from napo.serving.recommender import Recommender
from napo.serving.request import UnknownUser

MOST = 1_000  # events of one call
RETRY = 5  # seconds, where the store can't do it now
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
    propensity: float | None = None
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
    """forgotten: how many events there were. in_log: whether the model's log has the user, which stays."""

    forgotten: int
    in_log: bool


def events_beside(folder: Path) -> Path:
    """Where a run's events are kept by default: in its folder; beside a saved model, which may be replaced whole."""
    return folder / "events.db" if (folder / "model").is_dir() else folder.parent / f"{folder.name}.events.db"


def named_with_events(recommender: Recommender, store: EventStore, user: str) -> Named:
    """What the log knows of a user and what came since; items that were taken before are not repeated.

    Raises UnknownUser where neither knows the user.
    """
    events = store.history(user, kinds=SEEN)
    try:
        known = recommender.named(None, user)
    except UnknownUser:
        if not events:
            raise
        none = np.empty(0, dtype=np.int64)
        known = Named(none, none)
    index = recommender.catalog.index  # an item may have left the catalog since
    met = [(index[event.item], event.kind) for event in events if event.item in index]
    liked = set(known.items.tolist())
    taken = dict.fromkeys(item for item, kind in met if kind == "took" and item not in liked)
    seen = np.array([item for item, _ in met], dtype=np.int64)
    return Named(np.append(known.items, _ids(taken)), np.union1d(known.seen, seen), known.notes)


def add_events(app: FastAPI, models: ServedModels, store: EventStore, item_said: Any) -> None:
    """The paths of events. item_said: what the server says of an item."""

    @app.exception_handler(StoreUnavailable)
    async def of_store(request: Any, error: StoreUnavailable) -> JSONResponse:
        answer = mistake(503, "events can't be kept or read now", remedy=f"again in {RETRY} s")
        answer.headers["Retry-After"] = str(RETRY)
        return answer

    @app.exception_handler(KeyTaken)
    async def of_key(request: Any, error: KeyTaken) -> JSONResponse:
        return mistake(409, error.what, where=error.where, remedy=error.remedy)

    @app.post("/v1/events", tags=["events"], responses={409: {"model": Mistakes}})
    async def post_events(body: EventsBody) -> Kept:
        """Keep what users did. When this is answered, it is on the disk."""
        served = models.named(body.model)

        def keep() -> Kept:
            items = served.recommender.items([str(event.item) for event in body.events], where="events")
            kept = store.append(map(_event, body.events, _keys(served, items)))
            return Kept(stored=kept.stored, repeated=kept.repeated)

        return await asyncio.to_thread(keep)

    @app.get("/v1/users/{user:path}/history", tags=["events"])
    async def history(
        user: User,
        kinds: Annotated[list[Kind] | None, Query(description="Of which events; `took` if left out.")] = None,
        newest: Annotated[int, Query(ge=1, le=MOST, description="At most so many of each, the newest.")] = 100,
        model: Annotated[str | None, Query(max_length=2_000)] = None,
    ) -> UserHistory:
        """What a user liked by the model's log, and the newest events since."""
        served = models.named(model)

        def read() -> UserHistory:
            events = store.history(user, kinds=tuple(kinds or ("took",)), newest=newest)
            number = served.recommender.histories.index.get(user)
            if number is None and not events and not store.history(user, kinds=KINDS, newest=1):
                served.recommender.named(None, user)  # raises UnknownUser
            liked = [] if number is None else served.recommender.histories.liked[number][-newest:].tolist()
            log = [Item(**item_said(served, item)) for item in liked]
            kept = [KeptEvent(**{name: getattr(event, name) for name in KeptEvent.model_fields}) for event in events]
            return UserHistory(user=user, model=served.name, log=log, events=kept)

        return await asyncio.to_thread(read)

    @app.delete("/v1/users/{user:path}", tags=["events"])
    async def forget(user: User) -> Forgotten:
        """Delete all events of a user. What a model learnt from the log stays in its weights and its histories."""
        forgotten = await asyncio.to_thread(store.forget, user)
        in_log = any(user in served.recommender.histories.index for served in models)
        return Forgotten(forgotten=forgotten, in_log=in_log)


def _event(body: EventBody, item: str) -> Event:
    given = body.model_dump(exclude={"user", "item"}, exclude_none=True)
    return Event(user=str(body.user), item=item, **given)


def _keys(served: Served, items: IntArray) -> Sequence[str]:
    return [served.recommender.catalog.keys[item] for item in items.tolist()]


def _ids(items: Any) -> IntArray:
    return np.array(list(items), dtype=np.int64)
