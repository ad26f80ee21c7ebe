"""The page for people, the page of the server's paths, and each run's report.

Path    HTTP -> [serving.http.page] -> the files beside it; models, which know where a report lies
Takes   nothing of a request but a model's name
Gives   HTML, CSS and JavaScript with a policy under which nothing of another origin is loaded and no inline script runs
"""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Query, Response
from starlette.exceptions import HTTPException

from napo.serving.http.models import ServedModels

REPORT = "report.html"  # as evaluation.report writes it, into a run's folder
# `unsafe-inline` for styles alone: reports carry theirs in them
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src 'self' data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HTML, CSS, SCRIPT = (f"text/{kind}; charset=utf-8" for kind in ("html", "css", "javascript"))
FILES = {  # where each lies: package, file, kind
    "/": ("napo.serving.http", "page.html", HTML),
    "/page.css": ("napo.serving.http", "page.css", CSS),
    "/page.js": ("napo.serving.http", "page.js", SCRIPT),
    "/docs": ("napo.serving.http", "docs.html", HTML),
    "/docs.js": ("napo.serving.http", "docs.js", SCRIPT),
    # FastAPI's own /docs loads these from the net; this package carries them, and nothing else of it is used
    "/swagger-ui.css": ("fastapi_offline", "swagger-ui.css", CSS),
    "/swagger-ui.js": ("fastapi_offline", "swagger-ui-bundle.js", SCRIPT),
}


def add_page(app: FastAPI, models: ServedModels) -> None:
    """The page at `/`, the server's paths at `/docs`, and `/report` of each model that has one."""
    for path, (package, name, kind) in FILES.items():
        content = (files(package) / "static" / name).read_bytes()
        app.add_api_route(path, _gives(content, kind), include_in_schema=False)

    @app.get("/report", tags=["look"], response_class=Response)
    def report(model: Annotated[str | None, Query(max_length=2_000)] = None) -> Response:
        """The report of the run that a model comes from, as a page."""
        found = report_of(models.folder(models.named(model).name))
        if found is None:
            raise HTTPException(404, "this model's folder has no report: `napo evaluate RUN` writes one")
        return _page(found.read_bytes(), HTML)


def report_of(folder: Path) -> Path | None:
    """Where a run's report lies, if it has one."""
    path = folder / REPORT
    return path if path.is_file() else None


def _gives(content: bytes, kind: str) -> Callable[[], Response]:
    def answer() -> Response:
        return _page(content, kind)

    return answer


def _page(content: bytes, kind: str) -> Response:
    headers = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"}
    return Response(content, media_type=kind, headers=headers)
