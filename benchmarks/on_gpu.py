"""On one GPU: how much faster is the shared prefix than whole sequences, in how much less memory; what does NAPO add?

    python -m benchmarks.on_gpu [--steps N]

SmolLM2-135M under LoRA in bfloat16. A step is forward and backward of a preference loss over 4 prompts of 280 tokens,
1 + K titles of 8 tokens each, `vocabulary` normalization, arms in turn in one process. Memory: the step's peak above
the loaded model, as torch's allocator counts it. naive: each title behind a prompt of its own, logits everywhere.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks import made_up
from benchmarks.naive_step import NaiveStep
from napo.objectives.sdpo import sdpo_loss
from napo.scoring.batch import Frame, Row, pack
from napo.scoring.shared_prefix import TreeOnDevice, title_log_probs

PROMPT, TITLE, ROWS = 280, 8, 4


def arms(rejected: int) -> dict[str, Callable[[], torch.Tensor]]:
    """Each gives the log-probs (ROWS, 1 + rejected) of the same titles under the same model."""
    titles, before = 1 + rejected, (PROMPT - 1) // TITLE
    tree = made_up.tree(200, (TITLE, TITLE), made_up.vocabulary("smollm2"))
    frame = Frame(header=np.arange(3, 3 + PROMPT - before * TITLE))
    rng = np.random.default_rng(0)
    items = [rng.permutation(200) for _ in range(ROWS)]
    rows = [Row(i[:before], branches=i[before:][:titles], sees=np.full(titles, before)) for i in items]
    policy = made_up.policy("smollm2", "bfloat16").to("cuda")
    step = NaiveStep(rows, tree, frame)
    step.ids, step.is_title = step.ids.cuda(), step.is_title.cuda()
    tokens, on_device = pack(rows, tree, frame, "vocabulary").to("cuda"), TreeOnDevice(tree, "cuda")
    return {
        "naive": lambda: step.log_probs(policy).view(ROWS, titles),
        "shared": lambda: title_log_probs(policy, tokens, on_device, "vocabulary").view(ROWS, titles),
    }


def measured(log_probs: Callable[[], torch.Tensor]) -> tuple[float, float, torch.Tensor]:
    """Seconds and GB of one step, and what it scored."""
    torch.cuda.synchronize()
    loaded = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    scored = log_probs()
    sdpo_loss(scored, beta=0.05).mean().backward()  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    return time.perf_counter() - began, (torch.cuda.max_memory_allocated() - loaded) / 1e9, scored.detach()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=10)
    steps = parser.parse_args(argv).steps
    if not torch.cuda.is_available():
        print("this benchmark needs a CUDA GPU", file=sys.stderr)
        return 2
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    for rejected in (3, 15):
        both = arms(rejected)
        seen: dict[str, list[tuple[float, float, torch.Tensor]]] = {name: [] for name in both}
        for step in range(steps + 2):
            for name, log_probs in both.items():
                found = measured(log_probs)
                if step >= 2:  # the first ones load kernels, and make the gradients' room
                    seen[name].append(found)
        seconds = {name: statistics.median(one[0] for one in found) for name, found in seen.items()}
        memory = {name: max(one[1] for one in found) for name, found in seen.items()}
        differ = float((seen["naive"][-1][2] - seen["shared"][-1][2]).abs().max())
        print(
            f"K={rejected}: naive {seconds['naive'] * 1e3:.1f} ms, {memory['naive']:.2f} GB; shared"
            f" {seconds['shared'] * 1e3:.1f} ms, {memory['shared']:.2f} GB: {seconds['naive'] / seconds['shared']:.1f}"
            f" times faster, {memory['shared'] / memory['naive']:.3f} of the memory; log-probs differ by {differ:.2g}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
