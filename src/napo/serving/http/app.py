"""The server's answers: what each path takes and gives.

Path    HTTP -> guard -> [serving.http.app] -> models, recommender
Takes   JSON bodies; a model's name and item keys, never a path of the file system
Gives   JSON; a mistake is {"errors": [{what, where, remedy}]} with a 4xx status, no room a 503 with Retry-After
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from napo import __version__
from napo.errors import UserError, UserErrors
from napo.serving.answer import plain_columns
from napo.serving.filter import Filter
from napo.serving.history import Named
from napo.serving.http import bodies
from napo.serving.http.batcher import Full
from napo.serving.http.figures import Counted, Figures
from napo.serving.http.guard import Guard, described, mistake, not_now
from napo.serving.http.mistakes import said_of
from napo.serving.http.models import Busy, Done, ListJob, ScoreJob, Served, ServedModels, UnknownModel
from napo.serving.http.page import add_page, report_of
from napo.serving.http.settings import ServerSettings
from napo.serving.request import Asked, UnknownUser
from napo.serving.request import Request as Wanted

if TYPE_CHECKING:
    from napo.events.store import EventStore
    from napo.serving.http.events import Events, Since

T = TypeVar("T")
QUICK = 100  # names of a history that are looked up at once
CLOSING = 1.0  # seconds for a batch under way when the time to drain is over
MISTAKES: dict[int | str, dict[str, Any]] = {
    code: {"model": bodies.Mistakes} for code in (400, 401, 403, 404, 405, 408, 413, 422, 503)
}


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


def create_app(
    models: ServedModels,
    settings: ServerSettings,
    figures: Figures | None = None,
    *,
    store: "EventStore | None" = None,
) -> FastAPI:
    """The server of these models, which are loaded when it starts if they are not yet.

    figures: what `models` tells of its batches to, if it does. store: where events are kept; None: there are none.
    """
    figures = figures or Figures()
    events = None
    if store is not None:
        from napo.serving.http.events import Events, add_events  # needs SQLAlchemy

        events = Events(store, settings.waiting)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        models.start()
        yield
        await models.close(CLOSING)
        if events is not None:
            events.close()

    app = FastAPI(
        title="napo",
        version=__version__,
        summary="Recommendations of language models over catalogs of titles.",
        lifespan=lifespan,
        docs_url=None,  # ours: http.page
        redoc_url=None,
        responses=MISTAKES,
    )
    figures.watch(models)
    _answer_mistakes(app)
    _add_health(app, models, figures)
    _add_asking(app, models, settings, events)
    _add_looking(app, models)
    _add_admin(app, models)
    if events is not None:
        add_events(app, models, events, _item)
    add_page(app, models)
    if settings.token is not None:
        plain = app.openapi
        app.openapi = lambda: described(plain())  # type: ignore[method-assign]
    app.add_middleware(Guard, settings=settings)
    app.add_middleware(Counted, figures=figures)  # the last one added is the outermost
    return app


def _add_health(app: FastAPI, models: ServedModels, figures: Figures) -> None:
    @app.get("/healthz", tags=["health"])
    async def healthz() -> bodies.Health:
        """Whether the process answers."""
        return bodies.Health(ok=True)

    @app.get("/readyz", tags=["health"])
    async def readyz(response: Response) -> bodies.Health:
        """Whether every model takes requests; 503 where one does not."""
        response.status_code = 200 if models.ready else 503
        return bodies.Health(ok=models.ready)

    @app.get("/metrics", tags=["health"], response_class=Response)
    async def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(figures.text(), media_type="text/plain; version=0.0.4")


def _add_asking(app: FastAPI, models: ServedModels, settings: ServerSettings, events: "Events | None") -> None:
    # answers are written as JSON at once: checking each against its schema takes as long as half a search
    @app.post("/v1/recommend", tags=["ask"], response_model=bodies.Recommended)
    async def recommend(body: bodies.RecommendBody, request: Request) -> JSONResponse:
        """The best items after a history, or after all that a user liked."""
        _check_size("history", body.history, settings.most_history)
        _check_size("filter.allow", body.filter.allow, settings.most_titles)
        _check_size("filter.block", body.filter.block, settings.most_titles)
        _check_most("k", body.k, settings.most_explained if body.explain else settings.most_k, explain=body.explain)
        with models.named(body.model).used() as served:
            since = await _since(body, events)
            quick = _quick(served, body)
            asked = _read(served, body, since) if quick else await asyncio.to_thread(_read, served, body, since)
            done = await _answered(request, served.batcher.ask(ListJob(asked, body.explain)))
        assert done.found is not None
        said = done.found.to_json()
        items = [{**item, "why": _why(done, place)} for place, item in enumerate(said["items"])]
        return JSONResponse({"model": served.name, "request": uuid.uuid4().hex, "items": items, "notes": said["notes"]})

    @app.post("/v1/score", tags=["ask"], response_model=bodies.Scores)
    async def score(body: bodies.ScoreBody, request: Request) -> JSONResponse:
        """The log-probability of each title after a history, nats."""
        _check_size("history", body.history, settings.most_history)
        most = settings.most_explained if body.explain else settings.most_titles
        _check_size("titles", body.titles, most, explain=body.explain)

        def read(since: "Since | None") -> ScoreJob:
            named = _named(served, body, since)
            return ScoreJob(named, served.recommender.items(_texts(body.titles), where="titles"), body.explain)

        with models.named(body.model).used() as served:
            job = await asyncio.to_thread(read, await _since(body, events))
            done = await _answered(request, served.batcher.ask(job))
        catalog = served.recommender.catalog
        scores = [
            {
                "item": item,
                "key": catalog.keys[item],
                "title": catalog.titles[item],
                "log_prob": log_prob,
                "why": _why(done, place),
            }
            for place, (item, log_prob) in enumerate(zip(job.items.tolist(), done.scores, strict=True))
        ]
        return JSONResponse({"model": served.name, "scores": scores, "notes": list(job.named.notes)})


def _add_looking(app: FastAPI, models: ServedModels) -> None:
    @app.get("/v1/models", tags=["look"])
    async def list_models() -> bodies.Models:
        """What is served, and what each model can be asked about."""
        return bodies.Models(models=[_said(served, models) for served in models])

    @app.get("/v1/items", tags=["look"])
    async def items(
        q: Annotated[str, Query(max_length=500, description="A beginning, a word, or a title with typing errors.")],
        limit: Annotated[int, Query(ge=1, le=100)] = 10,
        model: Annotated[str | None, Query(max_length=2_000)] = None,
    ) -> bodies.Found:
        """Items by what is typed of their titles."""
        served = models.named(model)
        found = await asyncio.to_thread(served.index.search, q, limit)
        return bodies.Found(model=served.name, items=[bodies.Item(**_item(served, item)) for item in found])


def _add_admin(app: FastAPI, models: ServedModels) -> None:
    @app.post("/v1/admin/reload", tags=["admin"], responses={409: {"model": bodies.Mistakes}})
    async def reload() -> bodies.Models:
        """Read again the run folders that the server was started with; all are swapped, or none."""
        await models.reload()
        return bodies.Models(models=[_said(served, models) for served in models])


def _answer_mistakes(app: FastAPI) -> None:
    @app.exception_handler(UserError)
    async def of_user(request: Request, error: UserError) -> JSONResponse:
        several = error.errors if isinstance(error, UserErrors) else [error]
        status = 404 if isinstance(error, UnknownUser | UnknownModel) else 409 if isinstance(error, Busy) else 422
        said = [{"what": one.what, "where": one.where, "remedy": one.remedy} for one in several]
        return JSONResponse({"errors": said}, status_code=status)

    @app.exception_handler(RequestValidationError)
    async def of_body(request: Request, error: RequestValidationError) -> JSONResponse:
        said = said_of(error.errors(), request.headers.get("content-type", ""))
        return JSONResponse({"errors": said}, status_code=422)

    @app.exception_handler(Full)
    async def of_no_room(request: Request, error: Full) -> JSONResponse:
        return not_now("too many requests wait already", error.after)

    @app.exception_handler(HTTPException)
    async def of_path(request: Request, error: HTTPException) -> JSONResponse:
        where, remedy = request.url.path, "see /docs"
        if error.status_code == 400:  # what FastAPI makes of bytes that are no text
            where, remedy = "body", "a JSON object in UTF-8"
        elif "Allow" in (error.headers or {}):
            remedy = f"{(error.headers or {})['Allow']}; see /docs"
        answer = mistake(error.status_code, str(error.detail), where=where, remedy=remedy)
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(Exception)
    async def of_ours(request: Request, error: Exception) -> JSONResponse:
        return mistake(500, "a fault of the server's own", remedy="its log says more")  # uvicorn writes the traceback

    @app.exception_handler(ClientGone)
    async def of_nobody(request: Request, error: ClientGone) -> JSONResponse:
        return mistake(499, "the client went away")


async def _answered(request: Request, asking: Awaitable[T]) -> T:
    """The answer, unless the client goes away first: then nobody waits in its place any more."""
    answer, gone = asyncio.ensure_future(asking), asyncio.ensure_future(_gone(request))
    gone.add_done_callback(lambda _: answer.cancel())
    try:
        return await answer
    except asyncio.CancelledError:
        if gone.done() and not gone.cancelled():
            raise ClientGone from None
        raise
    finally:
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _since(body: bodies.Asking, events: "Events | None") -> "Since | None":
    """What a user did since the log; None where nobody asks, or no events are kept."""
    if events is None or body.user is None or body.history is not None:
        return None
    return await events.since(str(body.user))


def _read(served: Served, body: bodies.RecommendBody, since: "Since | None") -> Asked:
    given = body.filter
    filter = Filter(
        where=tuple(given.where),
        allow=None if given.allow is None else _texts(given.allow),
        block=_texts(given.block),
        caps=given.caps,
    )
    wanted = Wanted(k=body.k, exclude_seen=body.exclude_seen, filter=filter)
    return served.recommender.read(wanted, named=_named(served, body, since))


def _quick(served: Served, body: bodies.RecommendBody) -> bool:
    """Whether reading it means to look up a few names that are known: a thread would take longer than that."""
    if body.history is None or len(body.history) > QUICK or body.filter != bodies.FilterBody():
        return False
    return all(map(served.recommender.catalog.by_name.__contains__, _texts(body.history)))


def _named(served: Served, body: bodies.Asking, since: "Since | None") -> Named:
    history = None if body.history is None else _texts(body.history)
    user = None if body.user is None else str(body.user)
    if since is not None and user is not None:
        from napo.serving.http.events import named_with_events

        return named_with_events(served.recommender, user, since)
    return served.recommender.named(history, user)


def _texts(names: Sequence[str | int]) -> list[str]:
    """Keys that are numbers are texts in a catalog."""
    return [str(name) for name in names]


def _check_size(where: str, names: Sequence[str | int] | None, most: int, *, explain: bool = False) -> None:
    if names is not None and len(names) > most:
        _check_most(where, len(names), most, explain=explain)


def _check_most(where: str, count: int, most: int, *, explain: bool = False) -> None:
    if count > most:
        why = " with `explain`" if explain else ""
        raise UserError(
            f"{where} is {count:,}; this server takes {most:,}{why}", where=where, remedy=f"at most {most:,}"
        )


def _item(served: Served, item: int) -> dict[str, Any]:
    catalog = served.recommender.catalog
    return {
        "item": item,
        "key": catalog.keys[item],
        "title": catalog.titles[item],
        "popularity": int(served.recommender.histories.popularity[item]),
        "columns": plain_columns(catalog.row(item)),
    }


def _why(done: Done, place: int) -> dict[str, Any] | None:
    return done.why[place].to_json() if done.why else None


def _said(served: Served, models: ServedModels) -> bodies.ModelSaid:
    recommender = served.recommender
    return bodies.ModelSaid(
        name=served.name,
        items=len(recommender.catalog),
        users=len(recommender.users),
        columns=recommender.catalog.columns.columns,
        loaded=served.loaded,
        report=report_of(models.folder(served.name)) is not None,
    )
