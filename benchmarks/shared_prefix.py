"""How much faster is the shared prefix than 1 + K whole sequences, and how much less memory does it take?

    python -m benchmarks.shared_prefix [--quick]

A step is forward and backward of a preference loss over B prompts of P tokens with 1 + K titles of T tokens each, under
`vocabulary` normalization. naive: every title behind a prompt of its own, logits everywhere. shared: one row a prompt.
The mark is SmolLM2-135M with LoRA, in bfloat16 where the processor has it, K = 15, P = 280, T = 8: at least 8 times
faster, at most 1/6 of the memory beyond the loaded model. That both arms compute the same is checked in float32,
gradients too.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from benchmarks.arms import ArmFailed, Case, Outcome, Step, difference, fast_dtype, measure, ratios
from benchmarks.record import Options, Ratio, Record, must_agree, options

QUESTION = (__doc__ or "").partition("\n")[0]
ARMS = ("naive", "shared")
# float32: rounding of sums taken in another order; bfloat16 has 8 bits, and 30 layers to lose them in
TOLERANCE = {"float32": (1e-4, 2e-3), "bfloat16": (2e-2, 0.1)}
NAIVE_GB = {"bfloat16": 0.7, "float32": 1.4}  # of SmolLM2, a sequence of 288 tokens


def cases(quick: bool) -> Iterator[dict[str, Any]]:
    usual, fast = {"P": 280, "T": 8}, fast_dtype()
    if quick:
        yield _case("tiny", "float32", **usual, K=3, batch=2)
    if fast != "float32":
        yield _case("smollm2", "float32", **usual, K=1 if quick else 3, batch=1)
    for k in (3, 15) if quick else (1, 3, 7, 15):
        if not quick:
            yield _case("tiny", "float32", **usual, K=k, batch=2)
        yield _case("smollm2", fast, **usual, K=k, batch=1 if quick else _batch_that_fits(k, fast))
    if quick:
        return
    for p, t in ((70, 8), (560, 8), (280, 3), (280, 16)):
        for name, dtype in (("tiny", "float32"), ("smollm2", fast)):
            yield _case(name, dtype, P=p, T=t, K=3, batch=2 if name == "tiny" else _batch_that_fits(3, dtype))


def _case(model: str, dtype: str, **sizes: int) -> dict[str, Any]:
    return {"model": model, "dtype": dtype, **sizes}


def _batch_that_fits(rejected: int, dtype: str) -> int:
    """2 rows, or 1 where the naive arm would need more memory than there is or float32 would take an hour."""
    return 2 if dtype == "bfloat16" and _naive_gb(rejected, dtype, 2) < _memory_gb() else 1


def _naive_gb(rejected: int, dtype: str, batch: int) -> float:
    return batch * (1 + rejected) * NAIVE_GB[dtype] + 4


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def limits(case: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """(times faster, share of the memory) that the case must reach."""
    is_mark = case["model"] == "smollm2" and case["K"] == 15
    return (8.0, 1 / 6) if is_mark else (None, None)


def arm(name: str, case: Case) -> Step:
    import numpy as np
    import torch

    from benchmarks import made_up
    from benchmarks.naive_step import NaiveStep
    from napo.objectives.sdpo import sdpo_loss
    from napo.scoring.batch import Frame, Row, pack
    from napo.scoring.shared_prefix import TreeOnDevice, title_log_probs

    batch, titles, p, t = case["batch"], 1 + case["K"], case["P"], case["T"]
    before = (p - 1) // t  # titles of the history; the header fills up the rest of the prompt
    tree = made_up.tree(200, (t, t), made_up.vocabulary(case["model"]))
    frame = Frame(header=np.arange(3, 3 + p - before * t))
    rng = np.random.default_rng(0)
    items = [rng.permutation(200) for _ in range(batch)]
    rows = [Row(i[:before], branches=i[before:][:titles], sees=np.full(titles, before)) for i in items]
    policy = made_up.policy(case["model"], case["dtype"])

    log_probs: Callable[[], torch.Tensor]
    if name == "naive":
        step = NaiveStep(rows, tree, frame)
        log_probs = lambda: step.log_probs(policy)  # noqa: E731
    else:
        tokens, on_device = pack(rows, tree, frame, "vocabulary"), TreeOnDevice(tree)
        log_probs = lambda: title_log_probs(policy, tokens, on_device, "vocabulary")  # noqa: E731

    def once() -> Callable[[], Outcome]:
        policy.zero_grad(set_to_none=True)
        scored = log_probs().view(batch, titles)
        # a small beta: else the loss is the hardest title's alone, and rounding chooses which that is
        loss: torch.Tensor = sdpo_loss(scored, beta=0.05).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return lambda: {"log_probs": scored.flatten().tolist(), "gradients": made_up.gradient_norms(policy)}

    return once


def main(given: Options) -> int:
    record = Record("shared_prefix", QUESTION, given)
    for case in given.chosen(cases(given.quick)):
        needed = _naive_gb(case["K"], case["dtype"], case["batch"]) if case["model"] == "smollm2" else 0.0
        if needed > _memory_gb():
            record.skip(case, f"the naive arm needs about {needed:.0f} GB, and there are {_memory_gb():.0f}")
            continue
        try:
            arms = measure("benchmarks.shared_prefix", ARMS, case, steps=given.steps, threads=given.threads)
        except ArmFailed as reason:
            record.skip(case, str(reason))
            continue
        naive, shared = arms["naive"], arms["shared"]
        differ = {}
        for what, at_most in zip(("log_probs", "gradients"), TOLERANCE[case["dtype"]], strict=True):
            differ[what] = difference(shared.outcome[what], naive.outcome[what])
            must_agree(what, differ[what], at_most)
        faster, memory = limits(case)
        found = [
            Ratio.of("times faster", ratios(naive, shared), at_least=faster),
            Ratio.of("times less processor time", ratios(naive, shared, "cpu")),
            Ratio("share of the memory", shared.extra_gb / naive.extra_gb, at_most=memory),
            *(Ratio(f"{what} differ by a share of", value) for what, value in differ.items()),
        ]
        record.add(case, arms, found)
    return record.finish()


if __name__ == "__main__":
    sys.exit(main(options(QUESTION)))
