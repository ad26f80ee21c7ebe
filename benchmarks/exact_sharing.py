"""What does exact sharing cost: shared titles scored under the receiver's prompt, beside NAPO as its paper has it?

    python -m benchmarks.exact_sharing [--quick]

A step is a whole one: rows laid out, peers chosen, forward, backward, clipping, AdamW; similar peers and an adaptive
margin by an untrained auxiliary SASRec. T (2, 2): every title is one token and its end, so that a title beside a row
costs no token under `normalize: catalog`, only its place in the softmax that is there already. T (2, 4): titles cost
tokens, and `max_peers` keeps them few. There is no mark: the figures say what it takes.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.arms import ArmFailed, Case, Outcome, Step, difference, measure, ratios
from benchmarks.record import Options, Ratio, Record, must_agree, options

QUESTION = (__doc__ or "").partition("\n")[0]
ARMS = ("plain", "exact")


def cases(quick: bool) -> Iterator[dict[str, Any]]:
    """As in napo_step; peers: at most so many, None: the accept ratio of 0.7 alone."""
    tiny = {"model": "tiny", "dtype": "float32", "form": "trajectory", "rows": 8, "events": 40, "history": 20, "K": 3}
    yield {**tiny, "T": (2, 2), "peers": None}
    yield {**tiny, "T": (2, 4), "peers": 4}
    if not quick:
        yield {**tiny, "T": (2, 2), "peers": 10}
        prompts = {**tiny, "form": "prompt", "rows": 16, "events": 36, "history": 35}
        yield {**prompts, "T": (2, 4), "peers": None}


def arm(name: str, case: Case) -> Step:
    import torch

    from benchmarks import made_up
    from benchmarks.napo_step import ITEMS, USERS, auxiliary_of, made_batches
    from napo.objectives.napo import Objective, Settings, Sharing
    from napo.training.module import PreferenceModule

    data = made_up.data(USERS, case["events"], ITEMS, tuple(case["T"]), made_up.vocabulary(case["model"]))
    objective = Objective(Settings(sharing=Sharing(max_peers=case["peers"], exact=name == "exact")))
    batches = made_batches(case, data, auxiliary_of(data), objective.borrow)
    policy = made_up.policy(case["model"], case["dtype"])
    module = PreferenceModule(policy, objective, data.tree, "catalog").train()
    optimizer = torch.optim.AdamW(policy.parameters(), lr=0.0)  # a rate of 0: each step the same
    step = 0

    def once() -> Callable[[], Outcome]:
        nonlocal step
        batch = batches[step % batches.plan.steps]
        step += 1
        optimizer.zero_grad(set_to_none=True)
        loss = module(batch)
        loss.losses.mean().backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()

        def look() -> Outcome:
            with torch.no_grad():
                own = module.scored(batch).without_lent().policy
            tokens, effective = batch["tokens"]["tokens"], float(loss.figures["effective_negatives"])
            return {"log_probs": own.flatten().tolist(), "tokens": [tokens], "effective": [effective]}

        return look

    return once


def main(given: Options) -> int:
    record = Record("exact_sharing", QUESTION, given)
    for case in given.chosen(cases(given.quick)):
        try:
            arms = measure("benchmarks.exact_sharing", ARMS, case, steps=given.steps, threads=given.threads)
        except ArmFailed as reason:
            record.skip(case, str(reason))
            continue
        plain, exact = (arms[name] for name in ARMS)
        must_agree("log_probs", difference(exact.outcome["log_probs"], plain.outcome["log_probs"]), 1e-5)
        must_agree("effective negatives", difference(exact.outcome["effective"], plain.outcome["effective"]), 0.0)
        found = [
            Ratio.of("time beside plain", ratios(exact, plain)),
            Ratio.of("processor time beside plain", ratios(exact, plain, "cpu")),
            Ratio("peak memory beside plain", exact.peak_gb / plain.peak_gb),
            Ratio("memory of the step beside plain", exact.extra_gb / plain.extra_gb),
            Ratio("tokens beside plain", exact.outcome["tokens"][0] / plain.outcome["tokens"][0]),
            Ratio("effective rejected titles", exact.outcome["effective"][0]),
        ]
        record.add(case, arms, found)
    return record.finish()


if __name__ == "__main__":
    sys.exit(main(options(QUESTION)))
