"""Requests that can't be answered: a clear 4xx with what, where and the remedy, and nothing kept.

Case 17 (cold users, histories typed by hand) over HTTP is among them.
"""

import json
from typing import Any

import pytest

from napo.events.store import EventStore
from tests.serving.http.http_desk import BEARER, TOKEN, server

JSON = {"Content-Type": "application/json"}
ALIEN = ["Alien"]
EVENT = {"user": "dan", "item": "i08", "kind": "took"}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with EventStore.open(tmp_path_factory.mktemp("events") / "events.db") as store:
        yield store


@pytest.fixture(scope="module")
def client(store):
    with server(store=store) as client:
        yield client


def assert_refused(answer: Any, status: int, said: list[str]) -> None:
    """The status, the words, and a remedy for each mistake; no traceback, and nothing of the machine."""
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"errors"}
    text = json.dumps(answer.json(), ensure_ascii=False).replace('\\"', '"').replace("\\\\", "\\")
    assert [words for words in said if words not in text] == [], text
    assert all(one["what"] and one["remedy"] for one in answer.json()["errors"]), text
    assert "Traceback" not in text
    assert "constrained" not in text
    assert len(text) < 3_000


# -- POST /v1/recommend: case 17 first


RECOMMEND: dict[str, tuple[dict[str, Any], int, list[str]]] = {
    "an unknown user": ({"user": "nobody"}, 404, ["no user 'nobody'", "`history`"]),
    "an empty user": ({"user": ""}, 404, ["no user ''", "`history`"]),
    "a number that is no user": ({"user": 42}, 404, ["no user '42'"]),
    "a path for a user": ({"user": "../../etc/passwd"}, 404, ["no user '../../etc/passwd'"]),
    "a user of control characters": ({"user": "a\0b"}, 404, ["no user 'a\\x00b'"]),
    "a user who has seen all": ({"user": "cay"}, 422, ["seen the whole catalog"]),
    "a title with a slip": ({"history": ["Titel number 3"]}, 422, ["history, item 1", "Title number 3"]),
    "two slips": ({"history": ["Alien", "Alein", "Crahs"]}, 422, ["'Alein'", "'Crahs'", "item 3"]),
    "an empty title": ({"history": [""]}, 422, ["'' is not a title", "history, item 1"]),
    "a path for a title": ({"history": ["../../etc/passwd"]}, 422, ["'../../etc/passwd' is not a title"]),
    "a title of control characters": ({"history": ["a\0\x1b[31m"]}, 422, ["'a\\x00\\x1b[31m' is not a title"]),
    "markup for a title": ({"history": ["<script>alert(1)</script>"]}, 422, ["is not a title"]),
    "a title of two thousand letters": ({"history": ["x" * 2000]}, 422, ["xxx...' is not a title"]),
    "a title of a page": ({"history": ["x" * 2001]}, 422, ["at most 2,000 characters", "body.history.0"]),
    "a key of 400 digits": ({"history": [10**400]}, 422, ["000...' is not a title"]),
    "a number that is no key": ({"history": [7]}, 422, ["'7' is not a title"]),
    "a user and a history": ({"history": ALIEN, "user": "ann"}, 422, ["both a user and a history", "history, user"]),
    "nobody": ({}, 422, ["whom to recommend to?", "either `history`"]),
    "one title for a history": ({"history": "Alien"}, 422, ["valid list", "body.history", "a list"]),
    "truth for a title": ({"history": [True]}, 422, ["valid string", "a text or a whole number"]),
    "nothing for a title": ({"history": [None]}, 422, ["body.history.0", "a text or a whole number"]),
    "a list for a title": ({"history": [["Alien"]]}, 422, ["body.history.0", "a text or a whole number"]),
    "an object for a history": ({"history": {"a": 1}}, 422, ["body.history", "a list"]),
    "an object for a user": ({"user": {"a": 1}}, 422, ["body.user", "a text or a whole number"]),
    "too long a history": ({"history": ALIEN * 1001}, 422, ["history is 1,001; this server takes 1,000"]),
    "no items": ({"history": ALIEN, "k": 0}, 422, ["body.k", "at least 1"]),
    "fewer than no items": ({"history": ALIEN, "k": -3}, 422, ["body.k", "at least 1"]),
    "too many items": ({"history": ALIEN, "k": 1001}, 422, ["k is 1,001; this server takes 1,000"]),
    "too many to explain": ({"history": ALIEN, "k": 21, "explain": True}, 422, ["takes 20 with `explain`"]),
    "a word for k": ({"history": ALIEN, "k": "ten"}, 422, ["body.k", "a whole number"]),
    "half an item": ({"history": ALIEN, "k": 1.5}, 422, ["body.k", "a whole number"]),
    "truth for k": ({"history": ALIEN, "k": True}, 422, ["body.k", "a whole number"]),
    "nothing for k": ({"history": ALIEN, "k": None}, 422, ["body.k", "a whole number"]),
    "a word for explain": ({"history": ALIEN, "explain": "yes"}, 422, ["body.explain", "true or false"]),
    "a key with a slip": ({"histroy": ALIEN}, 422, ["not permitted", "body.histroy", "see /docs"]),
    "an unknown model": ({"history": ALIEN, "model": "other"}, 404, ["no model 'other'", "one of: small"]),
    "a path for a model": ({"history": ALIEN, "model": "../../etc/passwd"}, 404, ["no model '../../etc/passwd'"]),
    "a number for a model": ({"history": ALIEN, "model": 3}, 422, ["body.model", "a text"]),
}

