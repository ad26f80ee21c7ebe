"""A real server in a process of its own, on loopback: it says where, answers, drains and is gone."""

import json
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
from napo.serving.http import serve
from tests.processes import SOURCE
from tests.serving.http.served import served


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
        _ask(address, {"history": ["Alien"], "k": 20, "explain": True}).close()
        assert client.post("/v1/recommend", json=body).status_code == 200  # whatever was begun for who left has ended
        answers = []

        def ask():
            answers.append(httpx2.post(f"{address}/v1/recommend", json={**body, "k": 20, "explain": True}, timeout=20))

        before = _figure(client, "napo_batch_size_count")
        last = threading.Thread(target=ask)
        last.start()
        deadline = time.monotonic() + 20
        while (
            _figure(client, "napo_batch_size_count") == before
        ):  # it is under way when the signal comes, or has been answered
            assert time.monotonic() < deadline
        begun = time.monotonic()
        started.send_signal(signal.SIGTERM)
        code = started.wait(timeout=12)
        assert time.monotonic() - begun < 10
        last.join()
    assert code == 0
    assert [one.status_code for one in answers] == [200]
    assert "Traceback" not in started.stderr.read()


def _figure(client, name):
    found = re.search(rf"^{name}\{{.*\}} (\S+)", client.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0  # nothing to tell yet


def _ask(address, body):
    """A client that has asked and does not wait for the answer: whoever closes it leaves."""
    host, port = address.removeprefix("http://").split(":")
    sent = json.dumps(body).encode()
    head = f"POST /v1/recommend HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    client = socket.create_connection((host, int(port)))
    client.sendall(head.encode() + f"Content-Length: {len(sent)}\r\n\r\n".encode() + sent)
    return client


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


@pytest.mark.slow
def test_a_client_that_leaves_frees_its_place_and_is_not_worked_for(starter, run, tmp_path):
    """One at a time, and six may wait: six that left would keep all others out while they are worked for."""
    heavy = {"history": [f"i{number:02d}" for number in range(20)], "k": 20, "explain": True}
    with served(starter, tmp_path, run, "--no-events", "--batch", "1", "--waiting", "6", "--cache-mb", "0") as server:
        before, end = _figure(server.client, "napo_batch_size_sum"), time.monotonic() + 60
        for _ in range(5):
            clients = [_ask(server.address, heavy) for _ in range(6)]
            while _figure(server.client, "napo_waiting") < 3:
                assert time.monotonic() < end
            for client in clients:
                client.close()
            while _figure(server.client, "napo_waiting") > 0:
                assert time.monotonic() < end
        assert server.client.post("/v1/recommend", json={"history": ["Alien"], "k": 1}).status_code == 200
        worked_for = _figure(server.client, "napo_batch_size_sum") - before
        assert worked_for <= 26  # of 31; of each six at least one that waited, also where closing takes its time


@pytest.mark.parametrize(
    ("soft", "hard", "set_to"),
    [(1_024, 4_096, (4_096, 4_096)), (1_024, -1, (8_192, -1)), (20_000, -1, None), (-1, -1, None)],
)
def test_as_many_files_as_the_system_allows_may_be_open(monkeypatch, soft, hard, set_to):
    resource, given = pytest.importorskip("resource"), []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: given.append(limits))
    serve._allow_files()
    assert given == ([] if set_to is None else [set_to])
