"""Case 15: nothing that a user has seen is in a list, of whatever method, unless repeats are wanted; and it is said."""

import json

import numpy as np
import pytest

from napo.errors import UserError
from napo.evaluation.baselines import Chance, Popularity
from napo.evaluation.protocols import evaluate_full
from napo.models.sasrec_scorer import SASRecScorer
from tests.commands import napo_in, write_desk
from tests.tiny_world import World


class HistoryFirst:
    """Puts the history on top, the newest first, whatever it is told to leave out."""

    name = "history first"
    heeds = False

    def candidate_scores(self, histories, candidates):
        raise AssertionError("not asked for")

    def top(self, histories, excluded, k):
        found = np.full((len(histories), k), -1, dtype=np.int64)
        for row, (history, out) in enumerate(zip(histories, excluded, strict=True)):
            items = [*history[::-1], *(item for item in range(40) if item not in history)]
            listed = [item for item in items if not (self.heeds and item in out)][:k]
            found[row, : len(listed)] = listed
        return found

    def target_ranks(self, histories, excluded, targets):
        return np.ones(len(targets), dtype=np.int64)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World.of(tmp_path_factory.mktemp("seen"))


def seen_in(result, cases) -> list[int]:
    """The items of the lists that their user had met before."""
    return [
        int(item)
        for case, listed in zip(result.cases, result.top, strict=True)
        for item in listed
        if item in cases.history(int(case))
    ]


def test_no_method_lists_what_was_seen(world):
    cases = world.prepared.test
    scorers = [
        Chance(40),
        Popularity(world.prepared.split.popularity),
        SASRecScorer(world.auxiliary()),
        world.language.ranker(),
    ]
    for scorer in scorers:
        result = evaluate_full(scorer, cases)
        assert seen_in(result, cases) == [], scorer.name
        assert result.conditions["seen items"] == "all of the user's earlier items left out"


def test_a_scorer_that_ignores_the_rule_is_refused_and_one_that_heeds_it_is_not(world):
    scorer = HistoryFirst()
    with pytest.raises(UserError, match="history first lists an item the user has seen"):
        evaluate_full(scorer, world.prepared.test)
    scorer.heeds = True
    assert seen_in(evaluate_full(scorer, world.prepared.test), world.prepared.test) == []


def test_where_repeats_are_allowed_the_lists_are_the_history(world):
    cases = world.prepared.test
    result = evaluate_full(HistoryFirst(), cases, k=5, mask_seen="none")
    for case, listed in zip(result.cases, result.top, strict=True):
        assert listed.tolist() == cases.history(int(case))[::-1][:5].tolist()
    assert result.conditions["seen items"] == "repeats allowed"


def test_the_commands_follow_the_rule_name_it_and_count_targets_that_were_seen(tmp_path):
    write_desk(tmp_path)
    log = (tmp_path / "log.csv").read_text().splitlines()
    again = log[1].split(",")  # u00 takes its first item again, last of all
    (tmp_path / "log.csv").write_text("\n".join([*log, ",".join([*again[:3], "1700009999"]), ""]))
    napo = napo_in(tmp_path)
    ran = napo("train", "sft.yaml", "data.repeats=all", "evaluation.protocols=[full]", "--out", "run")
    assert ran.code == 0, ran.err
    assert "all of the user's earlier items left out" in ran.out
    counts = json.loads((tmp_path / "run" / "run.json").read_text())["counts"]
    assert sum(number for name, number in counts.items() if "seen" in name or "met" in name) == 1, counts
    user = json.loads(napo("recommend", "run", "--user", "u01", "-k", "40", "--json").out)["items"]
    liked = {line.split(",")[1] for line in log if line.startswith("u01,")}
    assert len(user) == 32
    assert not liked & {item["key"] for item in user}
