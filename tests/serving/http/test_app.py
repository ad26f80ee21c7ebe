"""The server's answers over HTTP: the library's own lists, and a clear 4xx for whatever is wrong."""

import json

import pytest

from napo import Filter
from napo.serving.http import bodies
from tests.recommenders import TITLES, small_recommender
from tests.serving.http.http_desk import BEARER, TOKEN, server


@pytest.fixture(scope="module")
def client():
    with server() as client:
        yield client


@pytest.fixture(scope="module")
def recommender():
    return small_recommender(max_history=20)


def asked(client, **body):
    answer = client.post("/v1/recommend", json=body)
    assert answer.status_code == 200, answer.text
    return as_said(answer.json(), bodies.Recommended)


def as_said(answer, schema):
    """The answer, which has to be what the schema says, no more and no less."""
    assert schema.model_validate(answer, strict=True).model_dump() == answer
    return answer


def test_the_list_is_the_librarys_own(client, recommender):
    history = ["Alien", "title NUMBER 9 ", "i20"]
    body = asked(client, history=history, k=7)
    expected = recommender.recommend(history, k=7).to_json()["items"]
    assert body["model"] == "small"
    assert [item["item"] for item in body["items"]] == [item["item"] for item in expected]
    for got, wanted in zip(body["items"], expected, strict=True):
        assert got["log_prob"] == pytest.approx(wanted["log_prob"], abs=1e-5)
        assert {name: got[name] for name in wanted if name != "log_prob"} == {
            name: value for name, value in wanted.items() if name != "log_prob"
        }


def test_a_user_gets_what_the_library_gives(client, recommender):
    keys = [item["key"] for item in asked(client, user="ann", k=40)["items"]]
    assert keys == [item.key for item in recommender.recommend(user="ann", k=40)]


def test_filters_lists_and_caps_are_the_librarys(client, recommender):
    filter = {"where": ["genre in Drama, Comedy"], "block": ["crash"], "caps": {"genre": 2}}
    body = asked(client, history=["Alien"], k=9, filter=filter)
    expected = recommender.recommend(["Alien"], k=9, filter=Filter(filter["where"], None, ["crash"], {"genre": 2}))
    assert [item["key"] for item in body["items"]] == [item.key for item in expected]
    assert body["notes"] == list(expected.notes)
    assert [item["key"] for item in asked(client, history=["Alien"], filter={"allow": ["i07"]})["items"]] == ["i07"]


def test_explain_says_of_each_item_why(client, recommender):
    items = asked(client, history=["Alien", "i20"], k=3, explain=True)["items"]
    for item in items:
        expected = recommender.explain(["Alien", "i20"], item["title"])
        assert item["why"]["prior"] == pytest.approx(expected.prior, abs=1e-5)
        assert item["why"]["log_prob"] == pytest.approx(item["log_prob"], abs=1e-4)
        assert len(item["why"]["history"]) == 2
    assert asked(client, history=["Alien"], k=1)["items"][0]["why"] is None


def test_scores_come_in_the_order_asked_for(client, recommender):
    titles = ["Aliens", "i05", "Crash"]
    answer = client.post("/v1/score", json={"history": ["Alien"], "titles": titles, "explain": True}).json()
    as_said(answer, bodies.Scores)
    assert [one["key"] for one in answer["scores"]] == ["i01", "i05", "i02"]
    expected = recommender.score(["Alien"], titles)
    assert [one["log_prob"] for one in answer["scores"]] == pytest.approx(expected, abs=1e-5)
    assert answer["scores"][0]["why"]["lift"] == pytest.approx(recommender.explain(["Alien"], "Aliens").lift, abs=1e-4)


def test_keys_that_are_numbers_may_come_as_numbers(client):
    answer = client.post("/v1/recommend", json={"history": [7]})
    assert answer.json()["errors"][0]["what"].startswith("'7' is not a title")  # understood, and not there


# -- case 17: cold users, and histories typed by hand; the mistakes are in tests/bad_input/test_requests.py


def test_an_empty_history_gives_popular_items_under_that_name(client):
    body = asked(client, history=[], k=2)
    assert [item["key"] for item in body["items"]] == ["i00", "i01"]
    assert body["notes"] == ["no history: the most popular items"]
    assert body["items"][0]["log_prob"] is None


