"""Frozen weights in four bits under an adapter: QLoRA (arXiv 2305.14314), by bitsandbytes.

Path    recipe (`model.load_in: 4bit`) -> [models.four_bit] -> models.pretrained
Takes   the type to compute in
Gives   arguments of `from_pretrained`; never run
"""

from importlib.util import find_spec
from typing import Any

import torch

from napo.errors import UserError


def four_bit(compute: torch.dtype) -> dict[str, Any]:
    """NF4 with double quantization, the whole model on the current GPU.

    Raises UserError without a CUDA GPU or without bitsandbytes.
    """
    if not torch.cuda.is_available():
        raise UserError(
            "weights in four bits need a CUDA GPU, and there is none here",
            where="model.load_in",
            remedy="leave `load_in` out: on a CPU an adapter goes on bfloat16 weights",
        )
    if find_spec("bitsandbytes") is None:
        raise UserError(
            "weights in four bits need the package bitsandbytes",
            where="model.load_in",
            remedy="pip install bitsandbytes",
        )
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )
    return {"quantization_config": config, "device_map": {"": torch.cuda.current_device()}}
