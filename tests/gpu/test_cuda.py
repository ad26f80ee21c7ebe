"""The same on a GPU as on a CPU: scores, gradients, every objective's stage, the saved model. `make test-gpu`."""

import json

import numpy as np
import pytest
import torch

from napo import plugins
from napo.evaluation.judge import judge_language
from napo.scoring.batch import pack
from napo.scoring.naive import naive_title_log_probs
from napo.scoring.shared_prefix import TreeOnDevice, title_log_probs
from napo.serving.recommender import Recommender
from napo.training.run import train_recipe
from tests.scoring.toys import ROWS, catalog_tree, gradients, language_policy
from tests.tiny_world import Quiet, tiny_recipe

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
BOTH = ("cand20", "full")


def scored(policy, rows, frame, normalize, device):
    tree = catalog_tree()
    return title_log_probs(
        policy, pack(rows, tree, frame, normalize, 0).to(device), TreeOnDevice(tree, device), normalize
    )


@pytest.mark.parametrize("shape", ["llama", "qwen2", "gpt2"])
@pytest.mark.parametrize("normalize", ["catalog", "vocabulary"])
@pytest.mark.parametrize("kind", ROWS)
def test_a_gpu_scores_titles_as_a_cpu_does_gradients_too(shape, normalize, kind):
    frame, rows = ROWS[kind]
    policy = language_policy(shape)
    here = scored(policy, rows, frame, normalize, "cpu")
    expected = gradients(policy, here)
    policy = policy.to("cuda")
    there = scored(policy, rows, frame, normalize, "cuda")
    naive = naive_title_log_probs(policy, rows, catalog_tree(), frame, normalize)
    torch.testing.assert_close(there.cpu(), here, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(there, naive, rtol=1e-6, atol=1e-6)
    for one, other in zip(gradients(policy, there), expected, strict=True):
        torch.testing.assert_close(one.cpu(), other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "auto"])
@pytest.mark.parametrize("name", plugins.names("objectives"))
def test_every_objective_trains_and_is_judged_on_the_gpu(name, precision, tmp_path):
    """auto: bfloat16 arithmetic over float32 weights."""
    model = {"precision": precision, "layers": 2}  # the fewest that an objective may look into
    recipe = tiny_recipe(tmp_path / "data", chain=True, objective={"name": name}, model=model)
    run = train_recipe(recipe, tmp_path / "runs" / name, progress=Quiet())
    assert {parameter.device.type for parameter in run.language.policy.parameters()} == {"cuda"}
    lines = [json.loads(line) for line in (run.stages["preference"] / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert np.isfinite(losses).all()
    assert max(line.get("memory_gb", 0) for line in lines) > 0
    for protocol in BOTH:
        result = judge_language(run.language, run.prepared.under(protocol), protocol, recipe)
        assert 0 <= float(result.metrics["HR@1"].mean()) <= 1
    history, asked = ["i03", "i04", "i05"], [f"i{item:02d}" for item in range(20)]
    here, there = (Recommender.load(run.folder, device=device).score(history, asked) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(here, there, rtol=1e-4, atol=1e-4)
