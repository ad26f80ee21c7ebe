import numpy as np
import pytest

from napo.data.prepare import Prepared, prepare
from napo.errors import UserError
from napo.evaluation.baselines import Popularity
from napo.evaluation.judge import LIST_LENGTH, baseline_results, checks_of, judge
from napo.evaluation.results import CandidateResult, FullResult
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
    checks = checks_of(prepared)
    assert checks
    assert {check.verdict for check in checks} == {"ok"}, [check.line for check in checks]


def test_how_a_model_was_asked_is_kept(prepared):
    assert judge(Popularity(prepared.split.popularity), prepared, "cand20", prompt="next").prompt == "next"


def test_more_places_than_candidates_is_a_mistake(prepared):
    with pytest.raises(UserError, match="HR@21 of 20 candidates"):
        judge(Popularity(prepared.split.popularity), prepared, "cand20", ks=(21,))
