"""Models under their names; one taken in another's place while requests are under way."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from napo.errors import UserError
from napo.serving.http.models import ListJob, ScoreJob, named_folders, work_on
from napo.serving.request import Request
from tests.recommenders import small_recommender
from tests.serving.http.http_desk import server


class Shelf:
    """What a folder holds: put another thing there, and the next load reads that."""

    def __init__(self):
        self.held, self.loads = small_recommender(max_history=20), 0

    def __call__(self, folder, size):
        self.loads += 1
        if isinstance(self.held, Exception):
            raise self.held
        return self.held


def listed(client):
    return [item["item"] for item in client.post("/v1/recommend", json={"history": ["Alien", "i20"]}).json()["items"]]


def test_a_reload_takes_what_the_folder_holds_now():
    shelf = Shelf()
    with server(load=shelf) as client:
        old = listed(client)
        shelf.held = small_recommender(max_history=1)  # another model: it reads only the newest item
        assert listed(client) == old
        answer = client.post("/v1/admin/reload")
        assert answer.status_code == 200
        assert answer.json()["models"][0]["loaded"] <= time.time()
        assert listed(client) == [one.item for one in shelf.held.recommend(["Alien", "i20"])]
        assert shelf.loads == 2


def test_a_reload_that_fails_keeps_the_old_model_and_says_why():
    shelf = Shelf()
    with server(load=shelf) as client:
        old = listed(client)
        shelf.held = UserError("the model can't be loaded: cut short", where="runs/mine", remedy="copy it again")
        answer = client.post("/v1/admin/reload")
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["what"] == "the model can't be loaded: cut short"
        assert listed(client) == old
        assert client.get("/readyz").status_code == 200


def test_of_two_models_both_are_swapped_or_none():
    shelves = {"a": Shelf(), "b": Shelf()}
    folders = {name: Path(name) for name in shelves}
    with server(folders, load=lambda folder, size: shelves[folder.name](folder, size)) as client:
        before = [one["loaded"] for one in client.get("/v1/models").json()["models"]]
        shelves["b"].held = UserError("broken")
        assert client.post("/v1/admin/reload").status_code == 422
        assert [one["loaded"] for one in client.get("/v1/models").json()["models"]] == before


def test_a_second_reload_meanwhile_is_a_409():
    shelf, begun, go = Shelf(), threading.Event(), threading.Event()

    def load(folder, size):
        if shelf.loads:
            begun.set()
            assert go.wait(10)
        return shelf(folder, size)

    with server(load=load) as client:
        answers = []
        first = threading.Thread(target=lambda: answers.append(client.post("/v1/admin/reload").status_code))
        first.start()
        assert begun.wait(10)
        assert listed(client)  # the old one answers
        assert client.post("/v1/admin/reload").status_code == 409
        go.set()
        first.join()
        assert answers == [200]


def test_a_request_that_is_being_read_when_models_are_swapped_is_answered():
    started, go = threading.Event(), threading.Event()

    def load(folder, size):
        recommender = small_recommender(max_history=20)
        read = recommender.read

        def waiting(*given, **named):
            started.set()
            assert go.wait(10)
            return read(*given, **named)

        recommender.read = waiting
        return recommender

    with server(load=load) as client, ThreadPoolExecutor(2) as pool:
        body = {"history": ["Alien"], "filter": {"block": ["i30"]}}  # read in a thread
        asking = pool.submit(client.post, "/v1/recommend", json=body)
        assert started.wait(10)
        before = client.get("/v1/models").json()["models"][0]["loaded"]
        reloading = pool.submit(client.post, "/v1/admin/reload")
        deadline = time.monotonic() + 10
        while client.get("/v1/models").json()["models"][0]["loaded"] == before:
            assert time.monotonic() < deadline
        time.sleep(0.1)  # time enough to end the old batches
        go.set()
        assert (asking.result(20).status_code, reloading.result(20).status_code) == (200, 200)


def slow(started, go):
    """A recommender whose searches wait until they are let go."""

    def load(folder, size):
        recommender = small_recommender(max_history=20)
        best = recommender.ranker.best

        def waiting(*given):
            started.set()
            assert go.wait(10)
            return best(*given)

        recommender.ranker.best = waiting
        return recommender

    return load


def test_more_than_there_is_room_for_get_503_with_a_time_to_come_again():
    started, go = threading.Event(), threading.Event()
    with server(load=slow(started, go), waiting=2, batch=1) as client:
        answers = []

        def ask():
            answers.append(client.post("/v1/recommend", json={"history": ["Alien"]}))

        threads = [threading.Thread(target=ask)]
        threads[0].start()
        assert started.wait(10)
        threads += [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads[1:]:
            thread.start()
        deadline = time.monotonic() + 10
        while 'napo_waiting{model="small"} 2.0' not in client.get("/metrics").text:
            assert time.monotonic() < deadline
        refused = client.post("/v1/recommend", json={"history": ["Alien"]})
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert client.get("/healthz").status_code == 200
        go.set()
        for thread in threads:
            thread.join()
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        assert 'napo_refused_total{model="small"} 1.0' in client.get("/metrics").text


def test_requests_that_come_together_are_one_batch_with_each_its_own_answer():
    started, go = threading.Event(), threading.Event()
    with server(load=slow(started, go), batch=16) as client:
        bodies = [{"history": ["Alien"], "k": 1}] + [
            {"history": [f"Title number {number}"], "k": number - 5} for number in range(6, 12)
        ]
        answers = {}

        def ask(place):
            answers[place] = client.post("/v1/recommend", json=bodies[place]).json()

        threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(bodies))]
        threads[0].start()
        assert started.wait(10)
        for thread in threads[1:]:
            thread.start()
        deadline = time.monotonic() + 10
        while 'napo_waiting{model="small"} 6.0' not in client.get("/metrics").text:
            assert time.monotonic() < deadline
        go.set()
        for thread in threads:
            thread.join()
        assert 'napo_batch_size_bucket{le="4.0",model="small"} 1.0' in client.get("/metrics").text
        assert 'napo_batch_size_count{model="small"} 2.0' in client.get("/metrics").text
        plain = small_recommender(max_history=20)
        for place, body in enumerate(bodies):
            expected = plain.recommend(body["history"], k=body["k"])
            assert [item["item"] for item in answers[place]["items"]] == [one.item for one in expected]


def test_lists_scores_and_reasons_are_worked_on_in_one_batch_and_a_fault_hits_its_own_job():
    recommender = small_recommender()
    asked = recommender.read(Request(["Alien"], k=2))
    named = recommender.named(["Alien"], None)
    items = recommender.items(["i30", "Crash"], where="titles")
    done = work_on(recommender, [ListJob(asked, explain=True), ScoreJob(named, items), ListJob(asked)])
    assert [one.title for one in done[0].why] == [one.title for one in done[0].found]
    assert done[1].scores == pytest.approx(recommender.score(["Alien"], ["i30", "Crash"]), abs=1e-5)
    assert done[2].found == done[0].found

    broken = ScoreJob(named, items + 1000)  # items that there are not
    first, second = work_on(recommender, [ListJob(asked), broken])
    assert first.found is not None
    assert isinstance(second, IndexError)


def test_a_title_that_is_another_items_key_is_explained_as_itself():
    recommender = small_recommender()  # item 5 has the title "i30", which is item 30's key
    asked = recommender.read(Request(["Alien"], k=39))
    (done,) = work_on(recommender, [ListJob(asked, explain=True)])
    assert [one.item for one in done.why] == [one.item for one in done.found]


def test_runs_have_the_names_of_their_folders_or_those_that_were_given(tmp_path):
    (tmp_path / "odd=name").mkdir()
    folders = named_folders([str(tmp_path / "napo"), f"sft={tmp_path / 'runs' / 'x'}", str(tmp_path / "odd=name")])
    assert folders == {
        "napo": tmp_path / "napo",
        "sft": tmp_path / "runs" / "x",
        "odd=name": tmp_path / "odd=name",
    }
    with pytest.raises(UserError, match="two runs would be served as 'x'"):
        named_folders(["a/x", "b/x"])


def test_latest_is_the_run_that_ended_last_whatever_began_since(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no run in runs/ has ended"):
        named_folders(["latest"])
    for name, ended in (("older", 1_000), ("newer", 2_000)):
        model = tmp_path / "runs" / name / "model"
        model.mkdir(parents=True)
        (model / "napo.json").touch()
        os.utime(model / "napo.json", (ended, ended))
    (tmp_path / "runs" / "begun").mkdir()
    assert named_folders(["latest", "sft=runs/older"]) == {"newer": Path("runs/newer"), "sft": Path("runs/older")}
    assert named_folders(["best=latest"]) == {"best": Path("runs/newer")}
    (tmp_path / "latest").mkdir()  # a folder of that name is meant
    assert named_folders(["latest"]) == {"latest": Path("latest")}
