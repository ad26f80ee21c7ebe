"""The page: what it is made of, and what a person sees and does there."""

import re
import time
from pathlib import Path

import polars as pl
import pytest

from napo.evaluation.report_page import text
from napo.events.store import EventStore
from napo.events.traffic import write_traffic
from tests.recommenders import small_recommender
from tests.serving.http.browser import browsing, listening
from tests.serving.http.http_desk import BEARER, TOKEN, server

FILES = ("/", "/page.css", "/page.js")


def test_the_page_comes_with_a_policy_and_holds_nothing_of_another_origin():
    with server() as client:
        for path in FILES:
            answer = client.get(path)
            assert answer.status_code == 200
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert "unsafe-inline" not in answer.headers["content-security-policy"].partition("style-src")[0]
            assert not re.search(r"https?://(?!www\.w3\.org)", answer.text), path
            assert "innerHTML" not in answer.text  # titles go in as text
        assert not re.search(r"<script(?![^>]* src=)", client.get("/").text)


def test_with_a_token_the_page_itself_is_open_and_what_it_asks_for_is_not():
    with server(token=TOKEN) as client:
        assert [client.get(path).status_code for path in FILES] == [200, 200, 200]
        assert client.get("/v1/models").status_code == client.get("/report").status_code == 401


def test_the_page_of_the_paths_loads_all_that_it_names_from_this_server():
    with server(token=TOKEN) as client:
        page = client.get("/docs")
        named = re.findall(r'(?:src|href)="(?!data:)([^"]*)"', page.text)
        assert len(named) == 4
        assert all(re.match(r"/(?!/)", path) for path in named), named  # not //host either
        assert [client.get(path).status_code for path in named] == [200] * 4
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert not re.search(r"https?:", page.text + client.get("/docs.js").text)


def test_a_runs_report_is_one_click_away_and_a_path_never_leads_elsewhere(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "report.html").write_text(f"<h1>{text('A & B')}</h1>")
    with server({"run": run, "bare": tmp_path}) as client:
        assert [one["report"] for one in client.get("/v1/models").json()["models"]] == [True, False]
        assert client.get("/report").text == "<h1>A &amp; B</h1>"
        assert client.get("/report", params={"model": "bare"}).status_code == 404
        for path in ("../run", "/etc/passwd", "run/../run"):
            assert client.get("/report", params={"model": path}).status_code == 404


# --- in a browser -----------------------------------------------------------------------------------------------------


def two(folder: Path, cache_bytes: int):
    """Two models that differ: their lists do too."""
    return small_recommender(max_history=20, normalize="catalog" if folder.name == "first" else "vocabulary")


@pytest.fixture
def store(tmp_path):
    with EventStore.open(tmp_path / "events.db") as store:
        yield store


@pytest.fixture
def address(tmp_path, store):
    folders = {name: tmp_path / name for name in ("first", "second")}
    folders["first"].mkdir()
    (folders["first"] / "report.html").write_text("<title>The report</title><h1>The report</h1>")
    with listening(folders, two, store=store) as address:
        yield address


def titles(page, place=0):
    return page.locator(".list").nth(place).locator(".title").all_inner_texts()


def pick(page, typed, title):
    page.get_by_role("combobox", name="Title", exact=True).fill(typed)
    page.get_by_role("option", name=title, exact=True).click()
    page.wait_for_function("() => !document.querySelector('[aria-busy]')")  # the lists have followed


@pytest.mark.slow
def test_a_person_builds_a_history_and_the_lists_follow(address):
    with browsing(address) as page:
        page.locator(".list").nth(1).wait_for()
        assert page.locator("#empty").is_visible()
        popular = titles(page)
        pick(page, "alein", "Aliens")  # a slip of the hand
        page.locator("#history li").first.wait_for()
        page.wait_for_function("before => document.querySelector('.list .title').innerText !== before", arg=popular[0])
        assert "Aliens" not in titles(page)
        assert len(titles(page)) == 10
        assert page.locator(".list").nth(1).locator(".moved").count() == 10  # what moved between the two
        # by the keyboard alone
        page.get_by_role("combobox", name="Title", exact=True).focus()
        page.keyboard.type("title number 9")
        page.locator("#found-0").wait_for()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Remove Title number 9", exact=True).wait_for()
        page.get_by_role("button", name="Remove Aliens", exact=True).click()
        assert page.locator("#history li").count() == 1
        page.get_by_role("button", name="Clear").click()
        page.wait_for_function("before => document.querySelector('.list .title').innerText === before", arg=popular[0])
        assert page.wrong == []


def kept(store, kind, count):
    """The events of a kind once there are so many; the page posts them when it shows the lists already."""
    end = time.monotonic() + 10
    while store.counts()[kind] < count:
        assert time.monotonic() < end, store.counts()
        time.sleep(0.02)
    return [one for one in store if one.kind == kind]


def line(page, place, position):
    return page.locator(".list").nth(place).locator("ol > li").nth(position - 1)


