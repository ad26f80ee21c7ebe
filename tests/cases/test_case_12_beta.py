"""Case 12: beta counts once, a policy that is its reference starts at a known loss, and a stuck loss is said."""

import json
from importlib import import_module

import pytest
import torch

from napo import plugins
from napo.objectives.dpo import dpo_loss
from tests.commands import napo_in, write_recipe
from tests.tiny_world import tiny_keys


@pytest.mark.parametrize(("beta", "loss"), [(0.1, 0.66846), (1.0, 0.47408)])
def test_dpo_has_its_beta_once(beta, loss):
    # -log sigmoid(0.5 beta); with beta twice 0.1 would give 0.69065
    policy, reference = torch.tensor([[-1.7, -3.2]]), torch.tensor([[-2.0, -3.0]])
    assert dpo_loss(policy, reference, beta=beta).item() == pytest.approx(loss, abs=1e-5)


@pytest.fixture
def napo(tmp_path):
    sft = {"epochs": 0.25, "save_every": None}
    write_recipe(tmp_path / "t.yaml", tiny_keys(tmp_path / "data"), sft=sft, preference={"epochs": 0.25})
    return napo_in(tmp_path)


def first_step(folder) -> dict[str, float]:
    lines = [json.loads(line) for line in (folder / "preference" / "metrics.jsonl").read_text().splitlines()]
    entry = next(entry for entry in lines if "loss" in entry)
    assert entry["step"] == 1
    return entry


@pytest.mark.parametrize(
    ("objective", "loss"),
    [
        ("{name: dpo, beta: 0.1}", 0.69315),
        ("{name: dpo, beta: 1.0}", 0.69315),
        ("{name: sdpo}", 1.38629),
        ("{name: dmpo}", 0.69315),
        ("{name: rosepo, smoothing: 0.1}", 0.69315),
        ("{name: napo, reference: true, margin: null, sharing: null}", 1.38629),
    ],
)
def test_the_first_step_of_a_policy_that_is_its_reference(napo, tmp_path, objective, loss):
    ran = napo("train", "t.yaml", f"objective={objective}", "negatives.count=3", "--out", "run")
    assert ran.code == 0, ran.err
    first = first_step(tmp_path / "run")
    assert first["loss"] == pytest.approx(loss, abs=2e-5)
    for figure in ("chosen_reward", "rejected_reward", "reward_margin"):
        assert first[figure] == pytest.approx(0.0, abs=1e-5)


@pytest.mark.slow
def test_a_loss_that_stays_for_50_steps_is_said_with_likely_causes(napo):
    slow = ["preference.lr=1e-12", "preference.epochs=15", "preference.evaluate_every=15"]
    ran = napo("train", "t.yaml", "objective={name: sdpo}", *slow, "--out", "run")
    assert ran.code == 0, ran.err
    (said,) = [line for line in ran.err.splitlines() if "has stayed at" in line]
    assert "the loss has stayed at 1.3862" in said
    assert all(cause in said for cause in ("rate", "frozen", "the same"))


@pytest.mark.parametrize("name", plugins.names("objectives"))
def test_every_beta_says_what_a_larger_one_does(name):
    beta = import_module(f"napo.objectives.{name}").Settings.model_fields.get("beta")
    assert beta is None or "Larger: " in beta.description
