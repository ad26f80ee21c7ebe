"""Case 14: a preference stage that makes it worse says so, and the model from before it is delivered."""

import json
import re

import pytest
from safetensors.torch import load_file

from tests.commands import napo_in, write_recipe
from tests.tiny_world import tiny_keys

SFT = {"epochs": 40.0, "lr": 1e-2, "leave_out": 0.0, "evaluate_every": 10.0, "save_every": None}
TOO_HIGH = {"epochs": 25.0, "lr": 1.0, "evaluate_every": 5.0, "save_every": None}  # 100 steps at 100 times 1e-2


@pytest.fixture(scope="module")
def worse(tmp_path_factory):
    """A run on a log that can be learnt, and what the command printed."""
    folder = tmp_path_factory.mktemp("worse")
    keys = {**tiny_keys(folder / "data", chain=True), "objective": {"name": "sdpo"}}
    keys["model"]["dropout"] = {"embedding": 0.0}
    write_recipe(folder / "sdpo.yaml", keys, sft=SFT, preference=TOO_HIGH)
    ran = napo_in(folder)("train", "sdpo.yaml", "--out", "runs/sdpo")
    return folder, ran.code, ran.out, ran.err


@pytest.mark.slow
def test_the_verdict_says_that_it_fell_and_that_the_start_is_delivered(worse):
    _, code, out, _ = worse
    assert code == 0
    (said,) = [line for line in out.splitlines() if line.startswith("S-DPO did not help")]
    start, last = (float(found) for found in re.findall(r"NDCG (0\.\d+)", said))
    assert start > last + 0.1
    assert "The delivered model is the one it started from." in said
    assert "S-DPO: validation went" not in out  # the line of a stage that helped


@pytest.mark.slow
def test_the_delivered_weights_are_those_of_the_start(worse):
    folder = worse[0]
    (start,) = (folder / "runs" / "stages").glob("sft-*/best/model.safetensors")
    one, other = load_file(start), load_file(folder / "runs" / "sdpo" / "model" / "model.safetensors")
    assert one.keys() == other.keys()
    assert all(one[name].equal(other[name]) for name in one)


@pytest.mark.slow
def test_metrics_table_and_report_show_the_start_and_whether_both_log_probs_fell(worse):
    folder, _, out, _ = worse
    run = folder / "runs" / "sdpo"
    lines = [json.loads(line) for line in (run / "preference" / "metrics.jsonl").read_text().splitlines()]
    looks = {entry["step"]: entry["eval_ndcg"] for entry in lines if "eval_ndcg" in entry}
    assert min(looks) == 0
    assert looks[0] == max(looks.values())
    chosen = [entry["chosen_log_prob"] for entry in lines if "chosen_log_prob" in entry]
    assert chosen[-1] < chosen[0] - 1
    rows = {row["name"]: row for row in json.loads((run / "comparison.json").read_text())["tables"]["cand20"]["rows"]}
    assert rows["SFT"]["metrics"]["HR@1"] == rows["S-DPO"]["metrics"]["HR@1"]
    assert "SFT" in out
    page = (run / "report.html").read_text()
    assert "start, kept" in page
    assert re.search("Both fell under S-DPO|Nowhere did both fall", page)


@pytest.mark.slow
def test_the_overlap_is_counted_and_said_before_training(worse):
    folder, _, _, err = worse
    said = "180 of 180 preference positives are SFT targets"
    assert said in err
    assert "sft.keep_back=0.3 preference.positives=kept_back" in err
    assert err.index(said) < err.index("SFT: ")
    overlap = json.loads((folder / "runs" / "sdpo" / "run.json").read_text())["overlap"]
    assert overlap == {"preference_positives": 180, "sft_targets": 180}


def test_with_a_part_kept_back_nothing_overlaps(tmp_path):
    short = {"epochs": 0.25, "save_every": None}
    keys = {**tiny_keys(tmp_path / "data"), "objective": {"name": "sdpo"}}
    write_recipe(tmp_path / "sdpo.yaml", keys, sft=short, preference=short)
    napo = napo_in(tmp_path)
    ran = napo("train", "sdpo.yaml", "sft.keep_back=0.34", "preference.positives=kept_back", "--out", "run")
    assert ran.code == 0, ran.err
    assert "SFT targets" not in ran.err
    # 6 training events a user, of which the newest 2 are kept back
    overlap = json.loads((tmp_path / "run" / "run.json").read_text())["overlap"]
    assert overlap == {"preference_positives": 60, "sft_targets": 0}
