"""What does NAPO's sharing and margin cost beside S-DPO, and a step with rejected titles beside SFT?

    python -m benchmarks.napo_step [--quick]

A step is a whole one: rows laid out, rejected titles drawn, forward, backward, clipping, AdamW. napo: defaults of the
objective, similar peers and adaptive margin by an auxiliary SASRec (untrained, which costs the same; its vectors are
kept after the first pass, as in training). sdpo: the same rows and titles, stored reference. sft: rows without branches
of as many tokens, padding counted, and as many titles scored. Marks: NAPO within 5 % of S-DPO in time and memory, and
at most 1.25 times the time of SFT.
"""

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from benchmarks.arms import ArmFailed, Case, Outcome, Step, difference, fast_dtype, measure, ratios
from benchmarks.record import Options, Ratio, Record, must_agree, options

if TYPE_CHECKING:
    from benchmarks.made_up import Data
    from napo.training.batches import AuxiliaryVectors, Batch, Borrow, TrainingBatches

QUESTION = (__doc__ or "").partition("\n")[0]
ARMS = ("napo", "sdpo", "sft")
ITEMS, USERS = 1500, 32
WITHIN, BESIDE_SFT = 1.05, 1.25


def cases(quick: bool) -> Iterator[dict[str, Any]]:
    """events: of each user; history: titles shown at most; T: tokens of a title, from fewest to most."""
    tiny = {"model": "tiny", "dtype": "float32", "T": (2, 4)}
    yield {**tiny, "form": "trajectory", "rows": 8, "events": 40, "history": 20, "K": 3}
    if not quick:
        yield {**tiny, "form": "trajectory", "rows": 8, "events": 40, "history": 20, "K": 10}
        yield {**tiny, "form": "prompt", "rows": 32, "events": 12, "history": 10, "K": 3}
    for k in (3,) if quick else (3, 15):
        prompts = {"form": "prompt", "rows": 2 if quick else 4, "events": 36, "history": 35, "K": k}
        yield {"model": "smollm2", "dtype": fast_dtype(), "T": (8, 8), **prompts}


def arm(name: str, case: Case) -> Step:
    import torch

    from benchmarks import made_up
    from napo.objectives import napo, sdpo, sft
    from napo.training.module import PreferenceModule

    data = made_up.data(USERS, case["events"], ITEMS, tuple(case["T"]), made_up.vocabulary(case["model"]))
    batches = made_batches(case, data, auxiliary_of(data) if name == "napo" else None)
    method = {"napo": napo, "sdpo": sdpo, "sft": sft}[name]
    policy = made_up.policy(case["model"], case["dtype"])
    module = PreferenceModule(policy, method.Objective(method.Settings()), data.tree, "catalog").train()
    trained = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    # a rate of 0: all the work, and each step the same
    optimizer = torch.optim.AdamW(trained, lr=0.0)
    step = 0

    def made() -> "Batch":
        batch = batches[step % batches.plan.steps]
        if name == "sft":
            return _as_plain_rows(batch, data)
        if name == "sdpo":
            batch["reference"] = torch.full(batch["columns"].shape, -10.0)  # stored before training
        return batch

    def once() -> Callable[[], Outcome]:
        nonlocal step
        batch = made()
        step += 1
        optimizer.zero_grad(set_to_none=True)
        module(batch).losses.mean().backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()

        def look() -> Outcome:
            with torch.no_grad():
                log_probs = module.scored(batch).policy.flatten().tolist()
            return {"log_probs": log_probs, "tokens": [batch["tokens"]["input_ids"].numel()]}

        return look

    return once


