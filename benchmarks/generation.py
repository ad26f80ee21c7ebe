"""How long do exact top-10 lists of the whole catalog take, and how much faster are they than generate's own beams?

    python -m benchmarks.generation [--quick]

MovieLens-100K with its recipe's `tiny`, untrained. `exact` is what the recipe asks for: best-first search under
`catalog`; `beam` the same by 10 beams. `generate` is `transformers`' own search of 10 beams with its KV cache, held to
the catalog by `prefix_allowed_tokens_fn` (a dictionary of beginnings). It scores over the whole vocabulary; `beam
vocab` does too, and has to find lists as likely as its. Marks: `exact` takes at most 30 s for 900 users on 2 cores, and
is 5 times as fast as `generate`.

Exact lists under `vocabulary` are not timed: for an untrained model, to whom every second token is as likely as any, no
beginning can be left out.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.arms import ArmFailed, Case, Outcome, Step, measure, ratios
from benchmarks.record import Options, Ratio, Record, must_agree, options

if TYPE_CHECKING:
    from napo.arrays import IntArray
    from napo.models.language import LanguageModel

QUESTION = (__doc__ or "").partition("\n")[0]
RECIPE = Path(__file__).parent.parent / "recipes" / "ml100k" / "sft.yaml"
K = 10


def cases(quick: bool) -> Iterator[dict[str, Any]]:
    """vocabulary: tokens of `tiny`; of the recipe's 12,000 most titles are one and their end."""
    tiny = {"model": "tiny", "vocabulary": 12000, "users": 900}
    yield {**tiny, "arms": ["exact", "beam"]}
    yield {**tiny, "users": 24 if quick else 200, "arms": ["exact", "beam vocab", "generate"]}
    if not quick:
        yield {**tiny, "vocabulary": 2000, "users": 200, "arms": ["exact", "beam vocab", "generate"]}


def arm(name: str, case: Case) -> Step:
    import numpy as np

    from napo.data.prepare import prepare
    from napo.models.language import create
    from napo.recipe import load_recipe

    recipe = load_recipe(RECIPE, [f"model.vocabulary={case['vocabulary']}"])
    normalize = "catalog" if name in ("exact", "beam") else "vocabulary"
    prepared = prepare(recipe)
    language = create(recipe.model, prepared.split.catalog, recipe.prompt, normalize, seed=0)
    last = {int(user): number for number, user in enumerate(prepared.test.user)}  # a case a user
    histories = [prepared.test.history(number) for number in list(last.values())[: case["users"]]]
    ranker = language.ranker()
    none = [np.empty(0, dtype=np.int64)] * len(histories)
    if name == "generate":
        search = generated(language, [ranker.shown(history) for history in histories])
    else:
        lists = ranker.top_with_scores if name == "exact" else ranker.beam

        def search() -> Sequence[float]:
            return list(lists(histories, none, K)[1].ravel())

    def once() -> Callable[[], Outcome]:
        found = search()
        return lambda: {"log_probs": [float(value) for value in found], "lists": [len(histories)]}

    return once


def generated(language: "LanguageModel", histories: "Sequence[IntArray]") -> Callable[[], Sequence[float]]:
    """What one would write without napo; histories of like length together, as napo has them."""
    import numpy as np
    import torch
    from transformers import GenerationConfig

    from napo.scoring.batch import Row, batches_by_width, main_path

    tree, model = language.tree, language.model.eval()
    following: dict[tuple[int, ...], list[int]] = {}
    for item in range(tree.items):
        title = tuple(tree.title(item).tolist())
        for place, token in enumerate(title):
            known = following.setdefault(title[:place], [])
            if token not in known:
                known.append(token)
    prompts = [main_path(Row(history), tree, language.frame) for history in histories]
    widths = np.array([len(prompt) for prompt in prompts])
    settings = GenerationConfig(
        num_beams=K,
        num_return_sequences=K,
        length_penalty=0.0,
        early_stopping="never",
        max_new_tokens=int(tree.lengths.max()),
        eos_token_id=tree.end,
        pad_token_id=tree.end,
        return_dict_in_generate=True,
        output_scores=True,
    )

    def search() -> Sequence[float]:
        scores = np.empty((len(prompts), K))
        for batch in batches_by_width(widths, 8192):
            width = int(widths[batch].max())
            ids = torch.full((len(batch), width), tree.end)
            for row, index in enumerate(batch):
                ids[row, width - len(prompts[index]) :] = torch.from_numpy(prompts[index])
            mask = (torch.arange(width) >= width - torch.from_numpy(widths[batch])[:, None]).long()
            allowed = lambda _, row, width=width: following.get(tuple(row[width:].tolist()), [tree.end])  # noqa: E731
            with torch.no_grad():
                found = model.generate(  # type: ignore[operator]
                    ids, attention_mask=mask, generation_config=settings, prefix_allowed_tokens_fn=allowed
                )
            scores[batch] = found.sequences_scores.view(len(batch), K).numpy()
        return list(scores.ravel())

    return search


def main(given: Options) -> int:
    record = Record("generation", QUESTION, given)
    for case in given.chosen(cases(given.quick)):
        try:
            arms = measure("benchmarks.generation", case["arms"], case, steps=given.steps, threads=given.threads)
        except ArmFailed as reason:
            record.skip(case, str(reason))
            continue
        exact = arms["exact"]
        found = [Ratio.of("seconds", exact.seconds, at_most=30.0 if case["users"] == 900 else None)]
        found.append(Ratio.of("processor seconds", exact.cpu))
        for name in case["arms"][1:]:
            limit = 5.0 if name == "generate" else None
            found.append(Ratio.of(f"times as fast as {name}", ratios(arms[name], exact), at_least=limit))
            found.append(Ratio.of(f"the same by processor time, {name}", ratios(arms[name], exact, "cpu")))
        if "generate" in arms:
            found.append(
                Ratio.of("beam vocab: times as fast as generate", ratios(arms["generate"], arms["beam vocab"]))
            )
            ours, theirs = (arms[name].outcome["log_probs"] for name in ("beam vocab", "generate"))
            must_agree("log-probs of beams", max(0.0, sum(theirs) - sum(ours)) / -sum(theirs), 1e-3)
            found.append(Ratio("beam vocab: mean log-prob above generate's", (sum(ours) - sum(theirs)) / len(ours)))
        else:
            best, beam = (arms[name].outcome["log_probs"] for name in ("exact", "beam"))
            must_agree("lists: beams found likelier titles", max(map(float.__sub__, beam, best)), 1e-3)
        record.add(case, arms, found)
    return record.finish()


if __name__ == "__main__":
    sys.exit(main(options(QUESTION)))
