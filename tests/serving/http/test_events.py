"""Events over HTTP: kept before they are acknowledged, part of the next list, forgotten when asked."""

import os

import pytest

from napo.errors import UserError
from napo.events.store import EventStore, StoreUnavailable
from napo.serving.http import events as module
from napo.serving.http.events import events_beside, events_of
from tests.recommenders import small_recommender
from tests.serving.http.http_desk import BEARER, TOKEN, server


@pytest.fixture
def store(tmp_path):
    with EventStore.open(tmp_path / "events.db") as store:
        yield store


@pytest.fixture
def client(store):
    with server(store=store) as client:
        yield client


def post(client, *events, **more):
    return client.post("/v1/events", json={"events": list(events), **more})


def event(user="dan", item="i08", kind="took", **more):
    return {"user": user, "item": item, "kind": kind, **more}


def keys(client, **body):
    answer = client.post("/v1/recommend", json=body)
    assert answer.status_code == 200, answer.text
    return [item["key"] for item in answer.json()["items"]]


def test_an_acknowledged_event_is_in_the_store_and_comes_once(client, store):
    one = event(key="k1", request="r", position=2, time=1_700_000_000_000, propensity=0.5)
    assert post(client, one, event(item="Alien", key="k2")).json() == {"stored": 2, "repeated": 0}
    assert post(client, one).json() == {"stored": 0, "repeated": 1}
    assert [(kept.item, kept.position, kept.propensity) for kept in store if kept.key == "k1"] == [("i08", 2, 0.5)]
    assert {kept.item for kept in store} == {"i08", "i00"}  # a title is kept as its item's key
    assert post(client, event(item="i09", key="k1")).status_code == 409


def test_a_user_whom_only_events_know_gets_what_follows_them(client):
    assert client.post("/v1/recommend", json={"user": "dan"}).status_code == 404
    post(
        client, event(item="i08"), event(item="i09"), event(item="i20", kind="skipped"), event(item="i21", kind="shown")
    )
    expected = [one.key for one in small_recommender().recommend(["i08", "i09"], k=40)]
    found = keys(client, user="dan", k=40)
    assert found == [key for key in expected if key != "i20"]  # a skipped item was met, one that was shown was not
    assert "i21" in found
    assert client.post("/v1/score", json={"user": "dan", "titles": ["Alien"]}).json()["scores"][0][
        "log_prob"
    ] == pytest.approx(small_recommender().score(["i08", "i09"], ["Alien"])[0], abs=1e-5)


def test_what_came_since_follows_what_the_log_knows_and_is_not_repeated(client):
    post(client, event(user="ann", item="i09"), event(user="ann", item="i30", kind="took"))
    # ann's log is i08, i09, and she has met i00
    expected = [one.key for one in small_recommender().recommend(["i08", "i09", "i30"], k=40)]
    assert keys(client, user="ann", k=40) == [key for key in expected if key != "i00"]


def test_of_many_events_the_newest_count_and_a_note_says_so(client, monkeypatch):
    monkeypatch.setattr(module, "MOST_SINCE", 3)
    times = (1_700_000_000_000 + number for number in range(10))
    post(client, *(event(item=item, time=next(times)) for item in ("i07", "i08", "i09")))
    said = client.post("/v1/recommend", json={"user": "dan", "k": 40}).json()
    assert len(said["items"]) == 37
    assert not any("newest" in note for note in said["notes"])
    post(client, event(item="i20", kind="skipped", time=next(times)))
    said = client.post("/v1/recommend", json={"user": "dan", "k": 40}).json()
    expected = [one.key for one in small_recommender(max_history=20).recommend(["i08", "i09"], k=40)]
    assert [item["key"] for item in said["items"]] == [key for key in expected if key != "i20"]  # and i07 again
    assert "of what came since, the newest 3 events count" in said["notes"]


def test_a_history_shows_the_log_and_the_newest_events(client):
    post(client, *(event(user="ann", item=f"i{number}", time=1_700_000_000_000 + number) for number in range(10, 15)))
    said = client.get("/v1/users/ann/history", params={"newest": 2}).json()
    assert [item["key"] for item in said["log"]] == ["i08", "i09"]
    assert [one["item"] for one in said["events"]] == ["i13", "i14"]
    assert client.get("/v1/users/ann/history", params={"kinds": "skipped"}).json()["events"] == []
    assert client.get("/v1/users/nobody/history").status_code == 404


def test_a_user_is_forgotten_whatever_the_key_looks_like(client, store):
    for user in ("dan", "a/b c?é", "history"):
        post(client, event(user=user))
        path = f"/v1/users/{_quoted(user)}"
        assert len(client.get(f"{path}/history").json()["events"]) == 1
        assert client.delete(path).json() == {"forgotten": 1, "in_log": False}
        assert client.get(f"{path}/history").status_code == 404
    assert len(store) == 0
    assert store.forgotten() == {}  # no model has met them: nothing is left


