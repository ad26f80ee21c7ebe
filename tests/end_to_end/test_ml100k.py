"""The real data, through the real commands: what the demo does, on the least of it that says something."""

import json
from pathlib import Path

import pytest

from napo.cli import main
from napo.data.prepare import prepare
from napo.evaluation.judge import baseline_results, checks_of
from napo.evaluation.leaks import leaked
from napo.evaluation.runs import evaluate_run
from napo.recipe import load_recipe
from napo.serving.recommender import Recommender

pytestmark = pytest.mark.slow
RECIPE = Path(__file__).parents[2] / "recipes" / "ml100k" / "napo.yaml"
SHORT = ("sft.epochs=2", "preference.epochs=0.3", "auxiliary.epochs=3", "evaluation.full_cases=50")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAPO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return ended.value.code or 0


@pytest.fixture(scope="module")
def trained(cache, tmp_path_factory):
    assert run("data", "fetch", "ml-100k") == 0
    folder = tmp_path_factory.mktemp("runs") / "napo"
    assert run("train", RECIPE, *SHORT, "--out", folder) == 0
    return folder


def test_the_log_and_its_split_are_those_of_the_documents(trained):
    prepared = prepare(load_recipe(RECIPE))
    counts = prepared.split.counts
    assert (counts["users"], len(prepared.log.catalog), counts["events"]) == (943, 1682, 100_000)
    assert (counts["training_events"], len(prepared.test)) == (45_071, 5_152)
    popular = baseline_results(prepared, "cand20")["popularity"].metrics
    assert popular["HR@1"].mean() == pytest.approx(0.242, abs=0.001)
    assert popular["NDCG"].mean() == pytest.approx(0.566, abs=0.001)
    assert not leaked(checks_of(prepared))


def test_a_short_run_beats_popularity_and_reports_it(trained):
    (table, full) = evaluate_run(trained)
    rows = {row.name: row.metrics["HR@1"].value for row in table.rows}
    assert rows["NAPO"] > rows["popularity"] > rows["chance"]
    assert full.rows[0].metrics["HR@10"].value < 0.1  # chance over the whole catalog
    assert (trained / "report.html").is_file()
    assert json.loads((trained / "comparison.json").read_text())["tables"]["cand20"]["leaked"] is False


def test_a_typed_history_is_answered_with_titles_of_the_catalog(trained, capsys):
    assert run("recommend", trained, "--history", "Alien (1979); Heat (1995)", "-k", "5", "--json") == 0
    answered = json.loads(capsys.readouterr().out)
    catalog = set(Recommender.load(trained).catalog.titles)
    titles = [item["title"] for item in answered["items"]]
    assert len(titles) == 5
    assert set(titles) <= catalog - {"Alien (1979)", "Heat (1995)"}
