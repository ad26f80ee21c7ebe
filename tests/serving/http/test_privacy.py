"""Who asks is nobody's business: no user key in what a real server writes, whatever goes right or wrong."""

import signal
import socket
import sqlite3
import threading
import time
from contextlib import closing, suppress
from urllib.parse import quote

import httpx2
import pytest

from tests.serving.http.served import event, served

pytestmark = pytest.mark.slow
NAME = "Quagmire7731"  # as it stands in every way of writing the key down: a URL's, JSON's, Python's
USER = f"Zoë {NAME}/x?"
PATH = f"/v1/users/{quote(USER, safe='')}"
WELL = 200


def requests():
    """All that may be asked of a user, well and badly, with the status of the answer."""
    yield WELL, "POST", "/v1/events", {"events": [event(1, user=USER), event(2, user=USER, kind="shown")]}
    yield WELL, "POST", "/v1/events", {"events": [event(1, user=USER)]}
    yield 409, "POST", "/v1/events", {"events": [event(1, user=USER, item="i09")]}
    yield 422, "POST", "/v1/events", {"events": [event(3, user=USER, item=f"no item {NAME}")]}
    yield 422, "POST", "/v1/events", {"events": [event(3, user=USER * 100)]}
    yield 422, "POST", "/v1/events", {"events": [{"user": USER, "kind": NAME}]}
    yield WELL, "POST", "/v1/recommend", {"user": USER, "explain": True, "k": 2}
    yield 404, "POST", "/v1/recommend", {"user": f"nobody {NAME}"}
    yield 422, "POST", "/v1/recommend", {"user": [NAME]}
    yield 422, "POST", "/v1/recommend", {"history": [NAME]}
    yield WELL, "POST", "/v1/score", {"user": USER, "titles": ["i01"]}
    yield WELL, "GET", f"{PATH}/history", None
    yield 422, "GET", f"{PATH}/history?newest=none", None
    yield 404, "GET", f"{PATH}/history?model={NAME}", None
    yield 405, "PUT", PATH, None
    yield 405, "POST", f"{PATH}/history", {}
    yield 404, "GET", f"/v2/{NAME}", None
    yield WELL, "DELETE", PATH, None
    yield 404, "GET", f"{PATH}/history", None


def test_no_user_key_is_in_what_the_server_writes_or_counts(starter, run, tmp_path):
    path = tmp_path / "events.db"
    with served(starter, tmp_path, run, "--events", path) as server:
        for status, method, where, body in requests():
            answer = server.client.request(method, where, json=body)
            assert answer.status_code == status, (method, where, answer.text)
        _say_no_http(server.address)
        assert _posted(server).status_code == WELL
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            made = other.execute("SELECT sql FROM sqlite_master WHERE name = 'napo_events'").fetchone()[0]
            other.execute("DROP TABLE napo_events")
            asked = [server.client.get(f"{PATH}/history"), server.client.delete(PATH), _posted(server)]
            assert [answer.status_code for answer in asked] == [503] * 3
            # a fault that nobody has foreseen: its traceback is written
            other.execute(f"{made.rpartition(')')[0]}, CHECK (user_key = ''))")
            assert _posted(server).status_code == 500
        end = time.monotonic() + 10
        while "Traceback" not in server.err:  # uvicorn writes it when the answer is on its way already
            assert time.monotonic() < end, server.err
            time.sleep(0.02)
        figures = server.client.get("/metrics").text
        asking = threading.Thread(target=_asked_in_vain, args=(server.address,))
        asking.start()
        server.told(signal.SIGTERM)
        assert server.ended(12) == 0
        asking.join()
        assert 'napo_requests_total{method="DELETE",path="/v1/users/{user:path}",status="200"} 1.0' in figures
        for written in (server.out, server.err, figures):
            assert NAME not in written


def _posted(server):
    return server.client.post("/v1/events", json={"events": [event(5, user=USER)]})


def _say_no_http(address):
    """Bytes that uvicorn itself refuses, and warns of."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(f"GET {PATH} {NAME}\r\nX: {NAME}\r\n\r\n".encode())
        while client.recv(1_000):
            pass


def _asked_in_vain(address):
    with suppress(httpx2.TransportError):
        httpx2.get(f"{address}{PATH}/history", timeout=5)
