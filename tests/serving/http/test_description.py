"""The server against its own OpenAPI description: whatever is sent, no answer breaks it, none is a fault of ours."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from napo.events.store import EventStore
from tests.serving.http.browser import listening
from tests.serving.http.http_desk import small

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",  # what the description rules out is refused
)


@pytest.mark.slow
def test_no_answer_breaks_the_description(tmp_path):
    with (
        EventStore.open(tmp_path / "events.db") as store,
        listening({"small": Path("nowhere")}, small, store=store) as address,
    ):
        words = ["run", f"{address}/openapi.json", "--checks", ",".join(CHECKS), "--max-examples", "25", "--seed", "0"]
        command = [str(Path(sys.executable).with_name("schemathesis")), *words, "--no-color"]
        tried = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "PYTHONUTF8": "1"}, capture_output=True, text=True
        )
    assert tried.returncode == 0, tried.stdout[-4000:] + tried.stderr[-2000:]
    generated, passed = map(int, re.search(r"(\d+) generated, (\d+) passed", tried.stdout).groups())
    assert generated == passed > 300
