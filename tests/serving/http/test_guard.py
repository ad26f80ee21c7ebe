"""What is refused before anything is read, and what the server refuses to be."""

import asyncio

import pytest
from starlette.responses import Response

from napo.errors import UserError
from napo.serving.http import guard
from napo.serving.http.settings import ServerSettings
from tests.serving.http.http_desk import TOKEN, server


@pytest.fixture(scope="module")
def client():
    with server(most_body=500) as client:
        yield client


def test_a_body_that_is_too_long_is_a_413_whatever_length_it_claims(client):
    long = b'{"history": ["' + b"x" * 600 + b'"]}'
    assert client.post("/v1/recommend", content=long).status_code == 413

    def pieces():
        yield long[:300]
        yield long[300:]

    answer = client.post("/v1/recommend", content=pieces())
    assert answer.status_code == 413
    assert "more than 500 bytes" in answer.text
    wrong = client.post("/v1/recommend", content=b"{}", headers={"Content-Length": "-1"})
    assert wrong.status_code == 413


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("localhost", 200),
        ("[::1]:8000", 200),
        ("evil.example", 400),
        ("127.0.0.1.evil.example", 400),
        ("localhost@evil.example", 400),
        ("", 400),
    ],
)
def test_on_loopback_only_this_machines_names_are_answered(client, host, status):
    assert client.get("/healthz", headers={"Host": host}).status_code == status


def test_a_page_of_another_origin_may_look_and_not_write(client):
    foreign = {"Origin": "https://evil.example"}
    assert client.post("/v1/admin/reload", headers=foreign).status_code == 403
    assert client.post("/v1/recommend", json={"history": []}, headers=foreign).status_code == 403
    own = {"Origin": "http://127.0.0.1"}
    assert client.post("/v1/recommend", json={"history": []}, headers=own).status_code == 200


def test_a_form_of_any_page_is_no_json(client):
    answer = client.post("/v1/recommend", content='{"history": []}', headers={"Content-Type": "text/plain"})
    assert answer.status_code == 422


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com"])
def test_off_loopback_a_server_without_a_token_does_not_start(host):
    with pytest.raises(UserError, match="anybody could write") as caught:
        ServerSettings(host=host)
    assert "NAPO_TOKEN" in caught.value.remedy
    assert ServerSettings(host=host, token=TOKEN).names is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_on_loopback_no_token_is_needed(host):
    assert host in ServerSettings(host=host).names


def test_a_token_that_could_be_guessed_is_refused():
    with pytest.raises(UserError, match="could be guessed"):
        ServerSettings(token="secret")


def test_names_that_were_allowed_are_answered_too():
    with server(hosts=("films.example",)) as client:
        assert client.get("/healthz", headers={"Host": "films.example"}).status_code == 200
        assert client.get("/healthz", headers={"Host": "evil.example"}).status_code == 400


def test_over_so_many_under_way_the_next_is_told_when_to_come_again(monkeypatch):
    monkeypatch.setattr(guard, "TOGETHER", -255)  # one, beside the 256 that may wait
    asking = {"type": "http", "method": "GET", "path": "/v1/models", "headers": [(b"host", b"localhost")]}

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def run():
        inside, leave = asyncio.Event(), asyncio.Event()

        async def app(scope, receive, send):
            inside.set()
            if scope["path"] == "/v1/models":
                await leave.wait()
            await Response()(scope, receive, send)

        async def asked(path="/v1/models"):
            said, scope = [], {**asking, "path": path}

            async def send(message):
                said.append(message)

            await guarded(scope, receive, send)
            return said[0]["status"], dict(said[0]["headers"]).get(b"retry-after")

        guarded = guard.Guard(app, ServerSettings())
        first = asyncio.create_task(asked())
        await inside.wait()
        second, watched = await asked(), await asked("/healthz")
        leave.set()
        return await first, second, watched, await asked()

    assert asyncio.run(run()) == ((200, None), (503, b"1"), (200, None), (200, None))


def test_the_description_says_which_paths_want_the_token(client):
    assert "securitySchemes" not in client.get("/openapi.json").json()["components"]  # there is none
    with server(token=TOKEN) as guarded:
        schema = guarded.get("/openapi.json").json()
        answers = {path: guarded.get(path).status_code for path in ("/healthz", "/v1/models", "/metrics")}
    assert schema["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}
    for path, status in answers.items():
        assert (schema["paths"][path]["get"]["security"] != []) == (status == 401)
    assert schema["paths"]["/v1/recommend"]["post"]["security"] == [{"token": []}]
