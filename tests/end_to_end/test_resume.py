"""Runs that are killed, interrupted, and gone on with end as if nothing had happened, to the last bit on a CPU."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from napo.training import callbacks, trainer
from napo.training.run import Run, train_recipe
from napo.training.trainer import last_checkpoint
from tests.processes import SOURCE
from tests.tiny_world import Quiet, tiny_keys, tiny_recipe

pytestmark = pytest.mark.slow

# 3 epochs of 15 steps a stage, a checkpoint every 5; dropout, items left out, rows cut anew each epoch, NAPO's sharing
# and moving average
STAGE = {"epochs": 3.0, "batch": 4, "save_every": 5, "leave_out": 0.2, "row": 4, "shift": True}
SECTIONS = {
    "model": {"dropout": {"embedding": 0.1, "block": 0.1}},
    "sft": STAGE,
    "preference": {**STAGE, "dropout": True},
    "objective": {"name": "napo"},
}
# a fork of a process that has imported all this, and started no thread yet
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["napo.training.run"])


def train(folder: Path, quiet: Quiet | None = None) -> Run:
    torch.set_num_threads(1)
    recipe = tiny_recipe(folder / "data", **SECTIONS)
    return train_recipe(recipe, folder / "runs" / "napo", resume=True, progress=quiet or Quiet())


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed_at_step(folder: Path, stage: str, step: int) -> None:
    train(folder, Quiet(at_step=lambda name, done: die() if (name, done) == (stage, step) else None))


def killed_while_saving(folder: Path, stage: str, step: int) -> None:
    """After the weights of that step's checkpoint, before the rest of it."""
    running = []
    whole = trainer.save_weights

    def half(module, target, state_dict=None):
        whole(module, target, state_dict)
        if target.name == f"checkpoint-{step}" and running[-1] == stage:
            die()

    trainer.save_weights = half
    train(folder, Quiet(at_step=lambda name, done: running.append(name)))


def killed_while_keeping_the_best(folder: Path, stage: str, step: int) -> None:
    """In the middle of writing it; `step` counts the times that one was kept."""
    kept, whole = [], callbacks.save_weights

    def half(module, target, state_dict=None):
        kept.append(target)
        if len(kept) == step:
            (target / "model.safetensors").write_bytes(b"half")
            die()
        whole(module, target, state_dict)

    callbacks.save_weights = half
    train(folder)


def in_a_process(work: Callable[..., None], *given: object, seconds: float | None = None) -> int | None:
    """How it ended: 0, or minus the signal. seconds: killed after so many, if it has not ended before."""
    process = CONTEXT.Process(target=work, args=given)
    process.start()
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
    return process.exitcode


PASSING = ("seconds", "tokens_per_second", "memory_gb")


def left_by(run: Run) -> dict[str, object]:
    """All that two runs of one recipe must have alike."""
    found: dict[str, object] = {"model": (run.folder / "model" / "model.safetensors").read_bytes()}
    for name, stage in run.stages.items():
        lines = [json.loads(line) for line in (stage / "metrics.jsonl").read_text().splitlines()]
        found[f"{name} lines"] = [{key: line[key] for key in line if key not in PASSING} for line in lines]
        outcome = json.loads((stage / "outcome.json").read_text())
        found[f"{name} outcome"] = {key: value for key, value in outcome.items() if key != "seconds"}
        checkpoint = last_checkpoint(stage)
        for state in ("objective.safetensors", "model.safetensors"):
            found[f"{name} {state}"] = (checkpoint / state).read_bytes()
    return found


