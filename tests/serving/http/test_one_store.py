"""Real servers on one event store, a file or PostgreSQL: what one is told all know, and nothing is kept twice."""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from urllib.parse import quote

import pytest

from napo.events.store import EventStore
from tests import postgresql
from tests.events import promises
from tests.serving.http.served import ServedWriter, event, served

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def where(request, tmp_path_factory):
    if request.param == "sqlite":
        yield str(tmp_path_factory.mktemp("events") / "events.db")
        return
    pytest.importorskip("psycopg")
    with postgresql.running() as server:
        yield server.url


@pytest.fixture(scope="module")
def servers(where, starter, run, tmp_path_factory):
    """Two that begin at once, with nothing there yet."""
    folder = tmp_path_factory.mktemp("servers")
    with ExitStack() as stack:
        two = [starter.start(folder, run, NAPO_EVENTS_URL=where) for _ in range(2)]
        for one in two:
            stack.callback(one.end)
        for one in two:
            assert one.client.get("/readyz").status_code == 200
        yield two


@pytest.fixture
def store(where):
    with EventStore.open(where) as opened:
        for user in {one.user for one in opened}:
            opened.forget(user)
        yield opened


def post(server, *events):
    answer = server.client.post("/v1/events", json={"events": list(events)})
    assert answer.status_code == 200, answer.text
    return answer.json()


def history(server, user):
    answer = server.client.get(f"/v1/users/{quote(user, safe='')}/history")
    return [one["key"] for one in answer.json()["events"]] if answer.status_code == 200 else answer.status_code


def test_what_one_server_is_told_the_other_gives_recommends_by_and_forgets(servers, store):
    one, other = servers
    user = "Zoë / 7"
    assert post(one, event(8, user=user), event(9, user=user)) == {"stored": 2, "repeated": 0}
    assert history(one, user) == history(other, user) == ["k8", "k9"]
    asked = {"user": user, "k": 40, "exclude_seen": True}
    lists = [server.client.post("/v1/recommend", json=asked).json()["items"] for server in servers]
    assert [item["key"] for item in lists[0]] == [item["key"] for item in lists[1]]
    assert {"i08", "i09"}.isdisjoint(item["key"] for item in lists[1])
    assert other.client.delete(f"/v1/users/{quote(user, safe='')}").json() == {"forgotten": 2, "in_log": False}
    assert history(one, user) == history(other, user) == 404
    assert one.client.post("/v1/recommend", json=asked).status_code == 404


def test_a_key_that_is_sent_to_both_at_once_is_kept_once(servers, store):
    calls = [[event(number) for number in range(start, start + 10)] for start in range(0, 200, 10)]
    # the second gets each call's events in the other order: the two wait for each other's keys
    with ThreadPoolExecutor(8) as pool:
        answers = [
            pool.submit(post, server, *(call if server is servers[0] else call[::-1]))
            for call in calls
            for server in servers
        ]
    said = [answer.result() for answer in answers]
    assert all(one["stored"] + one["repeated"] == 10 for one in said)
    assert sum(one["stored"] for one in said) == 200
    assert sorted(one.key for one in store) == sorted(f"k{number}" for number in range(200))


def test_a_user_is_forgotten_during_a_stream(servers, store):
    """Four clients send events of three users, each call twice, while one of the users is forgotten again and again."""
    last, over = threading.Event(), time.monotonic() + 4

    def stream(server, begin):
        number = begin
        while time.monotonic() < over:
            events = [event(one) for one in range(number, number + 6)]
            said = [post(server, *events) for _ in range(2)]
            assert all(one["stored"] + one["repeated"] == 6 for one in said)
            assert said[1]["stored"] <= 2  # those of the user who was forgotten in between
            number += 6
        return range(begin, number)

    def forget():
        times = 0
        while not last.is_set():
            for server in servers:
                assert server.client.delete("/v1/users/u1").status_code == 200
                times += 1
        return times

    with ThreadPoolExecutor(5) as pool:
        # two by two on the same numbers: the same keys at both servers at once
        streams = [pool.submit(stream, server, begin) for begin in (0, 300_000) for server in servers]
        forgetting = pool.submit(forget)
        try:
            sent = {number for one in streams for number in one.result()}
        finally:
            last.set()
        assert forgetting.result() > 5
    servers[0].client.delete("/v1/users/u1")
    assert history(servers[1], "u1") == 404
    kept = sorted(one.key for one in store)
    assert kept == sorted(f"k{number}" for number in sent if number % 3 != 1)


def test_all_that_was_acknowledged_outlives_twenty_sigkills(where, store, starter, run, tmp_path):
    def writer_from(first):
        return ServedWriter(starter.start(tmp_path, run, NAPO_EVENTS_URL=where), first)

    promises.survives_sigkill(writer_from, store, within=0.05)


def test_what_was_acknowledged_while_it_was_told_to_stop_is_there(where, store, starter, run, tmp_path):
    with served(starter, tmp_path, run, NAPO_EVENTS_URL=where) as server:
        writers = [ServedWriter(server, first) for first in (0, 300_000, 600_000)]
        heard = [writer.heard() for writer in writers]
        begun = time.monotonic()
        server.told(signal.SIGTERM)
        assert server.ended(12) == 0
        assert time.monotonic() - begun < 10
        acknowledged = [max([*writer.killed(), number]) for writer, number in zip(writers, heard, strict=True)]
        assert "Traceback" not in server.err
    kept = [one.key for one in store]
    assert len(kept) == len(set(kept))
    for first, number in zip((0, 300_000, 600_000), acknowledged, strict=True):
        assert {f"k{one}" for one in range(first, number + 1)} <= set(kept)
