"""How many more positions a second train as trajectories than as one prompt each?

    python -m benchmarks.trajectories [--quick]

A step lays the rows out, draws K = 3 rejected titles at each position and runs forward and backward, under `catalog`
normalization with histories of up to 10 titles. trajectory: a row is a stretch of a user's history with a loss at every
title. prompt: a row is one position. The mark is 3 times as many positions a second. Where a position has the same
history in both forms (the first ten of a user, and the first of any row) their log-probs are held equal.
"""

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from benchmarks.arms import ArmFailed, Case, Outcome, Step, difference, fast_dtype, measure, ratios
from benchmarks.record import Options, Ratio, Record, must_agree, options

if TYPE_CHECKING:
    from napo.training.batches import Form, RowSettings
    from napo.training.module import PreferenceModule

QUESTION = (__doc__ or "").partition("\n")[0]
ARMS = ("prompt", "trajectory")
HISTORY, REJECTED = 10, 3
TOLERANCE = {"float32": 1e-4, "bfloat16": 3e-2}


def cases(quick: bool) -> Iterator[dict[str, Any]]:
    """T: tokens of a title, from fewest to most. rows: trajectories a step, of `positions` each; prompts in as many."""
    tiny = {"model": "tiny", "dtype": "float32", "rows": 8, "positions": 40, "mark": True}
    yield {**tiny, "T": (2, 4)}
    if not quick:
        yield {**tiny, "T": (6, 10)}
        yield {**tiny, "T": (2, 4), "positions": 100}
        yield {"model": "smollm2", "dtype": fast_dtype(), "rows": 2, "positions": 30, "mark": False, "T": (6, 10)}


def arm(name: str, case: Case) -> Step:
    import numpy as np

    from benchmarks import made_up
    from napo.negatives import uniform
    from napo.negatives._protocol import SamplerContext
    from napo.objectives import sdpo
    from napo.training.batches import Drawing, RowSettings, TrainingBatches
    from napo.training.examples import Layout, Limits, Plan
    from napo.training.module import PreferenceModule

    form: Form = "prompt" if name == "prompt" else "trajectory"
    data = made_up.data(24, HISTORY + case["positions"], 1500, tuple(case["T"]), made_up.vocabulary(case["model"]))
    layout = Layout(data.split, data.tree, data.frame, Limits(HISTORY, 4096))
    drawing = Drawing(uniform.Sampler(SamplerContext(1500, data.split.popularity), uniform.Settings()), REJECTED)
    settings = RowSettings(layout, data.tree, data.frame, "catalog", form, seed=0, drawing=drawing)
    policy = made_up.policy(case["model"], case["dtype"])
    objective = sdpo.Objective(sdpo.Settings(reference=False))
    module = PreferenceModule(policy, objective, data.tree, "catalog").train()

    first = np.full(len(data.split.sequences), HISTORY)
    spans = layout.spans(first, data.split.valid_from, case["positions"] if form == "trajectory" else 1)
    # 4 prompts for each trajectory of the step: with 2, 16 or 40 no more of them train in a second
    batches = TrainingBatches(settings, Plan(spans, case["rows"] * (1 if form == "trajectory" else 4), 1000, seed=0))
    step = 0

    def once() -> Callable[[], Outcome]:
        nonlocal step
        module.zero_grad(set_to_none=True)
        batch = batches[step]
        step += 1
        module(batch).losses.mean().backward()
        trained = len(batch["columns"])
        return lambda: {"log_probs": comparable(settings, module), "positions": [trained]}

    return once


def comparable(settings: "RowSettings", module: "PreferenceModule") -> list[float]:
    """Log-probs (1 + K) of positions whose history is the same in both forms, by user and position."""
    import torch

    from napo.training.batches import TrainingBatches
    from napo.training.examples import Plan, Span

    positions = [*range(HISTORY), HISTORY + 5]
    cuts = [(at, at + 1) for at in positions]
    if settings.form == "trajectory":
        cuts = [(0, HISTORY), (HISTORY + 5, HISTORY + 10)]
    found: dict[tuple[int, int], list[float]] = {}
    for user in range(3):
        for begin, end in cuts:  # a batch each: a plan would shuffle them
            batch = TrainingBatches(settings, Plan([Span(user, begin, end)], 1, 1, seed=0))[0]
            with torch.no_grad():
                scored = module.scored(batch).policy
            found |= {(user, begin + at): line.tolist() for at, line in enumerate(scored)}
    return [value for user in range(3) for at in positions for value in found[user, at]]


def main(given: Options) -> int:
    record = Record("trajectories", QUESTION, given)
    for case in given.chosen(cases(given.quick)):
        try:
            arms = measure("benchmarks.trajectories", ARMS, case, steps=given.steps, threads=given.threads)
        except ArmFailed as reason:
            record.skip(case, str(reason))
            continue
        prompt, trajectory = arms["prompt"], arms["trajectory"]
        differ = difference(trajectory.outcome["log_probs"], prompt.outcome["log_probs"])
        must_agree("log_probs", differ, TOLERANCE[case["dtype"]])
        more = trajectory.outcome["positions"][0] / prompt.outcome["positions"][0]
        rounds = [more * ratio for ratio in ratios(prompt, trajectory)]
        found = [
            Ratio.of("times as many positions a second", rounds, at_least=3.0 if case["mark"] else None),
            Ratio.of("the same by processor time", [more * ratio for ratio in ratios(prompt, trajectory, "cpu")]),
            *(Ratio(f"positions a second, {n}", a.outcome["positions"][0] / a.median) for n, a in arms.items()),
            Ratio("log-probs differ by a share of", differ),
        ]
        record.add(case, arms, found)
    return record.finish()


if __name__ == "__main__":
    sys.exit(main(options(QUESTION)))
