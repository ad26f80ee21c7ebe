"""Under a launcher every rank runs the command, and one of them judges, writes and prints."""

import json
import re
from pathlib import Path

import pytest

from tests.commands import write_desk
from tests.processes import python

pytestmark = pytest.mark.slow


def launched(folder: Path, *words: str):
    """`torchrun --nproc-per-node 2 -m napo WORDS`, on the CPU."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--module", "napo"]
    return python(*launcher, *words, cwd=folder, OMP_NUM_THREADS="1")


def test_train_judges_writes_and_prints_once(tmp_path):
    write_desk(tmp_path)
    ran = launched(tmp_path, "train", "sft.yaml", "objective={name: sdpo}", "--out", "runs/sdpo")
    assert ran.returncode == 0, ran.stderr
    for said in ("SFT: validation|SFT did not help", "The report is", "The model is in"):
        assert len(re.findall(said, ran.stdout)) == 1, ran.stdout
    assert ran.stderr.count("are SFT targets") == 1
    assert "Traceback" not in ran.stderr
    assert "destroy_process_group" not in ran.stderr
    run = tmp_path / "runs" / "sdpo"
    assert {row["name"] for row in json.loads((run / "comparison.json").read_text())["tables"]["cand20"]["rows"]} >= {
        "SFT",
        "S-DPO",
    }
    assert not [path for path in tmp_path.rglob(".*") if path.name != ".lock"]


def test_compare_judges_writes_and_prints_once(tmp_path):
    write_desk(tmp_path)
    (tmp_path / "sdpo.yaml").write_text("extends: sft.yaml\nobjective: {name: sdpo}\n")
    ran = launched(tmp_path, "compare", "sft.yaml", "sdpo.yaml", "--out", "both", "--json")
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)  # one document, not two
    assert [run["name"] for run in said["runs"]] == ["SFT", "S-DPO"]
    assert ran.stderr.count("The report is") == 1
    assert (tmp_path / "both" / "report.html").is_file()


def test_a_users_mistake_is_said_once_and_no_rank_shows_a_traceback_of_ours(tmp_path):
    write_desk(tmp_path)
    (tmp_path / "items.csv").write_text("item,title\ni00,Heat\n")
    ran = launched(tmp_path, "train", "sft.yaml", "--out", "runs/sft")
    assert ran.returncode != 0
    assert ran.stderr.count("items have no title") == 1
    assert not re.search(r'File "\S*/napo/', ran.stderr)  # torchrun shows one of its own
    assert not (tmp_path / "runs").exists()
