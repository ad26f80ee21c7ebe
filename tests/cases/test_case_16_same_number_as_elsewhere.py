"""Case 16: the metrics of the books, and two protocols that are never put into one table.

Against another library on 500 users: tests/evaluation/.
"""

import json

import numpy as np
import pytest

from napo.evaluation.metrics import hr_at, mrr_at, ndcg_at, recall_at
from tests.commands import napo_in, nothing_changes_in, write_recipe
from tests.tiny_world import tiny_keys


def test_one_target_at_rank_three():
    rank = np.array([3])
    found = [ndcg_at(rank, 10), mrr_at(rank), hr_at(rank, 1), hr_at(rank, 3)]
    assert np.concatenate(found) == pytest.approx([0.5, 0.3333333, 0.0, 1.0], abs=1e-6)  # 1 / log2(4) is a half


def test_two_targets_at_ranks_one_and_four_cut_at_three():
    ranks = np.array([[1, 4]])
    # of a perfect list 1 + 1/log2(3) could be had; found was the first target alone
    assert ndcg_at(ranks, 3) == pytest.approx([1 / (1 + 1 / np.log2(3))], abs=1e-6)
    assert recall_at(ranks, 3) == pytest.approx([0.5])


def test_a_target_that_is_absent_is_no_hit():
    absent = np.array([0])
    assert [metric(absent, 10).item() for metric in (ndcg_at, mrr_at, hr_at, recall_at)] == [0.0] * 4


@pytest.fixture
def napo(tmp_path):
    both = {"protocols": ["cand20", "full"]}
    keys = tiny_keys(tmp_path / "data")
    write_recipe(tmp_path / "a.yaml", keys, sft={"epochs": 0.25, "save_every": None}, evaluation=both)
    write_recipe(tmp_path / "b.yaml", keys, evaluation={"protocols": ["full"]})
    return napo_in(tmp_path)


def test_the_two_protocols_have_a_table_each_with_the_protocol_in_its_heading(napo):
    ran = napo("train", "a.yaml", "--out", "run")
    assert ran.code == 0, ran.err
    judged = napo("evaluate", "run", "--json")
    assert judged.code == 0, judged.err
    among, whole = json.loads(judged.out)
    assert among["heading"].startswith("cand20, ")
    assert whole["heading"].startswith("full, ")
    for table in (among, whole):
        for row in table["rows"]:
            metrics = {name: metric["value"] for name, metric in row["metrics"].items()}
            accuracies = {name: value for name, value in metrics.items() if name.startswith(("HR", "NDCG", "MRR"))}
            assert {"HR@1", "HR@10"} <= set(accuracies)
            assert all(0 <= value <= 1 for value in accuracies.values()), accuracies
    # 19 of 20 candidates are wrong, or 32 to 34 of those items that the user has not met
    chance = [next(row for row in table["rows"] if row["name"] == "chance") for table in (among, whole)]
    assert chance[0]["metrics"]["HR@10"]["value"] > chance[1]["metrics"]["HR@10"]["value"]


def test_compare_refuses_to_mix_the_two(napo, tmp_path):
    with nothing_changes_in(tmp_path):
        ran = napo("compare", "a.yaml", "b.yaml", "--out", "both")
    assert ran.code == 2
    assert "differ in evaluation.protocols" in ran.err
    assert "different tasks" in ran.err
