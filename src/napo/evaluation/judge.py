"""Judge a scorer, and the rows that stand beside every model, by a recipe's protocols.

Path    prepared data, a Scorer -> [evaluation.judge] -> table, report
Takes   Prepared; any Scorer; the protocol's name
Gives   CandidateResult or FullResult; the baselines' results; the leak checks
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from napo.data.prepare import Prepared
from napo.data.split import Cases
from napo.evaluation.baselines import Chance, Popularity
from napo.evaluation.comparison import Claim
from napo.evaluation.generated import evaluate_generated
from napo.evaluation.leaks import (
    BlindRule,
    Check,
    LeakInputs,
    PromptText,
    ScorerInputs,
    checks_for,
    leak_checks,
    scorer_checks,
)
from napo.evaluation.protocols import CandidateScorer, Scorer, evaluate_candidates, evaluate_full
from napo.evaluation.results import FullResult, Progress, PromptKind, Result
from napo.evaluation.table import ResultTable, make_table
from napo.prompts.template import load_template
from napo.scoring.nearest import NearestWriter
from napo.scoring.writer import TitleWriter

if TYPE_CHECKING:
    from napo.models.language import LanguageModel
    from napo.recipe import Recipe

LIST_LENGTH = 10


def judge(
    scorer: Scorer,
    prepared: Prepared,
    protocol: str,
    *,
    prompt: PromptKind | None = None,
    ks: tuple[int, ...] | None = None,
    full_cases: int | None = None,
    progress: Progress | None = None,
) -> Result:
    """A scorer on the test cases. protocol: `full`, over the whole catalog; else among each case's candidates.

    `legacy` is judged on `prepared.under("legacy")`: candidates that came with the data.

    Under `gen20` a scorer has nothing to say: a language model writes, see `judge_language`.

    ks: of HR@k and NDCG@k among candidates; 1, by which rows are compared, is always one of them.
    full_cases: so many of the cases, the same for every scorer, under `full`; None: all.
    """
    if protocol == "full":
        cases, seen = full_cases_of(prepared, full_cases), prepared.split.mask_seen
        return evaluate_full(
            scorer, cases, k=LIST_LENGTH, mask_seen=seen, groups=prepared.groups, prompt=prompt, progress=progress
        )
    ks = None if ks is None else tuple(sorted({1, *ks}))
    return evaluate_candidates(
        scorer, prepared.test, prepared.test_lists, ks=ks, groups=prepared.groups, prompt=prompt, progress=progress
    )


def judge_language(
    language: LanguageModel, prepared: Prepared, protocol: str, recipe: Recipe, *, progress: Progress | None = None
) -> Result:
    """A language model on the test cases, asked as its recipe says; under `gen20` it writes."""
    kind, section = recipe.prompt.kind, recipe.evaluation
    if protocol == "gen20":
        writer, lists = TitleWriter(language), prepared.test_lists
        return evaluate_generated(
            writer,
            prepared.test,
            lists,
            match=section.match,
            groups=prepared.groups,
            prompt=kind,
            progress=progress,
        )
    if protocol == "full" and section.nearest is not None:
        return _judge_nearest(language, prepared, recipe, section.nearest, progress)
    return judge(
        language.ranker(),
        prepared,
        protocol,
        prompt=kind,
        ks=section.ks,
        full_cases=section.full_cases,
        progress=progress,
    )


def _judge_nearest(
    language: LanguageModel, prepared: Prepared, recipe: Recipe, by: str, progress: Progress | None
) -> Result:
    """Lists of the titles nearest to one text that the model writes; the result says so."""
    cases = recipe.evaluation.full_cases
    writer = NearestWriter(language, by)
    result = judge(writer, prepared, "full", prompt=recipe.prompt.kind, full_cases=cases, progress=progress)
    assert isinstance(result, FullResult)
    return replace(result, remarks=(f"{result.scorer}: lists are the titles nearest to one text, written freely",))


def full_cases_of(prepared: Prepared, count: int | None) -> Cases:
    """The cases that are ranked over the whole catalog: `count` of the test cases, the same each time; None: all."""
    return prepared.test if count is None else prepared.test.subset(count, seed=0)


def baseline_results(
    prepared: Prepared, protocol: str, full_cases: int | None = None, ks: tuple[int, ...] | None = None
) -> dict[str, Result]:
    """The results of `baseline_scorers`."""
    scorers = baseline_scorers(prepared, protocol)
    return {name: judge(scorer, prepared, protocol, ks=ks, full_cases=full_cases) for name, scorer in scorers.items()}


def baseline_scorers(prepared: Prepared, protocol: str) -> dict[str, Scorer]:
    """Chance and popularity, and among candidates the rule that reads no history: rows of every table.

    None under `gen20`: none of them can write.
    """
    if protocol == "gen20":
        return {}
    scorers: dict[str, Scorer] = {
        "chance": Chance(len(prepared.log.catalog)),
        "popularity": Popularity(prepared.split.popularity),
    }
    if protocol != "full":
        scorers["blind slot rule"] = BlindRule.learn(prepared.all_valid, prepared.all_valid_lists)
    return scorers


def table_of(
    protocol: str,
    rows: Mapping[str, Result | Sequence[Result]],
    checks: Sequence[Check],
    base: str | None,
    *,
    claims: Sequence[Claim] = (),
    searched: Mapping[str, int] | None = None,
) -> ResultTable:
    """The protocol's table, with those of the leak checks that its figures depend on."""
    return make_table(rows, base=base, checks=checks_for(protocol, checks), claims=claims, searched=searched)


def lists_of(protocol: str) -> str:
    """Which lists a protocol's leak checks are about: those drawn by us, or those that came with the data."""
    return "legacy" if protocol == "legacy" else "drawn"


def checks_of(prepared: Prepared, prompt: PromptText | None = None) -> list[Check]:
    """The leak checks of the prepared lists and of the split; prompt: what language models are asked with."""
    inputs = LeakInputs(prepared.all_valid, prepared.all_valid_lists, prepared.test, prepared.test_lists, prompt)
    return leak_checks(inputs)


def prompt_of(recipe: Recipe) -> PromptText:
    """What a recipe's prompts say beside the candidates."""
    return PromptText(load_template(recipe.prompt.template).texts, recipe.prompt.max_history)


def language_checks(language: LanguageModel, prepared: Prepared, name: str) -> list[Check]:
    """`model_checks` of a language model."""
    ranker = language.ranker()
    # logits of 16 bits are rounded by up to a sixteenth of a nat, and by other amounts in another row of the batch
    tolerance = 1e-4 if language.model.dtype.itemsize >= 4 else 0.25
    return model_checks(ranker, prepared, name, reads_list=ranker.lists_candidates, tolerance=tolerance)


def model_checks(
    scorer: CandidateScorer, prepared: Prepared, name: str, *, reads_list: bool = False, tolerance: float = 1e-4
) -> list[Check]:
    """The leak checks of a model, on 500 of the test cases. name: of its row."""
    cases, lists = prepared.test, prepared.test_lists
    return scorer_checks(ScorerInputs.of(scorer, cases, lists, name=name, reads_list=reads_list, tolerance=tolerance))