def made_batches(
    case: Case, data: "Data", auxiliary: "AuxiliaryVectors | None", borrow: "Borrow | None" = None
) -> "TrainingBatches":
    """The case's steps, each of as many rows as it says; borrow: as in training.batches.Drawing."""
    from napo.negatives import uniform
    from napo.negatives._protocol import SamplerContext
    from napo.training.batches import Drawing, RowSettings, TrainingBatches
    from napo.training.examples import Layout, Limits, Plan

    layout = Layout(data.split, data.tree, data.frame, Limits(case["history"], 4096))
    sampler = uniform.Sampler(SamplerContext(ITEMS, data.split.popularity), uniform.Settings())
    drawing = Drawing(sampler, case["K"], borrow=borrow)
    settings = RowSettings(
        layout, data.tree, data.frame, "catalog", case["form"], seed=0, drawing=drawing, auxiliary=auxiliary
    )
    # trajectories: all of a user's events; prompts: the last one, behind a full history
    first = data.split.valid_from * 0 if case["form"] == "trajectory" else data.split.valid_from - 1
    spans = layout.spans(first, data.split.valid_from, case["events"] if case["form"] == "trajectory" else 1)
    return TrainingBatches(settings, Plan(spans, case["rows"], 1, seed=0))


def auxiliary_of(data: "Data") -> "AuxiliaryVectors":
    """An untrained SASRec's vectors, of all histories already, as they are from the second pass on."""
    import numpy as np
    import torch

    from napo.arrays import FloatArray, IntArray
    from napo.models.sasrec import SASRec, SASRecSettings
    from napo.training.batches import AuxiliaryVectors

    torch.manual_seed(0)  # arms that compare peers must have the same
    model = SASRec(ITEMS, SASRecSettings()).eval()

    def encode(histories: list[IntArray]) -> FloatArray:
        vectors: FloatArray = model.sequence_vectors(histories).numpy()
        return vectors

    kept = AuxiliaryVectors(data.split.sequences, encode, model.item_vectors.numpy())
    for user, sequence in enumerate(data.split.sequences):
        kept.histories(user, np.array([len(sequence) - 1]))
    return kept


def _as_plain_rows(batch: "Batch", data: "Data") -> "Batch":
    """Rows without branches: as many, of as many tokens, with as many titles scored at their ends, as the batch has."""
    import numpy as np
    import torch

    from napo.scoring.batch import Row, pack

    rows, width = batch["tokens"]["input_ids"].shape
    titles = batch["columns"].numel() // rows
    lengths = np.diff(data.tree.title_start)
    rng = np.random.default_rng(0)
    made: list[Row] = []
    while len(made) < rows:
        items = rng.permutation(ITEMS)
        ends = len(data.frame.header) + np.cumsum(lengths[items])
        count = int(np.searchsorted(ends, width, side="right"))
        if width - ends[count - 1] < lengths.min():  # drawn again until no further title would fit
            made.append(Row(items[:count], np.arange(max(0, count - titles), count)))
    tokens = pack(made, data.tree, data.frame, "catalog")
    return {"tokens": dict(vars(tokens)), "columns": torch.arange(tokens.titles)[:, None]}


def main(given: Options) -> int:
    record = Record("napo_step", QUESTION, given)
    for case in given.chosen(cases(given.quick)):
        try:
            arms = measure("benchmarks.napo_step", ARMS, case, steps=given.steps, threads=given.threads)
        except ArmFailed as reason:
            record.skip(case, str(reason))
            continue
        napo, sdpo, sft = (arms[name] for name in ARMS)
        must_agree("log_probs", difference(napo.outcome["log_probs"], sdpo.outcome["log_probs"]), 0.0)
        must_agree("tokens", difference(sft.outcome["tokens"], napo.outcome["tokens"]), 0.03)
        found = [
            Ratio.of("time beside S-DPO", ratios(napo, sdpo), at_most=WITHIN),
            Ratio.of("processor time beside S-DPO", ratios(napo, sdpo, "cpu")),
            Ratio("peak memory beside S-DPO", napo.peak_gb / sdpo.peak_gb, at_most=WITHIN),
            Ratio("memory of the step beside S-DPO", napo.extra_gb / sdpo.extra_gb),
            Ratio.of("time beside SFT", ratios(napo, sft), at_most=BESIDE_SFT),
            Ratio.of("processor time beside SFT", ratios(napo, sft, "cpu")),
        ]
        record.add(case, arms, found)
    return record.finish()


if __name__ == "__main__":
    sys.exit(main(options(QUESTION)))
