"""A real server in a process of its own, on loopback: it says where, answers, drains and is gone."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx2
import pytest

from napo.cli import main
from tests.processes import SOURCE
from tests.recommenders import small_recommender


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "small"
    small_recommender(max_history=20).save(folder / "model")
    return folder


@pytest.fixture
def process(run):
    """`napo serve`, and the address that it says."""
    env = {**os.environ, "PYTHONPATH": SOURCE, "COLUMNS": "200", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "napo", "serve", str(run), "--port", "0"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        try:
            said = started.stdout.readline()
            address = re.search(r"http://127\.0\.0\.1:\d+", said)
            assert address, said + started.stderr.read()
            yield started, address[0]
        finally:
            started.kill()


def test_it_answers_lets_go_of_who_leaves_and_stops_within_ten_seconds(process):
    started, address = process
    with httpx2.Client(base_url=address, timeout=20) as client:
        body = {"history": ["Alien", "title number 7"], "k": 3}
        answer = client.post("/v1/recommend", json=body)
        assert answer.status_code == 200
        assert len(answer.json()["items"]) == 3
        _ask_and_leave(address)
        answers = []

        def ask():
            answers.append(httpx2.post(f"{address}/v1/recommend", json={**body, "k": 20, "explain": True}, timeout=20))

        before = _batches(client)
        last = threading.Thread(target=ask)
        last.start()
        deadline = time.monotonic() + 20
        while _batches(client) == before:  # it is under way when the signal comes, or has been answered
            assert time.monotonic() < deadline
        begun = time.monotonic()
        started.send_signal(signal.SIGTERM)
        code = started.wait(timeout=12)
        assert time.monotonic() - begun < 10
        last.join()
    assert code == 0
    assert [one.status_code for one in answers] == [200]
    assert "Traceback" not in started.stderr.read()


def _batches(client):
    return re.search(r"napo_batch_size_count\S* (\S+)", client.get("/metrics").text)[1]


def _ask_and_leave(address):
    """A request whose client does not wait for the answer."""
    host, port = address.removeprefix("http://").split(":")
    body = b'{"history": ["Alien"], "k": 20, "explain": true}'
    head = (
        f"POST /v1/recommend HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    )
    with socket.create_connection((host, int(port))) as client:
        client.sendall(head.encode() + b"\r\n\r\n" + body)


def refused(capsys, *words):
    with pytest.raises(SystemExit) as end:
        main(["serve", *words])
    assert end.value.code == 2
    return capsys.readouterr().err


def test_an_address_that_is_taken_is_a_users_mistake(run, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = refused(capsys, str(run), "--port", str(taken.getsockname()[1]))
    assert "can't listen at 127.0.0.1" in said
    assert "another port" in said


def test_what_is_no_run_and_what_would_be_open_to_anybody_do_not_start(run, tmp_path, capsys):
    assert "no model that napo saved" in refused(capsys, str(tmp_path), "--port", "0")
    assert "anybody could write" in refused(capsys, str(run), "--host", "0.0.0.0")
    assert "no token can be read" in refused(capsys, str(run), "--token-file", str(tmp_path / "none"))
    (tmp_path / "token").write_text("short\n")
    assert "could be guessed" in refused(capsys, str(run), "--token-file", str(tmp_path / "token"))


def test_without_its_packages_it_says_what_to_install(run, capsys, monkeypatch):
    from napo.cli import serve

    monkeypatch.setattr(serve, "NEEDED", ("fastapi", "no_such_package"))
    said = refused(capsys, str(run))
    assert "serving needs no_such_package" in said
    assert "pip install 'napo[serve]'" in said
