"""A server of small recommenders in this process, as a client sees it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from napo.events.store import EventStore
from napo.serving.http.app import create_app
from napo.serving.http.figures import Figures
from napo.serving.http.models import Load, ServedModels
from napo.serving.http.settings import ServerSettings
from tests.recommenders import small_recommender

TOKEN = "a-token-that-is-long-enough"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def small(folder: Path, cache_bytes: int) -> Any:
    return small_recommender(max_history=20, remembers=cache_bytes)


@contextmanager
def server(
    folders: Mapping[str, Path] | None = None,
    *,
    load: Load = small,
    store: EventStore | None = None,
    **settings: Any,
) -> Iterator[TestClient]:
    """A client of a server that has started, and is stopped at the end."""
    kept = ServerSettings(**settings)
    figures = Figures()
    models = ServedModels(folders or {"small": Path("nowhere")}, kept, load=load, seen=figures.batch_seen)
    app = create_app(models, kept, figures, store=store)
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client
