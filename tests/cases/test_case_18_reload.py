"""Case 18: what was saved opens in a new process with the same scores, fits its tokenizer, and never runs a pickle."""

import json
import pickle
import re
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from napo.evaluation.runs import open_run
from napo.training.trainer import whole_checkpoints
from tests.cases.gpt2_world import write_gpt2
from tests.commands import assert_said, brought, napo_in, power_cut_after, write_recipe
from tests.processes import printed
from tests.tiny_world import tiny_keys

ROOT = Path(__file__).parents[2]


def test_every_dependency_has_an_upper_bound():
    """A fresh install, years after, gets the versions that were tried or says that there are none."""
    listed = (ROOT / "pyproject.toml").read_text().partition("dependencies = [")[2].partition("]")[0]
    names = re.findall(r'"([^"]+)"', listed)
    assert len(names) > 10
    assert [name for name in names if not re.search(r">=[\d.]+,<\d", name)] == []


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """A finished run of an adapter over a model to whose tokenizer tokens were added."""
    folder = tmp_path_factory.mktemp("adapter")
    keys = tiny_keys(folder / "data")
    items = folder / "data" / "items.csv"
    items.write_text(items.read_text().replace("Title number 1\n", "Title <new> 1\n"))
    base = write_gpt2(folder / "gpt2", [f"Title number {item}" for item in range(40)])
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens(["<new>", "<newer>"])
    tokenizer.save_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(base)
    keys["model"] = {"name": str(base), "lora": {"r": 2}, "precision": "float32"}
    write_recipe(
        folder / "lora.yaml", keys, sft={"epochs": 1.0, "save_every": None}, prompt={"max_tokens": 256}, auxiliary=None
    )
    ran = napo_in(folder)("train", "lora.yaml", "--out", "run")
    assert ran.code == 0, ran.err
    return folder / "run"


SCORES = """
import json
from pathlib import Path
from napo.evaluation.runs import open_run
_, prepared, language = open_run(Path(RUN))
items = prepared.test_lists.items[:3]
histories = [prepared.test.history(case) for case in range(3)]
print(json.dumps(language.ranker().candidate_scores(histories, items).tolist()))
"""


@pytest.mark.slow
def test_scores_of_20_candidates_are_the_same_in_a_new_process(adapter):
    _, prepared, language = open_run(adapter)
    histories = [prepared.test.history(case) for case in range(3)]
    here = language.ranker().candidate_scores(histories, prepared.test_lists.items[:3])
    assert here.shape == (3, 20)
    there = json.loads(printed(f"RUN = {str(adapter)!r}\n{SCORES}").splitlines()[-1])
    assert there == [pytest.approx(row, abs=1e-6) for row in here.tolist()]


@pytest.mark.slow
def test_an_adapter_with_a_tokenizer_of_another_size_is_refused_with_both_sizes(adapter, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(adapter, run)
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    size = len(tokenizer)
    tokenizer.add_tokens(["<newest>"])
    tokenizer.save_pretrained(run / "model")
    ran = napo_in(tmp_path)("recommend", "run", "--history", "Title number 3")
    assert ran.code == 2
    assert f"the tokenizer ({size + 1} tokens)" in ran.err
    assert f"({size} tokens)" in ran.err


class Planted:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.mkdir, (self.path,)


PICKLED = ["optimizer.pt", "rng_state.pth", "scheduler.pt"]  # by torch; read with weights_only


def test_a_checkpoint_holds_no_other_pickles(broken_off):
    (stage,) = (broken_off / "runs" / "stages").glob("sft-*")
    found = [path.name for path in whole_checkpoints(stage)[-1].iterdir()]
    assert sorted(name for name in found if not name.endswith((".json", ".safetensors", "complete"))) == PICKLED


@pytest.mark.parametrize("write", [pickle.dump, torch.save])
@pytest.mark.parametrize("name", [*PICKLED, "model.safetensors", "objective.safetensors"])
def test_no_pickle_in_a_checkpoint_is_ever_run(broken_off, tmp_path, name, write):
    folder = tmp_path / "there"
    shutil.copytree(broken_off, folder)
    brought(folder, "runs/sft")
    (stage,) = (folder / "runs" / "stages").glob("sft-*")
    checkpoint = whole_checkpoints(stage)[-1]
    assert (checkpoint / name).is_file()
    with (checkpoint / name).open("wb") as file:
        write(Planted(tmp_path / "planted"), file)
    ran = napo_in(folder)("train", "sft.yaml", "--resume")
    assert not (tmp_path / "planted").exists()
    assert_said(ran, ["can't be read", checkpoint.name, "delete the folder"])


@pytest.fixture(scope="module")
def broken_off(tmp_path_factory):
    """A run that was cut off after step 6 of 8, with checkpoints of steps 4 and 6."""
    folder = tmp_path_factory.mktemp("broken")
    keys = tiny_keys(folder)
    keys["data"] = {"interactions": "log.csv", "items": "items.csv"}
    write_recipe(folder / "sft.yaml", keys, sft={"epochs": 2.0, "save_every": 2})

    with power_cut_after(7):
        napo_in(folder)("train", "sft.yaml")
    return folder
