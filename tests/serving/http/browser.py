"""A real server on loopback and a browser before it; nothing is downloaded, so it wants Chromium on the machine."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from napo.events.store import EventStore
from napo.serving.http.app import create_app
from napo.serving.http.models import ServedModels
from napo.serving.http.settings import ServerSettings
from tests.needs import missing

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
QUIET = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")


@contextmanager
def listening(
    folders: Mapping[str, Path],
    load: Callable[[Path, int], Any],
    *,
    store: EventStore | None = None,
    **settings: Any,
) -> Iterator[str]:
    """The address of a server in a thread of its own."""
    kept = ServerSettings(port=0, **settings)
    models = ServedModels(folders, kept, load=load)
    server = uvicorn.Server(uvicorn.Config(create_app(models, kept, store=store), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


@contextmanager
def browsing(address: str, **context: Any) -> Iterator[Any]:
    """A page that is open at the address, with `page.wrong`: whatever the console and scripts complained of."""
    if CHROMIUM is None:
        missing("no Chromium here: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        page = browser.new_context(**context).new_page()
        page.wrong = []
        page.on("console", lambda said: page.wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.set_default_timeout(10_000)
        page.goto(address)
        try:
            yield page
        finally:
            browser.close()