FILTERS: dict[str, tuple[Any, list[str]]] = {
    "a list for a filter": ([], ["body.filter", "a JSON object"]),
    "no filter": (None, ["body.filter", "a JSON object"]),
    "a key with a slip": ({"wehre": []}, ["body.filter.wehre", "see /docs"]),
    "one condition": ({"where": "genre=War"}, ["body.filter.where", "a list"]),
    "51 conditions": ({"where": ["genre=War"] * 51}, ["body.filter.where", "at most 50"]),
    "a column with a slip": ({"where": ["gnere=War"]}, ["no column 'gnere'", "`genre`"]),
    "a value with a slip": ({"where": ["genre=Wra"]}, ["no item has genre=Wra", "War"]),
    "no condition": ({"where": ["genre"]}, ["'genre' is no condition", "year>="]),
    "SQL for a value": ({"where": ["genre='; DROP TABLE x--"]}, ["no item has genre='; DROP", "values are"]),
    "a word for a number": ({"where": ["Year>=soon"]}, ["'soon' is not a number", "`=`, `!=` or `in`"]),
    "a cap of none": ({"caps": {"genre": 0}}, ["a cap of 0", "caps: genre", "at least 1"]),
    "half a cap": ({"caps": {"genre": 1.5}}, ["body.filter.caps.genre", "a whole number"]),
    "a cap on no column": ({"caps": {"gnere": 1}}, ["no column 'gnere'", '"caps"', "`genre`"]),
    "nothing allowed": ({"allow": []}, ["no item is left by the allow list"]),
    "an unknown title allowed": ({"allow": ["Alein"]}, ["'Alein'", "allow, item 1", "Alien"]),
    "an unknown title blocked": ({"block": ["Alein"]}, ["'Alein'", "block, item 1", "Alien"]),
    "all blocked": ({"block": [f"i{item:02d}" for item in range(40)] + ["Title number 30"]}, ["no item is left"]),
}


@pytest.mark.parametrize("mistake", RECOMMEND)
def test_a_mistake_in_what_is_asked(client, mistake):
    body, status, said = RECOMMEND[mistake]
    assert_refused(client.post("/v1/recommend", content=json.dumps(body), headers=JSON), status, said)


@pytest.mark.parametrize("mistake", FILTERS)
def test_a_mistake_in_a_filter(client, mistake):
    given, said = FILTERS[mistake]
    assert_refused(client.post("/v1/recommend", json={"history": ALIEN, "filter": given}), 422, said)