def test_a_user_of_the_log_who_is_forgotten_is_noted_as_one_to_unlearn(client, store):
    post(client, event(user="ann"))
    for forgotten in (1, 0):  # twice is once
        assert client.delete("/v1/users/ann").json() == {"forgotten": forgotten, "in_log": True}
        assert list(store.forgotten()) == ["ann"]


def _quoted(user):
    from urllib.parse import quote

    return quote(user, safe="")


def test_a_store_that_can_not_do_it_now_is_a_503_and_the_next_call_works(client, store, monkeypatch):
    def locked(*given):
        raise StoreUnavailable("database is locked", where="/secret/place")

    with monkeypatch.context() as patch:
        patch.setattr(EventStore, "append", locked)
        answer = post(client, event())
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "5"
        assert "secret" not in answer.text
    assert post(client, event()).status_code == 200


def test_events_need_the_token_and_a_page_of_the_same_origin(store):
    with server(store=store, token=TOKEN, host="0.0.0.0") as client:
        assert post(client, event()).status_code == 401
        assert client.delete("/v1/users/ann").status_code == 401
        assert client.get("/v1/users/ann/history").status_code == 401
        assert client.delete("/v1/users/ann", headers=BEARER | {"Origin": "http://evil.example"}).status_code == 403
        assert client.get("/v1/users/ann/history", headers=BEARER).status_code == 200


def test_a_server_without_a_store_has_no_such_paths():
    with server() as client:
        assert post(client, event()).status_code == 404


def test_events_lie_in_a_runs_folder_and_beside_a_saved_model_which_may_be_replaced(tmp_path):
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "saved").mkdir()
    assert events_beside(tmp_path / "run") == tmp_path / "run" / "events.db"
    assert events_beside(tmp_path / "saved") == tmp_path / "saved.events.db"


REFRESHED = """
data: {interactions: newer.csv, catalog: model/catalog.parquet}
refresh: {run: ../mine}
"""


def test_events_go_on_when_a_link_is_moved_to_the_refreshed_run(tmp_path):
    """As docs/refresh.md has it: the link is moved, the server reloads, and a later one starts on the link."""
    from napo.cli import serve

    runs, link = tmp_path / "runs", tmp_path / "runs" / "latest"
    for name in ("mine", "mine-r2"):
        small_recommender().save(runs / name / "model")
    (runs / "mine-r2" / "recipe.yaml").write_text(REFRESHED)
    link.symlink_to("mine")
    with serve._store(None, {"mine": link}) as store, server({"mine": link}, store=store) as client:
        post(client, event(item="i08"))
        link.unlink()
        link.symlink_to("mine-r2")
        assert client.post("/v1/admin/reload").status_code == 200
        store.close()  # every connection is a new one now
        assert post(client, event(item="i09")).json() == {"stored": 1, "repeated": 0}
        assert [one["item"] for one in client.get("/v1/users/dan/history").json()["events"]] == ["i08", "i09"]
    with serve._store(None, {"mine-r2": link}) as store:
        assert [one.item for one in store] == ["i08", "i09"]
    assert not (runs / "mine-r2" / "events.db").exists()
    (runs / "mine-r2" / "recipe.yaml").write_text("of: another napo")
    assert serve._store(None, {"mine-r2": link}).address.path == runs / "mine-r2" / "events.db"


def test_a_refreshed_runs_own_events_come_before_those_of_the_run_that_it_goes_on_from(tmp_path):
    for name in ("mine", "mine-r2"):
        (tmp_path / name / "model").mkdir(parents=True)
    (tmp_path / "mine-r2" / "recipe.yaml").write_text(REFRESHED)
    assert events_of(tmp_path / "mine-r2") == tmp_path / "mine-r2" / "events.db"  # none there yet
    (tmp_path / "mine" / "events.db").touch()
    assert events_of(tmp_path / "mine-r2") == tmp_path / "mine" / "events.db"
    (tmp_path / "mine-r2" / "events.db").touch()
    assert events_of(tmp_path / "mine-r2") == tmp_path / "mine-r2" / "events.db"


def test_the_command_opens_the_store_that_it_is_told_to(tmp_path, monkeypatch):
    from napo.cli import serve

    small_recommender().save(tmp_path / "run" / "model")
    own = serve._store(None, {"run": tmp_path / "run"})
    assert own.address.path == tmp_path / "run" / "events.db"
    named = serve._store(str(tmp_path / "other.db"), {"run": tmp_path / "run"})
    assert named.address.path == tmp_path / "other.db"
    assert serve._store(None, {"x": tmp_path / "nowhere"}) is None  # loading it will say that it is no run
    with monkeypatch.context() as patch:  # as a folder that a container sees read-only
        patch.setattr(os, "access", lambda path, mode: False)
        assert serve._store(None, {"run": tmp_path / "run"}) is None
    monkeypatch.setattr(serve, "find_spec", lambda name: None)
    assert serve._store(None, {"run": tmp_path / "run"}) is None
    with pytest.raises(UserError, match="events need sqlalchemy"):
        serve._store("events.db", {"run": tmp_path / "run"})
