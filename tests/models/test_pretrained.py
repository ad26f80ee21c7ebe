"""In which precision weights are held, where the recipe leaves that open."""

import pytest
import torch

from napo import processor as cpu
from napo.models import pretrained
from napo.models.pretrained import dtype_of
from napo.recipe_keys import ModelSection

ADAPTER = {"name": "gpt2", "lora": {"r": 4}}


@pytest.fixture
def processor(monkeypatch, tmp_path):
    """Makes the machine one with a processor of some kind, with or without a GPU."""

    def become(flags, gpu=False):
        said = tmp_path / "cpuinfo"
        if flags is not None:
            said.write_text(f"flags : fpu {flags} sse\n")
        monkeypatch.setattr(cpu, "CPUINFO", said)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)

    return become


@pytest.mark.parametrize(
    ("flags", "gpu", "held"),
    [
        ("avx2", False, torch.float32),
        ("avx2 avx512f", False, torch.float32),
        (None, False, torch.float32),
        ("avx512f avx512_bf16", False, torch.bfloat16),
        ("avx2", True, torch.bfloat16),
    ],
)
def test_frozen_weights_are_in_bfloat16_where_that_is_not_many_times_slower(processor, flags, gpu, held):
    processor(flags, gpu)
    assert dtype_of(ModelSection(**ADAPTER)) == held


def test_weights_that_are_trained_are_in_float32_everywhere(processor):
    processor("avx512_bf16", gpu=True)
    assert dtype_of(ModelSection(name="gpt2")) == torch.float32


def test_what_the_recipe_says_is_heeded_on_any_processor(processor):
    processor("avx2")
    assert dtype_of(ModelSection(**ADAPTER, precision="bfloat16")) == torch.bfloat16


def test_who_loads_a_model_in_a_precision_that_this_processor_creeps_in_is_told(processor, tmp_path, caplog):
    processor("avx2")
    with pytest.raises(pretrained.UserError):
        pretrained.saved_weights(tmp_path, "bfloat16")
    assert "many times slower" in caplog.text