# -- bodies and headers


BODIES: dict[str, tuple[bytes, int, list[str]]] = {
    "nothing": (b"", 422, ["body", "see /docs"]),
    "half an object": (b"{", 422, ["JSON decode error", "a JSON object in UTF-8"]),
    "an object and more": (b'{"history": []} x', 422, ["JSON decode error", "a JSON object"]),
    "null": (b"null", 422, ["body", "a JSON object"]),
    "a list": (b"[]", 422, ["body", "a JSON object"]),
    "a text": (b'"x"', 422, ["body", "a JSON object"]),
    "a zero": (b"\0", 422, ["JSON decode error", "a JSON object in UTF-8"]),
    "an endless number": (b'{"history": [1e999]}', 422, ["body.history.0", "whole number"]),
    "k of NaN": (b'{"history": ["Alien"], "k": NaN}', 422, ["body.k", "a whole number"]),
    "k without end": (b'{"history": ["Alien"], "k": Infinity}', 422, ["body.k", "a whole number"]),
    "k of 5000 digits": (b'{"history": ["Alien"], "k": 1' + b"0" * 5000 + b"}", 400, ["a JSON object in UTF-8"]),
    "no UTF-8": (b'{"history": ["\xff\xfe"]}', 400, ['"body"', "a JSON object in UTF-8"]),
    "half a character": (b'{"history": ["\\ud800"]}', 422, ["body.history.0", "without halves of characters"]),
    "half a character for a key": (b'{"\\ud800": 1}', 422, ["body", "without halves of characters"]),
    "brackets without a bottom": (b'{"history": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", 400, ["a JSON object"]),
    "something packed": (b"\x1f\x8b\x08\0", 400, ["a JSON object in UTF-8"]),
    "too much": (
        b'{"history": ["' + b"x" * 1_000_000 + b'"]}',
        413,
        ["more than 1,000,000 bytes", "a shorter history"],
    ),
}

HEADERS: dict[str, tuple[dict[str, Any], int, list[str]]] = {
    "a form": ({"Content-Type": "application/x-www-form-urlencoded"}, 422, ["not as JSON", "application/json"]),
    "a plain text": ({"Content-Type": "text/plain"}, 422, ["sent as text/plain, not as JSON", "Content-Type"]),
    "no type": ({"Content-Type": ""}, 422, ["not as JSON", "`Content-Type: application/json`"]),
    "another origin": (JSON | {"Origin": "https://evil.example"}, 403, ["another origin", "Origin"]),
    "an origin of nowhere": (JSON | {"Origin": "null"}, 403, ["another origin"]),
    "an origin that is none": (JSON | {"Origin": "http://[::1"}, 403, ["another origin"]),
    "another server's name": (JSON | {"Host": "evil.example"}, 400, ["not known as 'evil.example'", "--allow-host"]),
    "a name that is none": (JSON | {"Host": "[::1"}, 400, ["not known as '[::1'", "Host"]),
    "a length below zero": (JSON | {"Content-Length": "-1"}, 413, ["bytes"]),
    "a length of 30 digits": (JSON | {"Content-Length": "9" * 30}, 413, ["bytes", "a shorter history"]),
}


@pytest.mark.parametrize("mistake", BODIES)
def test_a_body_that_is_none(client, mistake):
    body, status, said = BODIES[mistake]
    assert_refused(client.post("/v1/recommend", content=body, headers=JSON), status, said)


@pytest.mark.parametrize("mistake", HEADERS)
def test_a_header_that_does_not_go(client, mistake):
    headers, status, said = HEADERS[mistake]
    assert_refused(client.post("/v1/recommend", content=b'{"history": []}', headers=headers), status, said)


TOKENS: dict[str, dict[str, Any]] = {
    "no token": {},
    "a bare token": {"Authorization": TOKEN},
    "a password": {"Authorization": f"Basic {TOKEN}"},
    "a wrong token": {"Authorization": "Bearer wrong"},
    "an empty token": {"Authorization": "Bearer "},
    "most of the token": {"Authorization": f"Bearer {TOKEN[:-1]}"},
    "two tokens": {"Authorization": f"Bearer {TOKEN}, {TOKEN}"},
    "no ASCII": {"Authorization": b"Bearer \xff\xfe"},
}


@pytest.fixture(scope="module")
def guarded(store):
    with server(store=store, token=TOKEN, host="0.0.0.0") as client:
        yield client


@pytest.mark.parametrize("mistake", TOKENS)
def test_a_token_that_is_not_the_servers(guarded, mistake):
    answer = guarded.post("/v1/recommend", json={"history": []}, headers=TOKENS[mistake])
    assert_refused(answer, 401, ["no token, or a wrong one", "`Authorization: Bearer TOKEN`"])
    assert answer.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in answer.text


def test_the_token_opens_what_it_should(guarded):
    assert guarded.post("/v1/recommend", json={"history": []}, headers=BEARER).status_code == 200


# -- other paths


PATHS: dict[str, tuple[str, str, Any, int, list[str]]] = {
    "a method that is none": ("GET", "/v1/recommend", None, 405, ["Method Not Allowed", "POST; see /docs"]),
    "writing where one reads": ("PUT", "/v1/items", None, 405, ["Method Not Allowed", "GET"]),
    "reloading by a link": ("GET", "/v1/admin/reload", None, 405, ["Method Not Allowed", "POST"]),
    "a path that is none": ("GET", "/v2/recommend", None, 404, ["Not Found", "/v2/recommend", "see /docs"]),
    "a way out": ("GET", "/..%2f..%2fetc/passwd", None, 404, ["Not Found", "see /docs"]),
    "a way out in dots": ("GET", "/%2e%2e/%2e%2e/etc/passwd", None, 404, ["Not Found"]),
    "a path of a zero": ("GET", "/%00", None, 404, ["Not Found"]),
    "no report": ("GET", "/report", None, 404, ["has no report", "napo evaluate"]),
    "a report of elsewhere": ("GET", "/report?model=../../etc", None, 404, ["no model '../../etc'", "small"]),
    "no titles to score": ("POST", "/v1/score", {"history": ALIEN}, 422, ["Field required", "body.titles", "send it"]),
    "an empty list to score": ("POST", "/v1/score", {"history": ALIEN, "titles": []}, 422, ["at least 1"]),
    "an unknown title to score": (
        "POST",
        "/v1/score",
        {"history": ALIEN, "titles": ["Alein"]},
        422,
        ["titles, item 1"],
    ),
    "too many to score": ("POST", "/v1/score", {"history": ALIEN, "titles": ALIEN * 1001}, 422, ["titles is 1,001"]),
    "nobody to score for": ("POST", "/v1/score", {"titles": ALIEN}, 422, ["whom to recommend to?"]),
    "no search": ("GET", "/v1/items", None, 422, ["Field required", "query.q"]),
    "a search of a page": ("GET", "/v1/items?q=" + "x" * 501, None, 422, ["query.q", "at most 500 characters"]),
    "a search for nothing": ("GET", "/v1/items?q=x&limit=0", None, 422, ["query.limit", "at least 1"]),
    "a search for too much": ("GET", "/v1/items?q=x&limit=101", None, 422, ["query.limit", "at most 100"]),
    "a word for a limit": ("GET", "/v1/items?q=x&limit=ten", None, 422, ["query.limit", "a whole number"]),
    "a search of no model": ("GET", "/v1/items?q=x&model=other", None, 404, ["no model 'other'", "small"]),
    "the history of nobody": ("GET", "/v1/users/nobody/history", None, 404, ["no user 'nobody'"]),
    "the history of a file": ("GET", "/v1/users/..%2F..%2Fetc%2Fpasswd/history", None, 404, ["no user '../../etc"]),
    "the history of a page": ("GET", f"/v1/users/{'x' * 501}/history", None, 422, ["path.user", "at most 500"]),
    "the newest none": ("GET", "/v1/users/ann/history?newest=0", None, 422, ["query.newest", "at least 1"]),
    "events of no kind": ("GET", "/v1/users/ann/history?kinds=liked", None, 422, ["query.kinds.0", "'took'"]),
}


@pytest.mark.parametrize("mistake", PATHS)
def test_a_path_that_does_not_go(client, mistake):
    method, path, body, status, said = PATHS[mistake]
    assert_refused(client.request(method, path, json=body), status, said)


# -- events


EVENTS: dict[str, tuple[dict[str, Any], int, list[str]]] = {
    "an unknown item": ({"item": "Alein"}, 422, ["'Alein' is not a title", "events, item 2", "Alien"]),
    "another kind": ({"kind": "liked"}, 422, ["body.events.1.kind", "'took', 'skipped' or 'shown'"]),
    "an empty user": ({"user": ""}, 422, ["the user is empty"]),
    "no user": ({"user": None}, 422, ["body.events.1.user", "a text or a whole number"]),
    "a user of a zero": ({"user": "a\0b"}, 422, ["can't be stored", "plain Unicode text"]),
    "a user of a page": ({"user": "x" * 501}, 422, ["the user has 501 characters", "at most 500"]),
    "seconds": ({"time": 1_700_000_000}, 422, ["outside 1973 to 2099", "milliseconds"]),
    "a time before all": ({"time": -1}, 422, ["outside 1973 to 2099"]),
    "a time of 30 digits": ({"time": 10**30}, 422, ["outside 1973 to 2099"]),
    "a word for a time": ({"time": "now"}, 422, ["body.events.1.time", "a whole number"]),
    "no place in a list": ({"position": 0}, 422, ["positions count from 1"]),
    "a place of 30 digits": ({"position": 10**30}, 422, ["no position", "positions count from 1"]),
    "more than certain": ({"propensity": 1.5}, 422, ["is no chance", "above 0, at most 1"]),
    "a chance of NaN": ({"propensity": float("nan")}, 422, ["nan is no chance"]),
    "a word for a chance": ({"propensity": "0.5"}, 422, ["body.events.1.propensity", "a number"]),
    "an empty key": ({"key": ""}, 422, ["the key is empty"]),
    "a field nobody knows": ({"colour": "red"}, 422, ["not permitted", "body.events.1.colour"]),
}

CALLS: dict[str, tuple[Any, int, list[str]]] = {
    "no events": ({"events": []}, 422, ["body.events", "at least 1"]),
    "too many events": ({"events": [EVENT] * 1001}, 422, ["body.events", "at most 1,000"]),
    "one event without its list": ({"events": EVENT}, 422, ["body.events", "a list"]),
    "a list without its name": ([EVENT], 422, ["body", "a JSON object"]),
    "a good one and half a one": ({"events": [EVENT, {"user": "dan"}]}, 422, ["body.events.1.item", "send it"]),
    "a model nobody serves": ({"events": [EVENT], "model": "other"}, 404, ["no model 'other'", "small"]),
    "one key for two": (
        {"events": [{**EVENT, "key": "k"}, {**EVENT, "item": "i09", "key": "k"}]},
        409,
        ["the key is that of another event", "a new key for each event"],
    ),
}


@pytest.mark.parametrize("mistake", EVENTS)
def test_a_mistake_in_an_event_keeps_nothing(client, store, mistake):
    given, status, said = EVENTS[mistake]
    body = json.dumps({"events": [EVENT, {**EVENT, **given}]})
    assert_refused(client.post("/v1/events", content=body, headers=JSON), status, said)
    assert len(store) == 0


@pytest.mark.parametrize("mistake", CALLS)
def test_a_mistake_in_a_call_keeps_nothing(client, store, mistake):
    body, status, said = CALLS[mistake]
    assert_refused(client.post("/v1/events", json=body), status, said)
    assert len(store) == 0


def test_a_title_of_two_items_is_answered_and_said(client):
    answer = client.post("/v1/recommend", json={"history": ["Crash"]})
    assert answer.status_code == 200
    assert "'Crash' is the title of several items: all of them count as seen" in answer.json()["notes"]
