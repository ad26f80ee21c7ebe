"""A server from start to stop.

Path    the command line -> [serving.http.serve] -> uvicorn
Takes   run folders by name, ServerSettings
Gives   nothing: it runs until it is told to stop, answers what is under way, and is gone within ten seconds
"""

import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from napo.errors import UserError
from napo.serving.http.app import create_app
from napo.serving.http.figures import Figures
from napo.serving.http.models import ServedModels
from napo.serving.http.settings import ServerSettings

if TYPE_CHECKING:
    from napo.events.store import EventStore

FILES = 8_192  # open at once, connections among them: of requests under way http.guard allows far fewer


def serve(
    folders: Mapping[str, Path],
    settings: ServerSettings,
    said: Callable[[str], None],
    *,
    store: "EventStore | None" = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C. said: is told where, once it listens. store: where events are kept.

    What is under way when it is told to stop has `settings.drain` seconds. Raises UserError for a run that can't be
    loaded and an address that can't be listened at.
    """
    _allow_files()
    figures = Figures()
    models = ServedModels(folders, settings, seen=figures.batch_seen)
    with _listening(settings) as listener:  # before the models: that it is taken is told at once
        models.load()
        config = uvicorn.Config(
            create_app(models, settings, figures, store=store),
            access_log=False,  # it would hold what people ask for
            server_header=False,
            log_level="warning",
            lifespan="on",
            timeout_graceful_shutdown=max(1, int(settings.drain)),
            timeout_keep_alive=30,
        )
        # uvicorn raises the signal again when it has stopped; by then all is done that it asked for
        signal.signal(signal.SIGTERM, lambda *_: None)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        address = f"http://{host}:{listener.getsockname()[1]}"
        _Server(config, models, lambda: said(address)).run([listener])


def _allow_files() -> None:
    """As many as the system lets this process have, up to FILES: the usual 1,024 are fewer than requests may be."""
    with suppress(ImportError, ValueError, OSError):
        import resource  # not on Windows

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
        if soft != resource.RLIM_INFINITY and soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _listening(settings: ServerSettings) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"can't listen at {settings.host}, port {settings.port}: {reason}",
            where="--host, --port",
            remedy="another port: `--port 8001`",
        ) from error


class _Server(uvicorn.Server):
    """Says when it listens, and is gone when its time is over."""

    def __init__(self, config: uvicorn.Config, models: ServedModels, listens: Callable[[], None]) -> None:
        super().__init__(config)
        self._models, self._listens = models, listens

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listens()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self._models.busy:
            # Python would wait for threads that nobody wants the result of any more
            sys.stderr.flush()
            os._exit(0)
