import json

import numpy as np
import pytest

from benchmarks.baselines.exchange import finish, read_export, validation
from napo.data.export import export_cases
from napo.data.prepare import prepare
from napo.evaluation.judge import judge
from napo.evaluation.metrics import hr_at, ndcg_at
from napo.evaluation.protocols import evaluate_candidates
from napo.evaluation.ranked import judge_ranked
from tests.tiny_world import tiny_recipe


class Drawn:
    """Scores drawn by user and item: histories of the tiny log are all unlike, so a history tells the user."""

    name = "drawn"

    def __init__(self, scores, histories):
        self.scores = {tuple(history): row for history, row in zip(histories, scores, strict=True)}

    def all_scores(self, histories):
        return np.stack([self.scores[tuple(history.tolist())] for history in histories])

    def candidate_scores(self, histories, candidates):
        return np.take_along_axis(self.all_scores(histories), candidates, axis=1)

    def top(self, histories, excluded, k):
        scores = self.all_scores(histories).copy()
        for row, out in zip(scores, excluded, strict=True):
            row[out] = -np.inf
        return np.argsort(-scores, axis=1)[:, :k]

    def target_ranks(self, histories, excluded, targets):
        scores = self.all_scores(histories).copy()
        for row, out in zip(scores, excluded, strict=True):
            row[out] = -np.inf
        return (scores >= scores[np.arange(len(scores)), targets][:, None]).sum(axis=1)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    prepared = prepare(tiny_recipe(folder / "data"))
    export_cases(prepared, folder / "cases", full_cases=20, form="csv")
    return prepared, read_export(folder / "cases"), folder


def test_what_is_handed_in_is_judged_as_the_scores_themselves(world):
    prepared, export, folder = world
    rng = np.random.default_rng(1)
    valid, test = (rng.normal(size=(30, 40)).astype(np.float32) for _ in range(2))
    finish(folder / "out", export, {"seed": 1}, valid, test)
    scorer = Drawn(test, export.test.histories)
    for protocol, file in (("cand20", "scores.csv"), ("full", "lists.csv")):
        ours = judge(scorer, prepared, protocol, full_cases=20)
        theirs = judge_ranked(folder / "out" / file, prepared, protocol, full_cases=20)
        np.testing.assert_array_equal(theirs.metrics[ours.headline], ours.metrics[ours.headline])
    said = json.loads((folder / "out" / "run.json").read_text())
    result = evaluate_candidates(Drawn(valid, export.valid.histories), prepared.all_valid, prepared.all_valid_lists)
    assert said["seed"] == 1
    assert said["validation"]["hr@1"] == pytest.approx(hr_at(result.ranks, 1).mean())
    assert said["validation"]["ndcg"] == pytest.approx(ndcg_at(result.ranks).mean())


def test_an_item_that_a_model_does_not_know_has_no_score_and_is_not_listed(world):
    prepared, export, folder = world
    test = np.ones((30, 40), dtype=np.float32)
    target = prepared.test.target
    test[np.arange(30), target] = np.nan
    finish(folder / "cold", export, {}, np.ones((30, 40)), test)
    among = judge_ranked(folder / "cold" / "scores.csv", prepared, "cand20")
    assert among.ranks.tolist() == [20] * 30
    assert judge_ranked(folder / "cold" / "lists.csv", prepared, "full", full_cases=20).ranks.max() == 0
    # a constant scorer ties with the target everywhere: rank 20, and so does one that does not know it
    unknown = np.full((30, 40), np.nan)
    assert validation(export.valid, unknown) == {"hr@1": 0.0, "ndcg": pytest.approx(1 / np.log2(21))}
