import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from napo.data.candidates import draw_candidates
from napo.errors import UserError
from napo.evaluation import report as report_module
from napo.evaluation.baselines import Popularity
from napo.evaluation.leaks import Check
from napo.evaluation.plot_style import styles_for
from napo.evaluation.plots import Deciles, HitRates, TrainingLog
from napo.evaluation.protocols import evaluate_candidates
from napo.evaluation.report import (
    GroupTable,
    Judged,
    ReportData,
    ReportTable,
    StageRun,
    judged_part,
    read_stages,
    write_report,
)
from napo.evaluation.report_pictures import both_fall
from napo.evaluation.table import make_table

VOID = {"meta", "img", "source", "br"}
ODD = "<script>alert('x')</script> & \"Amélie\" \x00\udcff"


class Page(HTMLParser):
    """What a page is made of; complains where a tag is closed that is not open."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def training_log(name="NAPO", fall=1.0):
    lines = [{"step": 0, "eval_ndcg": 0.70, "eval_hr@1": 0.40}, {"step": 20, "eval_ndcg": 0.72, "eval_hr@1": 0.42}]
    lines += [
        {"step": 10 * i, "loss": 2.0 / i, "chosen_log_prob": -9 - fall * i, "rejected_log_prob": -12 - i, "gamma": 1.0}
        for i in (1, 2)
    ]
    return TrainingLog.of(name, lines, best=20)


def stage_run(name="NAPO", best=20, **more):
    looks = {step: {"step": step, "ndcg": ndcg, "hr@1": 0.4} for step, ndcg in ((0, 0.70), (20, 0.72), (40, 0.71))}
    return StageRun(name, "Preference stage", looks[0], looks[best], looks[40], 40, 90.0, training_log(name), **more)


SLOT = Check("slot", 0.05, "ok", reference={"chance": 0.05})


def table(heading="cand20; 100 test cases", names=("SFT", "NAPO"), checks=(SLOT,)):
    body = [[name, "0.400 [0.380, 0.420]", "0.600"] for name in names]
    return ReportTable(heading, ["method", "HR@1 [95 %]", "NDCG"], body, names, "HR@1", ["a note"], checks)


def rates(name):
    values = np.array([0.4, 0.6])
    return HitRates(name, np.array([1, 5]), values, values - 0.02, values + 0.02)


@pytest.fixture(scope="module")
def data():
    tenth = np.full(10, 0.1)
    return ReportData(
        title="Three methods",
        command="napo compare a.yaml b.yaml --seeds 3",
        verdicts=["NAPO helped."],
        judged=[Judged("cand20", table(), [rates("SFT"), rates("NAPO")], Deciles({"NAPO": tenth}, tenth, tenth))],
        stages=[stage_run()],
        counts={"Read": {"rows": 1204, "rows_without_a_time": 3}},
        notes=["33 users: 30 evaluated"],
        settings={"napo.yaml": "seed: 0\n"},
        made_with={"Versions": {"torch": "2.13.0"}},
    )


@pytest.fixture(scope="module")
def folder(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    assert write_report(data, folder) == folder / "report.html"
    return folder


@pytest.fixture(scope="module")
def html(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def quick(monkeypatch):
    """No drawing, where the page is what is asked about."""
    monkeypatch.setattr(report_module, "png", lambda figure: b"\x89PNG\r\n\x1a\n")


def written(data, folder) -> Page:
    return Page(write_report(data, folder).read_text(encoding="utf-8"))


def test_every_tag_is_closed(html, page):
    assert html.startswith("<!DOCTYPE html>\n<html lang=")
    assert page.open == []


def test_the_file_fetches_nothing_and_runs_nothing(html, page):
    assert not re.search(r"https?:|//[a-z]|url\(|@import", re.sub(r"base64,[^\"]*", "", html))
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert all(source["src"].startswith("data:image/png;base64,") for source in page.all("img"))
    assert all(source["srcset"].startswith("data:image/png;base64,") for source in page.all("source"))


def test_it_fits_a_phone_and_follows_the_readers_light_or_dark(html, page):
    metas = {meta.get("name"): meta.get("content") for meta in page.all("meta")}
    assert metas["viewport"] == "width=device-width, initial-scale=1"
    assert metas["color-scheme"] == "light dark"
    assert "@media (prefers-color-scheme: dark)" in html
    assert len(page.all("source")) == len(page.all("img"))  # each picture on dark paper too


def test_everything_that_was_given_is_said(page):
    for said in (
        "Three methods",
        "NAPO helped.",
        "Among 20 candidates",
        "cand20; 100 test cases",
        "0.400",
        "[0.380, 0.420]",
        "a note",
        "slot: 0.050 chance 0.05",
        "rows without a time",
        "1,204",
        "33 users: 30 evaluated",
        "seed: 0",
        "2.13.0",
        "napo compare a.yaml b.yaml --seeds 3",
    ):
        assert said in page.text


def test_verdicts_stand_before_every_figure(page):
    assert page.text.index("NAPO helped.") < page.text.index("0.400")


def test_the_start_the_best_and_the_last_look_are_rows(page):
    assert "start 0 0.7000 0.4000 best, kept 20 0.7200 0.4000 last 40 0.7100 0.4000" in page.text
    assert "40 steps, 1.5 min" in page.text


def test_a_stage_that_did_not_help_says_that_its_start_was_kept(tmp_path, monkeypatch):
    quick(monkeypatch)
    text = written(ReportData("t", "c", stages=[stage_run(best=0, verdict="It did not help.")]), tmp_path).text
    assert "start, kept 0 0.7000" in text
    assert "It did not help." in text


def test_tables_and_pictures_can_be_read_without_seeing_them(page):
    scopes = [cell.get("scope") for cell in page.all("th")]
    assert None not in scopes
    assert {"col", "row", "rowgroup"} == set(scopes)
    boxes = [box for box in page.all("div") if box.get("class") == "scroll"]
    assert all(box["tabindex"] == "0" and box["aria-label"] for box in boxes)
    words = [image["alt"] for image in page.all("img")]
    assert len(words) == 5
    assert "SFT: HR@1 0.400, 0.380 to 0.420; NAPO: HR@1 0.400, 0.380 to 0.420" in words
    assert "NAPO: chosen from -10.0 to -11.0, rejected from -13.0 to -14.0 nats" in words


def test_the_same_pictures_lie_beside_the_page(folder, page):
    found = {path.name: path.read_bytes() for path in (folder / "plots").iterdir()}
    assert set(found) == {
        "cand20-hit-rates.png",
        "cand20-popularity.png",
        "preference-stage-training.png",
        "preference-stage-log-probs.png",
        "preference-stage-margin.png",
    }
    embedded = {base64.b64decode(image["src"].partition(",")[2]) for image in page.all("img")}
    assert embedded == set(found.values())
    assert all(image.startswith(b"\x89PNG\r\n\x1a\n") for image in found.values())


def test_equal_data_give_equal_pages(data, folder, html, tmp_path):
    assert write_report(data, tmp_path).read_text(encoding="utf-8") == html


def test_titles_may_hold_anything(tmp_path):
    odd_table = table(ODD, [ODD, "SFT"], [Check("slot", 0.9, "FAIL", note=ODD)])
    odd = ReportData(
        title=ODD,
        command=ODD,
        verdicts=[ODD],
        judged=[
            Judged(
                ODD,
                odd_table,
                [rates(ODD)],
                Deciles({ODD: np.full(10, 0.1)}, np.ones(10)),
            )
        ],
        stages=[stage_run(ODD, label=ODD, verdict=ODD)],
        counts={ODD: {ODD: 1}},
        notes=[ODD],
        settings={ODD: ODD},
        made_with={ODD: {ODD: ODD}},
    )
    page = written(odd, tmp_path)
    assert page.open == []
    assert not page.all("script")
    shown = "<script>alert('x')</script> & \"Amélie\" \N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"
    assert page.text.count(shown) >= 14
    assert "<script" not in (tmp_path / "report.html").read_text(encoding="utf-8")
    names = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert all(re.fullmatch(r"[a-z0-9-]+\.png", name) for name in names)


def test_leaked_lists_are_said_before_anything_else(tmp_path):
    page = written(ReportData("t", "c", ["All is well."], [Judged("cand20", table("LEAKED: cand20"))]), tmp_path)
    assert page.text.index("LEAKED: Among 20 candidates.") < page.text.index("All is well.")
    assert "LEAKED: cand20" in page.text


def test_the_verdict_of_a_check_is_a_word_and_not_a_colour_alone(tmp_path):
    checks = [
        SLOT,
        Check("slot_rule", 0.1, "WARN"),
        Check("order", 0.9, "FAIL", reference={"limit": 1e-4}, scorer="DPO"),
    ]
    page = written(ReportData("t", "c", judged=[Judged("cand20", table(checks=checks))]), tmp_path)
    assert "3 leak checks: 1 failed, 1 to be read with care, 1 passed." in page.text
    # what did not pass comes first, and each says what was asked
    assert "FAIL Does the order of the candidates change the pick? order, DPO: 0.900 limit 0.0001 WARN" in page.text
    assert "1 passed ok Is the target's place in the list drawn by chance? slot: 0.050 chance 0.05" in page.text


def test_a_check_of_several_models_asks_its_question_once(tmp_path):
    checks = [Check("order", 0.0, "ok", scorer=name) for name in ("DPO", "NAPO")]
    text = written(ReportData("t", "c", judged=[Judged("cand20", table(checks=checks))]), tmp_path).text
    assert "Does the order of the candidates change the pick? order, DPO: 0.000 order, NAPO: 0.000" in text


def test_a_verdict_is_a_word_that_is_set_off(tmp_path):
    said = ["Held: A.", "Undecided, 9 cases would decide: C better.", "Not held: D.", "Seed 0: it helped."]
    page = written(ReportData("t", "c", said), tmp_path)
    words = [span["class"] for span in page.all("span")]
    assert words == ["good", "odd", "plain"]
    assert "Held A. Undecided, 9 cases would decide C better. Not held D. Seed 0: it helped." in page.text


def test_groups_are_rows_with_their_counts_and_methods_are_columns(tmp_path, monkeypatch):
    quick(monkeypatch)
    cells = [["0.300 [0.250, 0.350]", "0.350"], ["0.500", "0.600"]]
    groups = GroupTable("By activity", ["few", "many"], ["60 cases", "40 cases"], ["SFT", "NAPO"], cells, ["least"])
    page = written(ReportData("t", "c", judged=[Judged("cand20", table(), groups=[groups])]), tmp_path)
    assert "By activity group SFT NAPO few 60 cases 0.300 [0.250, 0.350] 0.350 many 40 cases 0.500 0.600" in page.text
    assert page.text.index("least") > page.text.rindex("0.600")
    assert page.open == []


def test_a_report_of_next_to_nothing_is_a_page(tmp_path):
    page = written(ReportData("Nothing yet", "napo train a.yaml"), tmp_path)
    assert page.open == []
    assert page.text.count("napo train a.yaml") == 1
    assert not page.all("img")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_two_tables_of_one_protocol_keep_their_own_pictures(tmp_path, monkeypatch):
    quick(monkeypatch)
    write_report(ReportData("t", "c", judged=[Judged("cand20", table(), [rates("SFT")])] * 2), tmp_path)
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == [
        "cand20-hit-rates-2.png",
        "cand20-hit-rates.png",
    ]


def test_the_table_of_many_runs_is_folded(tmp_path, monkeypatch):
    quick(monkeypatch)
    few, many = (ReportData("t", "c", stages=[stage_run()] * runs) for runs in (8, 9))
    assert not written(few, tmp_path).all("details")
    page = written(many, tmp_path)
    assert len(page.all("details")) == 1
    assert "Start, best and last of 9 runs" in page.text


def test_notes_of_many_rows_are_folded_behind_the_first():
    notes = [f"note {place}" for place in range(12)]
    table = ReportTable("cand20", ["method"], [["SFT"]], ["SFT"], notes=notes)
    page = judged_part(Judged("cand20", table), [], styles_for(["SFT"]), anchor="here")
    assert page.index("note 9<") < page.index("<summary>2 notes more</summary>") < page.index("note 10<")
    assert page.startswith('<section id="here">')
    Page(page)


def test_an_error_while_drawing_leaves_nothing_behind(data, tmp_path, monkeypatch):
    def broken(figure):
        raise ZeroDivisionError

    monkeypatch.setattr(report_module, "png", broken)
    with pytest.raises(ZeroDivisionError):
        write_report(data, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_leaves_the_old_report_as_it_was(data, tmp_path, monkeypatch):
    quick(monkeypatch)
    (tmp_path / "report.html").write_text("old")
    whole = Path.write_bytes

    def full(path, content):
        if ".html" in path.name:
            whole(path, content[:100])
            raise OSError(28, "No space left on device")
        return whole(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="No space left"):
        write_report(data, tmp_path)
    assert (tmp_path / "report.html").read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "plots"}


def test_the_report_table_is_the_result_table_with_its_checks_apart_from_the_notes(zipf_split):
    cases = zipf_split.cases("test").subset(50, seed=0)
    result = evaluate_candidates(Popularity(zipf_split.popularity), cases, draw_candidates(cases))
    check = Check("slot", 0.9, "FAIL", reference={"chance": 0.05})
    whole = make_table({"NAPO": [result, result], "popularity": result}, base="popularity", checks=[check])
    mine = ReportTable.of(whole)
    assert mine.leaked
    assert list(mine.methods) == ["popularity", "NAPO"]
    assert mine.body[1][0] == "NAPO (2 runs)"
    assert (mine.header, mine.body, mine.metric) == (whole.header, whole.body, "HR@1")
    assert list(mine.checks) == [check]
    assert sorted([*mine.notes, *whole.verdicts, check.line]) == sorted(whole.footer)


def stage_folder(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True)
    look = {"step": 20, "ndcg": 0.72, "hr@1": 0.42}
    outcome = {"stage": name, "start": {**look, "step": 0}, "best": look, "last": look, "steps": 20, "seconds": 5.0}
    (folder / "outcome.json").write_text(json.dumps({**outcome, "verdict": f"{name} helped."}))
    lines = [{"step": 10, "loss": 1.0}, {"step": 10, "eval_ndcg": float("nan")}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_stages_are_read_from_their_folders_and_a_shared_one_once(tmp_path):
    start = stage_folder(tmp_path / "stages" / "sft", "SFT")
    napo, dpo = (stage_folder(tmp_path / name, name) for name in ("napo", "dpo"))
    stages = read_stages(
        [("NAPO", 0, {"sft": start, "preference": napo}), ("DPO", 0, {"sft": start, "preference": dpo})]
    )
    assert [(stage.name, stage.group) for stage in stages] == [
        ("SFT", "Supervised stage"),
        ("NAPO", "Preference stage"),
        ("DPO", "Preference stage"),
    ]
    assert stages[1].verdict == "napo helped."
    assert stages[1].log.best == 20
    assert stages[1].log.series["loss"][1].tolist() == [1.0]


def test_runs_of_several_seeds_are_told_apart_by_label_and_not_by_name(tmp_path):
    folders = [stage_folder(tmp_path / str(seed), "NAPO") for seed in (0, 1)]
    stages = read_stages([("NAPO", seed, {"preference": folder}) for seed, folder in enumerate(folders)])
    assert [(stage.name, stage.label) for stage in stages] == [("NAPO", "NAPO, seed 0"), ("NAPO", "NAPO, seed 1")]


def test_both_fall_only_where_the_chosen_title_falls_too():
    assert both_fall(training_log(fall=1.0))
    assert not both_fall(training_log(fall=0.0))
    assert not both_fall(training_log(fall=-1.0))
