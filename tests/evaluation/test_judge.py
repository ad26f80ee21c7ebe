import numpy as np
import pytest

from napo.data.prepare import Prepared, prepare
from napo.errors import UserError
from napo.evaluation.baselines import Popularity
from napo.evaluation.judge import LIST_LENGTH, baseline_results, checks_of, judge, language_checks, prompt_of
from napo.evaluation.leaks import leaked
from napo.evaluation.results import CandidateResult, FullResult
from napo.models.language import create
from tests.tiny_world import tiny_recipe


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Prepared:
    return prepare(tiny_recipe(tmp_path_factory.mktemp("data")))


def test_each_protocol_asks_for_its_own_thing(prepared):
    popularity = Popularity(prepared.split.popularity)
    among = judge(popularity, prepared, "cand20")
    over_all = judge(popularity, prepared, "full")
    assert isinstance(among, CandidateResult)
    assert (among.part, among.candidates, len(among.users)) == ("test", 20, 30)
    assert isinstance(over_all, FullResult)
    assert (over_all.items, over_all.k, len(over_all.users)) == (40, LIST_LENGTH, 30)
    assert over_all.mask_seen == prepared.split.mask_seen


def test_the_asked_ks_are_given_and_always_the_first_place(prepared):
    found = judge(Popularity(prepared.split.popularity), prepared, "cand20", ks=(3, 5))
    assert [name for name in found.metrics if name.startswith("HR")] == ["HR@1", "HR@3", "HR@5"]
    plain = judge(Popularity(prepared.split.popularity), prepared, "cand20")
    np.testing.assert_array_equal(found.metrics["HR@1"], plain.metrics["HR@1"])


def test_a_sample_of_cases_over_the_whole_catalog_is_the_same_for_every_scorer(prepared):
    popularity = Popularity(prepared.split.popularity)
    found = judge(popularity, prepared, "full", full_cases=7)
    others = baseline_results(prepared, "full", full_cases=7)
    assert len(found.users) == 7
    for result in others.values():
        np.testing.assert_array_equal(result.users, found.users)
    assert len(judge(popularity, prepared, "cand20", full_cases=7).users) == 30


@pytest.mark.parametrize(
    ("protocol", "rows"),
    [("cand20", ["chance", "popularity", "blind slot rule"]), ("full", ["chance", "popularity"])],
)
def test_the_rows_that_stand_beside_every_model(prepared, protocol, rows):
    found = baseline_results(prepared, protocol)
    assert list(found) == rows
    assert len({str(result.conditions) for result in found.values()}) == 1


def test_the_baselines_have_the_same_ks(prepared):
    for result in baseline_results(prepared, "cand20", ks=(1, 4)).values():
        assert [name for name in result.metrics if name.startswith("HR")] == ["HR@1", "HR@4"]


def test_lists_drawn_by_napo_pass_the_leak_checks(prepared):
    checks = {check.name: check for check in checks_of(prepared)}
    assert not leaked(list(checks.values())), [check.line for check in checks.values()]
    assert checks["future"].verdict == "WARN"  # its users come one after the other, and are split each by itself
    assert "no prompt" in checks["title"].note


def test_what_a_recipe_asks_with_is_looked_at_too(prepared, tmp_path):
    recipe = tiny_recipe(tmp_path / "data", prompt={"max_history": 4})
    prompt = prompt_of(recipe)
    assert prompt.max_history == 4
    assert "liked" in " ".join(prompt.words)
    title = next(check for check in checks_of(prepared, prompt) if check.name == "title")
    assert title.reference["in_prompt"] == 0.0


def test_a_language_model_is_checked_by_what_it_answers(prepared, tmp_path):
    recipe = tiny_recipe(tmp_path / "data")
    language = create(recipe.model, prepared.log.catalog, recipe.prompt, recipe.normalize, recipe.seed)
    blind, order = language_checks(language, prepared, "SFT")
    assert (blind.title, order.title) == ("no_history, SFT", "order, SFT")
    assert order.verdict == "ok"
    assert order.reference["most_moved"] < 1e-4
    assert blind.verdict == "WARN"  # untrained: no history helps it


def test_how_a_model_was_asked_is_kept(prepared):
    assert judge(Popularity(prepared.split.popularity), prepared, "cand20", prompt="next").prompt == "next"


def test_more_places_than_candidates_is_a_mistake(prepared):
    with pytest.raises(UserError, match="HR@21 of 20 candidates"):
        judge(Popularity(prepared.split.popularity), prepared, "cand20", ks=(21,))
