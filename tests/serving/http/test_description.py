"""The server against its own OpenAPI description: whatever is sent, no answer breaks it, none is a fault of ours."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from napo.events.store import EventStore
from tests.serving.http.browser import listening
from tests.serving.http.http_desk import BEARER, TOKEN, small

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",  # what the description rules out is refused
)


def checked(folder: Path, address: str, *words: str) -> tuple[int, int]:
    """Requests that schemathesis made of a server's description, and those that passed, which are all."""
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{address}/openapi.json", *words]
    env = {**os.environ, "PYTHONUTF8": "1"}
    tried = subprocess.run([*command, "--seed", "0", "--no-color"], cwd=folder, env=env, capture_output=True, text=True)
    assert tried.returncode == 0, tried.stdout[-4000:] + tried.stderr[-2000:]
    generated, passed = map(int, re.search(r"(\d+) generated, (\d+) passed", tried.stdout).groups())
    return generated, passed


@pytest.mark.slow
def test_no_answer_breaks_the_description(tmp_path):
    with (
        EventStore.open(tmp_path / "events.db") as store,
        listening({"small": Path("nowhere")}, small, store=store) as address,
    ):
        generated, passed = checked(tmp_path, address, "--checks", ",".join(CHECKS), "--max-examples", "25")
    assert generated == passed > 300


@pytest.mark.slow
def test_where_there_is_a_token_the_description_says_what_wants_it(tmp_path):
    with (
        EventStore.open(tmp_path / "events.db") as store,
        listening({"small": Path("nowhere")}, small, store=store, token=TOKEN) as address,
    ):
        checks = ("not_a_server_error", "status_code_conformance", "ignored_auth")  # the last: without it 401
        words = ("--checks", ",".join(checks), "--max-examples", "5", "-H", f"Authorization: {BEARER['Authorization']}")
        generated, passed = checked(tmp_path, address, *words)
    assert generated == passed > 60