@pytest.mark.slow
def test_what_the_page_shows_is_taken_and_skipped_is_kept_and_the_rest_of_the_list_is_rejected(
    address, store, tmp_path
):
    with browsing(address) as page:
        page.locator(".list").nth(1).wait_for()
        shown = kept(store, "shown", 20)  # two lists of ten, under a request each
        keys = [[one.get_attribute("data-key") for one in lists.locator("ol > li").all()] for lists in both(page)]
        lists = {one.request: [other.item for other in shown if other.request == one.request] for one in shown}
        assert sorted(lists.values()) == sorted(keys)
        assert [one.position for one in shown] == [*range(1, 11)] * 2
        # before a history stands in them, both lists may be the same ten: what a list is called tells them apart
        named = [one.get_attribute("data-request") for one in both(page)]
        assert [lists[request] for request in named] == keys
        third, asked = keys[0][2], named[0]
        line(page, 0, 3).get_by_role("button", name=re.compile("^Take")).click()
        page.locator("#history li").first.wait_for()
        (took,) = kept(store, "took", 1)
        assert (took.item, took.request, took.position) == (third, asked, 3)
        kept(store, "shown", 40)  # both lists have followed
        first = line(page, 1, 1).get_attribute("data-key")
        line(page, 1, 1).get_by_role("button", name=re.compile("^Skip")).focus()
        page.keyboard.press("Enter")
        (skipped,) = kept(store, "skipped", 1)
        kept(store, "shown", 60)
        assert (skipped.item, skipped.position) == (first, 1)
        assert skipped.request not in lists  # the list that stood there by then
        assert page.locator(f'[data-key="{first}"], [data-key="{third}"]').count() == 0
        # whoever goes by keyboard goes on where they were
        assert page.evaluate("document.activeElement.closest('li').dataset.key") == line(page, 1, 1).get_attribute(
            "data-key"
        )
        assert {one.user for one in store} == {page.evaluate("localStorage.getItem('napo.user')")}
        assert page.wrong == []
    log = write_traffic(store, tmp_path / "traffic")  # as `napo data from-events`
    assert [log.catalog.keys[item] for item in log.frame["item"]] == [third]
    rejected = pl.read_parquet(tmp_path / "traffic" / "exposures.parquet")
    assert rejected.height == 59
    of_list = rejected.filter(pl.col("request") == asked)
    assert of_list["position"].to_list() == [1, 2, 4, 5, 6, 7, 8, 9, 10]
    assert of_list["item"].to_list() == [key for key in keys[0] if key != third]
    assert of_list["answered"].null_count() == 0
    assert rejected.filter("skipped")["item"].to_list() == [first]


def both(page):
    return page.locator(".list").all()


@pytest.mark.slow
def test_why_a_filter_and_the_length_and_the_report(address):
    with browsing(address) as page:
        pick(page, "alien", "Alien")
        page.locator("#history li").first.wait_for()
        page.locator("#k").fill("3")
        page.wait_for_function("() => document.querySelectorAll('.list')[0].querySelectorAll('.title').length === 3")
        plain = page.locator(".list").first.inner_text()
        page.locator("#where").fill("genre=Comedy")
        page.wait_for_function("plain => document.querySelector('.list').innerText !== plain", arg=plain)
        page.get_by_role("button", name=re.compile("^Why")).first.click()
        page.get_by_text("What each title of the history changes").wait_for()
        assert page.get_by_role("rowheader", name="Alien", exact=True).count() == 1
        page.locator("#where").fill("nocolumn=1")
        page.get_by_role("status").get_by_text("nocolumn").wait_for()
        with page.context.expect_page() as opened:
            page.get_by_role("link", name="Report").click(modifiers=["Control"])
        opened.value.wait_for_load_state()
        assert opened.value.title() == "The report"
        # the one mistake was asked for: the browser tells of every 4xx
        assert all("422" in said for said in page.wrong)


@pytest.mark.slow
def test_the_token_is_asked_for_once(tmp_path):
    with listening({"first": tmp_path}, two, token=TOKEN) as address, browsing(address) as page:
        page.get_by_label("This server wants a token").fill(BEARER["Authorization"].split()[1])
        page.get_by_role("button", name="Enter").click()
        page.locator(".list .title").first.wait_for()
        assert page.locator("#door").is_hidden()
        page.reload()
        page.locator(".list .title").first.wait_for()


@pytest.mark.slow
def test_a_title_that_looks_like_html_is_shown_as_it_is(tmp_path):
    evil = "<img src=x onerror=alert(1)>"

    def load(folder, cache_bytes):
        return small_recommender(max_history=20).with_items(pl.DataFrame({"item": ["evil"], "title": [evil]}))

    with listening({"first": tmp_path}, load) as address, browsing(address) as page:
        page.locator(".list .title").first.wait_for()
        pick(page, "img src", evil)
        assert page.locator("#history li span").inner_text() == evil
        page.get_by_role("button", name=f"Remove {evil}", exact=True).click()
        page.locator("#k").fill("41")
        page.wait_for_function("() => document.querySelectorAll('.list .title').length === 41")
        assert evil in titles(page)
        assert page.locator("img").count() == 0
        assert page.wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_serious_stands_in_the_way_of_a_screen_reader_or_a_phone(address, scheme, width):
    from axe_playwright_python.sync_playwright import Axe

    with browsing(address, color_scheme=scheme, viewport={"width": width, "height": 800}) as page:
        pick(page, "alien", "Alien")
        page.locator("#history li").first.wait_for()
        page.get_by_role("button", name=re.compile("^Why")).first.click()
        page.get_by_text("Token by token").first.wait_for()
        found = Axe().run(page).response["violations"]
        assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
        for text in ("Take", "Skip", "Why"):
            assert line(page, 1, 10).get_by_role("button", name=text).is_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")  # nothing to scroll sideways


@pytest.mark.slow
def test_the_paths_can_be_read_and_tried_and_no_other_host_is_asked(address):
    with browsing(address) as page:
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{address}/docs")
        page.get_by_text("/v1/models").click()
        page.get_by_role("button", name="Try it out").click()
        page.get_by_role("button", name="Execute").click()
        page.get_by_text('"columns"').first.wait_for()
        assert [url for url in asked if not url.startswith((f"{address}/", "data:", "blob:"))] == []
        assert page.wrong == []
