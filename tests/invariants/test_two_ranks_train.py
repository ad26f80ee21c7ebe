"""Two processes that share each step's rows train what one process with all of them trains, NAPO's sharing included."""

import json
import os
import socket
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from transformers import TrainerCallback

from napo.training.module import PreferenceModule
from napo.training.processes import join_ranks, ranks
from napo.training.run import train_recipe
from napo.training.stage import training_arguments
from napo.training.trainer import TitleTrainer
from tests.tiny_world import Quiet, World, tiny_recipe

pytestmark = pytest.mark.slow

STEPS = 4
# rows a step of 30 in all: even shares, uneven ones, and a last step of a single row, none for the second rank
CASES = {
    "napo": ("napo", {"batch": 8}),
    "napo, uneven": ("napo", {"batch": 7, "leave_out": 0.3, "row": 4, "shift": True}),
    "napo, a rank without rows": ("napo", {"batch": 29, "epochs": 2.0}),
    "sdpo": ("sdpo", {"batch": 7}),
    "sft": ("sft", {"batch": 29, "epochs": 2.0}),
}


class Capture(TrainerCallback):
    """Each step's gradients, as the optimizer gets them."""

    def __init__(self) -> None:
        self.gradients: list[torch.Tensor] = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).clone())

    def on_step_end(self, args, state, control, **kwargs):
        control.should_log = True


def trained(case: str, folder: Path) -> dict[str, torch.Tensor]:
    name, settings = CASES[case]
    objective = {"name": name} if name != "sdpo" else {"name": name, "reference": False}
    world = World.of(folder / "data", objective=objective, preference={"lr": 1e-4, "clip": 100.0, **settings})
    inputs = world.preference()
    assert inputs.batches.ranks == ranks()
    language = inputs.language
    module = PreferenceModule(language.policy, inputs.objective, language.tree, "catalog")
    capture = Capture()
    arguments = training_arguments(inputs, folder)
    trainer = TitleTrainer(module, arguments, inputs.batches, lambda: {"ndcg": 0.5, "hr@1": 0.5}, [capture])
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    state = [value.double().flatten() for value in module.objective.state_dict().values()]
    return {
        "gradients": torch.stack(capture.gradients[:STEPS]),
        "losses": torch.tensor(losses[:STEPS], dtype=torch.float64),
        "state": torch.cat(state) if state else torch.zeros(1),
        "steps": torch.tensor(trainer.state.global_step),
    }


def whole_run(folder: Path) -> list[dict[str, float]]:
    """A recipe from start to end, with a reference and an auxiliary model; its validation figures and last losses."""
    sections = {"objective": {"name": "napo", "reference": True}, "model": {"dropout": {"embedding": 0.0}}}
    recipe = tiny_recipe(folder / "data", **sections, sft={"lr": 1e-3})
    run = train_recipe(recipe, folder / "runs" / "napo", progress=Quiet())
    entries = []
    for stage in run.stages.values():
        entries += [json.loads(line) for line in (stage / "metrics.jsonl").read_text().splitlines()]
    return [{name: entry[name] for name in ("step", "loss", "eval_ndcg") if name in entry} for entry in entries]


def work(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_WORLD_SIZE": "2"}
    join_ranks()
    assert ranks() == 2
    found: dict = {case: trained(case, Path(folder) / f"data-{rank}") for case in CASES}
    found["run"] = whole_run(Path(folder) / "two")
    torch.save(found, f"{folder}/rank{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def by_rank(tmp_path_factory) -> list[dict]:
    """All cases in one pair of processes: starting them is what takes the time."""
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "two" / "data").mkdir(parents=True)
    tiny_recipe(folder / "two" / "data")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(work, args=(port, str(folder)), nprocs=2)
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_train_what_one_process_trains(by_rank, tmp_path, case):
    expected = trained(case, tmp_path)
    assert expected["gradients"].abs().max() > 1e-3
    for rank in range(2):
        found = by_rank[rank][case]
        assert found["steps"] == expected["steps"]
        torch.testing.assert_close(found["gradients"], expected["gradients"], rtol=0, atol=1e-6)
        torch.testing.assert_close(found["losses"], expected["losses"], rtol=0, atol=1e-5)
        torch.testing.assert_close(found["state"], expected["state"], rtol=0, atol=1e-5)


def test_a_whole_run_under_two_ranks_is_the_run_of_one(by_rank, tmp_path):
    expected, found = whole_run(tmp_path), by_rank[0]["run"]
    assert by_rank[1]["run"] == found
    assert [entry["step"] for entry in found] == [entry["step"] for entry in expected]
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