def assert_same(found: dict[str, object], expected: dict[str, object]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == value, name


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> dict[str, object]:
    run = train(tmp_path_factory.mktemp("unbroken"))
    assert run.outcomes["sft"].steps == run.outcomes["preference"].steps == 45
    return left_by(run)


KILLS = [
    (killed_at_step, "SFT", 3),  # before any checkpoint
    (killed_at_step, "SFT", 7),
    (killed_while_keeping_the_best, "", 1),
    (killed_at_step, "SFT", 20),  # in the middle of the second epoch
    (killed_while_saving, "SFT", 25),
    (killed_while_saving, "SFT", 45),
    (killed_at_step, "NAPO", 1),
    (killed_at_step, "NAPO", 13),
    (killed_at_step, "NAPO", 14),  # resumed twice from one checkpoint
    (killed_while_saving, "NAPO", 30),
    (killed_at_step, "NAPO", 44),
]


def test_a_run_that_is_killed_again_and_again_ends_as_the_unbroken_one(unbroken, tmp_path):
    for work, stage, step in KILLS:
        ended = in_a_process(work, tmp_path, stage, step)
        if work is not killed_while_keeping_the_best:  # a resumed run may have no better look to keep
            assert ended == -signal.SIGKILL, (work.__name__, stage, step)
    quiet = Quiet()
    assert_same(left_by(train(tmp_path, quiet)), unbroken)
    assert quiet.steps == [("NAPO", step) for step in range(41, 46)]  # 4 steps were lost, no more


def test_one_kill_while_saving_loses_what_came_since_the_checkpoint_before(unbroken, tmp_path):
    assert in_a_process(killed_while_saving, tmp_path, "NAPO", 20) == -signal.SIGKILL
    stage = tmp_path / "runs" / "napo" / "preference"
    assert (stage / "checkpoint-20" / "model.safetensors").is_file()  # half-written
    assert last_checkpoint(stage).name == "checkpoint-15"
    quiet = Quiet()
    assert_same(left_by(train(tmp_path, quiet)), unbroken)
    assert quiet.steps[0] == ("NAPO", 16)


def test_a_run_that_is_killed_at_any_moment_ends_as_the_unbroken_one(unbroken, tmp_path):
    for seconds in (0.9, 1.1, 1.3, 0.7, 1.5, 1.7, 1.2, 2.0, 2.3, 1.9, 2.6, 3.0, 4.0):
        if in_a_process(train, tmp_path, seconds=seconds) == 0:
            break
    assert_same(left_by(train(tmp_path)), unbroken)


# -- through the command


def napo(*words: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "napo", *words],
        env={**os.environ, "PYTHONPATH": SOURCE, "COLUMNS": "200", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_ctrl_c_leaves_a_checkpoint_and_the_command_to_go_on(tmp_path):
    keys = tiny_keys(tmp_path / "data")
    keys["sft"] = {"epochs": 200.0, "evaluate_every": 100.0, "save_every": None}
    (tmp_path / "sft.yaml").write_text(yaml.safe_dump(keys))
    running = napo("train", "sft.yaml", "--out", "runs/sft", folder=tmp_path)
    until = time.monotonic() + 120
    while not any((stage / "metrics.jsonl").is_file() for stage in tmp_path.glob("runs/stages/sft-*")):
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)
    time.sleep(0.5)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=120)
    assert running.returncode == 130, errors
    assert "napo train sft.yaml --out runs/sft --resume" in errors
    assert "Traceback" not in errors
    (stage,) = tmp_path.glob("runs/stages/sft-*")
    at = int(last_checkpoint(stage).name.rpartition("-")[2])
    assert 0 < at < 800
    assert not (tmp_path / "runs" / "sft" / "model").exists()

    resumed = napo("train", "sft.yaml", "--out", "runs/sft", "--resume", folder=tmp_path)
    output, errors = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, errors
    assert "The model is in runs/sft" in output
    straight = napo("train", "sft.yaml", "--out", "straight/sft", folder=tmp_path)
    straight.communicate(timeout=300)
    one, other = (tmp_path / where / "sft" / "model" / "model.safetensors" for where in ("runs", "straight"))
    assert one.read_bytes() == other.read_bytes()

    changed = napo("train", "sft.yaml", "sft.lr=0.5", "--out", "runs/sft", "--resume", folder=tmp_path)
    _, errors = changed.communicate(timeout=120)
    assert changed.returncode == 2
    assert "begun with another recipe: sft.lr differ" in errors
