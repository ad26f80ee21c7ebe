"""Case 11: numbers that overflow stop a run where they appear, and the last good checkpoint stays."""

import json
from functools import partial

import pytest
import torch
from safetensors.torch import load_file

from napo.errors import UserError
from napo.objectives.napo import napo_loss
from napo.objectives.sdpo import sdpo_loss
from napo.scoring.batch import TokenBatch
from napo.scoring.shared_prefix import TreeOnDevice, title_log_probs
from napo.training import run as run_module
from napo.training.batches import TrainingBatches
from napo.training.callbacks import Report
from napo.training.module import PreferenceModule
from napo.training.stage import training_arguments
from napo.training.trainer import TitleTrainer, last_checkpoint
from tests.commands import napo_in, write_recipe
from tests.tiny_world import World, tiny_keys


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("loss", "expected"), [(sdpo_loss, 200.0), (partial(napo_loss, gamma=1.0), 201.0)])
def test_a_gap_of_200_nats_has_its_loss_and_finite_gradients(loss, expected, dtype):
    policy = torch.tensor([[-250, -50, -60, -70]], dtype=dtype, requires_grad=True)
    losses = loss(policy)
    losses.sum().backward()
    assert losses.item() == pytest.approx(expected, abs=1e-3)
    assert policy.grad.isfinite().all()
    assert policy.grad.abs().sum() > 0


@pytest.fixture
def stages(tmp_path):
    return lambda: list((tmp_path / "runs" / "stages").glob("sft-*"))


@pytest.fixture
def napo_there(tmp_path):
    write_recipe(tmp_path / "sft.yaml", tiny_keys(tmp_path / "data"), sft={"save_every": 1, "epochs": 2.0})
    return napo_in(tmp_path)


def poison(monkeypatch, step: int) -> None:
    """One weight becomes infinite while step `step` is on its way: after the checkpoint of the step before."""
    made, before = [], TrainingBatches.__getitem__
    create = run_module.create

    def creating(*given):
        made.append(create(*given))
        return made[-1]

    def getting(self, index):
        if index == step:  # read one step ahead: now step `step` is about to be taken
            with torch.no_grad():
                made[-1].model.model.norm.weight[0] = torch.inf
        return before(self, index)

    monkeypatch.setattr(run_module, "create", creating)
    monkeypatch.setattr(TrainingBatches, "__getitem__", getting)


def test_a_run_with_an_infinite_weight_stops_at_its_step_and_keeps_the_checkpoint_before(
    napo_there, stages, tmp_path, monkeypatch
):
    shown = []
    progress = Report.on_step_end

    def watching(self, args, state, control, **more):
        shown.append(state.global_step)
        progress(self, args, state, control)

    monkeypatch.setattr(Report, "on_step_end", watching)
    with pytest.MonkeyPatch.context() as patch:
        poison(patch, 3)
        ran = napo_there("train", "sft.yaml")
    assert ran.code == 2
    assert "step 3" in ran.err
    assert "the last good checkpoint is kept" in ran.err
    assert max(shown) <= 3
    (stage,) = stages()
    checkpoint = last_checkpoint(stage)
    assert checkpoint.name in ("checkpoint-1", "checkpoint-2")
    lines = [json.loads(line) for line in (stage / "metrics.jsonl").read_text().splitlines()]
    assert not [entry for entry in lines if entry.get("loss") == 0.0 or entry.get("loss") != entry.get("loss")]
    assert not (stage / "outcome.json").exists()
    # it is good: a run without the fault goes on from it to the end
    assert napo_there("train", "sft.yaml", "--resume").code == 0


def test_a_rate_beyond_reason_leaves_no_broken_checkpoint(napo_there, stages):
    ran = napo_there("train", "sft.yaml", "sft.lr=1e38", "sft.warmup_steps=0", "sft.schedule=constant")
    assert ran.code == 2
    assert "step" in ran.err
    assert "a lower rate" in ran.err
    for checkpoint in stages()[0].glob("checkpoint-*"):
        assert all(value.isfinite().all() for value in load_file(checkpoint / "model.safetensors").values())


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_precision_where_it_does_not_work_is_refused(napo_there, precision, tmp_path):
    ran = napo_there("train", "sft.yaml", f"model.precision={precision}")
    assert ran.code == 2
    assert f"`model.precision` {precision} is not for `tiny`" in ran.err
    assert "`auto`" in ran.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("normalize", ["catalog", "vocabulary"])
def test_under_autocast_log_probs_are_summed_in_float32(tmp_path, normalize):
    made = World.of(tmp_path, normalize=normalize)
    language, inputs = made.language, made.supervised()
    batch = TokenBatch(**inputs.batches[0]["tokens"])
    tree = TreeOnDevice(language.tree)
    heads = []
    head = language.policy.head
    language.policy.head = lambda *given: heads.append(head(*given)) or heads[-1]
    language.model.eval()
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            mixed = title_log_probs(language.policy, batch, tree, normalize)
        full = title_log_probs(language.policy, batch, tree, normalize)
    assert heads[0].dtype == torch.bfloat16
    assert mixed.dtype == torch.float32
    # bfloat16 keeps 3 digits: sums of 5 to 20 nats made in it would be multiples of 1/32 or 1/16
    assert (mixed * 32).frac().abs().gt(0.01).any()
    torch.testing.assert_close(mixed, full, rtol=0.02, atol=0.1)


def test_a_checkpoint_of_broken_weights_is_never_written(tmp_path):
    """Where the update itself overflows: loss and gradient were finite, the weights are not."""
    inputs = World.of(tmp_path / "data").supervised()
    language = inputs.language
    module = PreferenceModule(language.policy, inputs.objective, language.tree, "catalog")
    trainer = TitleTrainer(module, training_arguments(inputs, tmp_path / "stage"), inputs.batches, dict)
    with torch.no_grad():
        language.model.model.norm.weight[0] = torch.nan
    trainer.state.global_step = 5
    for act in (lambda: trainer._save_checkpoint(module, None), trainer.evaluate):
        with pytest.raises(UserError, match=r"not finite after step 5.*norm\.weight"):
            act()
    assert not (tmp_path / "stage" / "checkpoint-5").exists()
