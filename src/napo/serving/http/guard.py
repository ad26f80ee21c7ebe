"""What stands before every request: who may ask, from where, and how much they may send.

Path    uvicorn -> [serving.http.guard] -> app
Takes   ASGI messages
Gives   the request with its body read whole; or 400, 401, 403, 408, 413, 503 with the body of every mistake
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

from napo.serving.http.settings import ServerSettings

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

TOGETHER = 1_000  # requests under way beside those that may wait for a model, those that only come in among them
HEALTH = frozenset({"/healthz", "/readyz", "/metrics"})  # whoever watches a busy server is not to take it for dead
# nothing of anybody is there
OPEN = frozenset(
    {"/healthz", "/readyz", "/openapi.json", "/", "/page.css", "/page.js"}
    | {"/docs", "/docs.js", "/swagger-ui.css", "/swagger-ui.js"}
)


class Guard:
    """Pure ASGI, so that a client that goes away is still heard of behind it."""

    def __init__(self, app: App, settings: ServerSettings) -> None:
        self.app, self.settings = app, settings
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        self._under_way += 1
        try:
            await self._guarded(scope, receive, send)
        finally:
            self._under_way -= 1

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        safe = _with_headers(send)
        refused = self._refusal(scope, headers)
        if refused is None:
            try:
                async with asyncio.timeout(self.settings.body_seconds):
                    body = await self._body(headers, receive)
            except TimeoutError:
                refused = mistake(408, "the request did not come whole in time", remedy="send it again")
            else:
                if body is None:
                    refused = mistake(
                        413,
                        f"the request has more than {self.settings.most_body:,} bytes",
                        where="body",
                        remedy="a shorter history, or fewer titles",
                    )
        if refused is not None:
            await refused(scope, receive, safe)
            return
        await self.app(scope, _replayed(body or b"", receive), safe)

    def _refusal(self, scope: Scope, headers: Headers) -> JSONResponse | None:
        if self._under_way > TOGETHER + self.settings.waiting and scope["path"] not in HEALTH:
            return not_now("too many requests are under way", 1)
        host = headers.get("host", "")
        names = self.settings.names
        if names is not None and _name(host) not in names:
            return mistake(
                400, f"this server is not known as {host!r}", where="Host", remedy="`napo serve ... --allow-host NAME`"
            )
        origin = headers.get("origin")
        if origin and scope["method"] not in ("GET", "HEAD") and not _same_origin(origin, host):
            remedy = "ask from the server's own page, or from a program, which sends no Origin"
            return mistake(403, "a page of another origin may not ask for this", where="Origin", remedy=remedy)
        if self.settings.token is not None and scope["path"] not in OPEN and not self._knows(headers):
            answer = mistake(
                401, "no token, or a wrong one", where="Authorization", remedy="`Authorization: Bearer TOKEN`"
            )
            answer.headers["WWW-Authenticate"] = "Bearer"
            return answer
        return None

    def _knows(self, headers: Headers) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        assert self.settings.token is not None
        same = hmac.compare_digest(given.strip().encode(), self.settings.token.encode())  # in constant time
        return same and kind.lower() == "bearer"

    async def _body(self, headers: Headers, receive: Receive) -> bytes | None:
        """The whole body; None where it is too long, whatever its length was said to be."""
        said = headers.get("content-length", "0")
        if not said.isdecimal() or int(said) > self.settings.most_body:
            return None
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return bytes(body)
            body += message.get("body", b"")
            if len(body) > self.settings.most_body:
                return None
            if not message.get("more_body", False):
                return bytes(body)


def described(schema: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI description of a server that wants a token: where it does, and so its page can be given one."""
    schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            operation["security"] = [] if path in OPEN else [{"token": []}]
    return schema


def mistake(status: int, what: str, *, where: str | None = None, remedy: str | None = None) -> JSONResponse:
    """An answer that is no success."""
    return JSONResponse({"errors": [{"what": what, "where": where, "remedy": remedy}]}, status_code=status)


def not_now(what: str, after: int) -> JSONResponse:
    """A 503 that says in how many seconds to come again."""
    answer = mistake(503, what, remedy=f"again in {after} s")
    answer.headers["Retry-After"] = str(after)
    return answer


def _name(host: str) -> str:
    """The host of a `Host` header, without its port: `[::1]:8000` is `::1`."""
    try:
        return urlsplit(f"//{host}").hostname or "" if "@" not in host else ""
    except ValueError:  # brackets that are no address
        return ""


def _same_origin(origin: str, host: str) -> bool:
    try:
        return urlsplit(origin).netloc == host
    except ValueError:
        return False


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Gives the body once, and then whatever comes: that the client has gone."""
    given = False

    async def again() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _with_headers(send: Send) -> Send:
    async def sent(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["X-Content-Type-Options"] = "nosniff"  # titles come as JSON, and are never read as a page
            headers["Cache-Control"] = "no-store"
        await send(message)

    return sent