def test_500_titles_are_cut_at_the_old_end_and_the_same_title_ten_times_is_a_history(client):
    notes = asked(client, history=["Title number 8", "Title number 9"] * 250)["notes"]
    assert notes == ["history cut to the newest 20 of 500 items"]
    assert "Alien" not in [item["title"] for item in asked(client, history=["Alien"] * 10)["items"]]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/v1/recommend", 405), ("GET", "/../../etc/passwd", 404), ("GET", "/x", 404)]
)
def test_paths_that_there_are_not_are_json_too(client, method, path, status):
    answer = client.request(method, path)
    assert (answer.status_code, set(answer.json())) == (status, {"errors"})


def test_titles_are_found_by_beginning_word_and_slip(client):
    def found(q, **more):
        return [item["title"] for item in client.get("/v1/items", params={"q": q, **more}).json()["items"]]

    assert found("alie")[:2] == ["Alien", "Aliens"]
    assert found("myself")[0] == "Me; Myself"
    assert found("Titel numbr 31")[0] == "Title number 31"
    assert len(found("title", limit=5)) == 5
    assert found("") == []
    assert client.get("/v1/items").status_code == 422
    assert client.get("/v1/items", params={"q": "x", "limit": 101}).status_code == 422


def test_what_is_served_is_listed_and_the_schema_is_there(client):
    (said,) = client.get("/v1/models").json()["models"]
    assert (said["name"], said["items"], said["users"], said["columns"]) == ("small", 40, 3, ["genre", "Year"])
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/v1/recommend", "/v1/score", "/v1/items", "/v1/admin/reload", "/healthz", "/readyz"} <= set(paths)
    assert client.get("/docs").status_code == 200


def test_health_and_figures(client):
    assert client.get("/healthz").json() == {"ok": True}
    assert client.get("/readyz").status_code == 200
    asked(client, history=["Alien"])
    asked(client, history=["Alien"])
    client.get("/nowhere/private-title")
    client.request("MADEUP", "/healthz")
    text = client.get("/metrics").text
    assert 'napo_requests_total{method="POST",path="/v1/recommend",status="200"}' in text
    assert 'napo_prefix_cache_hits_total{model="small"}' in text
    assert 'napo_batch_size_count{model="small"}' in text
    assert "private-title" not in text
    assert "MADEUP" not in text


def test_titles_are_answered_as_data_and_never_as_a_page(client):
    answer = client.post("/v1/recommend", json={"history": ["<script>alert(1)</script>"]})
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_two_models_side_by_side_answer_by_name():
    from pathlib import Path

    loaded = {"a": small_recommender(), "b": small_recommender(max_history=1)}
    with server({"a": Path("a"), "b": Path("b")}, load=lambda folder, size: loaded[folder.name]) as client:
        history = ["Alien", "i20", "i31"]
        for name in ("a", "b"):
            body = asked(client, history=history, model=name)
            assert body["model"] == name
            assert [item["item"] for item in body["items"]] == [one.item for one in loaded[name].recommend(history)]
        assert asked(client, history=history)["model"] == "a"


def test_only_who_knows_the_token_is_answered():
    with server(token=TOKEN, host="0.0.0.0") as client:
        for headers in ({}, {"Authorization": TOKEN}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic x"}):
            answer = client.post("/v1/recommend", json={"history": []}, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
        assert client.get("/metrics").status_code == 401
        assert client.get("/v1/models").status_code == 401
        assert client.post("/v1/admin/reload").status_code == 401
        assert client.get("/healthz").status_code == 200
        assert client.post("/v1/recommend", json={"history": []}, headers=BEARER).status_code == 200


def test_a_fault_of_ours_is_a_500_that_tells_nothing():
    def broken(folder, size):
        recommender = small_recommender()
        recommender.ranker = None
        return recommender

    with server(load=broken) as client:
        answer = client.post("/v1/recommend", json={"history": ["Alien"]})
        assert answer.status_code == 500
        assert "NoneType" not in answer.text
        assert client.post("/v1/recommend", json={"history": []}).status_code == 200


def test_an_answer_is_json_whatever_columns_hold(client):
    answer = client.get("/v1/items", params={"q": "Title number 12"})
    json.loads(answer.text)
    assert answer.json()["items"][0]["columns"]["Year"] == "1912"
    assert answer.json()["items"][0]["title"] in TITLES
