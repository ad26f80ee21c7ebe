"""Judge a scorer, and the rows that stand beside every model, by a recipe's protocols.

Path    prepared data, a Scorer -> [evaluation.judge] -> table, report
Takes   Prepared; any Scorer; the protocol's name
Gives   CandidateResult or FullResult; the baselines' results; the leak checks of the lists
"""

from collections.abc import Mapping, Sequence

from napo.data.prepare import Prepared
from napo.evaluation.baselines import Chance, Popularity
from napo.evaluation.leaks import BlindRule, Check, LeakInputs, leak_checks
from napo.evaluation.protocols import Scorer, evaluate_candidates, evaluate_full
from napo.evaluation.results import Progress, PromptKind, Result
from napo.evaluation.table import ResultTable, make_table

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
    """A scorer on the test cases. protocol: `cand20`, among each case's candidates; `full`, over the whole catalog.

    ks: of HR@k and NDCG@k among candidates; 1, by which rows are compared, is always one of them.
    full_cases: so many of the cases, the same for every scorer, under `full`; None: all.
    """
    if protocol == "full":
        cases = prepared.test if full_cases is None else prepared.test.subset(full_cases, seed=0)
        seen = prepared.split.mask_seen
        return evaluate_full(scorer, cases, k=LIST_LENGTH, mask_seen=seen, prompt=prompt, progress=progress)
    ks = None if ks is None else tuple(sorted({1, *ks}))
    return evaluate_candidates(scorer, prepared.test, prepared.test_lists, ks=ks, prompt=prompt, progress=progress)


def baseline_results(
    prepared: Prepared, protocol: str, full_cases: int | None = None, ks: tuple[int, ...] | None = None
) -> dict[str, Result]:
    """Chance and popularity, and among candidates the rule that reads no history: rows of every table."""
    scorers: dict[str, Scorer] = {
        "chance": Chance(len(prepared.log.catalog)),
        "popularity": Popularity(prepared.split.popularity),
    }
    if protocol != "full":
        scorers["blind slot rule"] = BlindRule.learn(prepared.all_valid, prepared.all_valid_lists)
    return {name: judge(scorer, prepared, protocol, ks=ks, full_cases=full_cases) for name, scorer in scorers.items()}


def table_of(
    protocol: str, rows: Mapping[str, Result | Sequence[Result]], checks: Sequence[Check], base: str | None
) -> ResultTable:
    """The protocol's table. checks: of the candidate lists, which `full` has none of."""
    return make_table(rows, base=base, checks=() if protocol == "full" else checks)


def checks_of(prepared: Prepared) -> list[Check]:
    """The leak checks of the prepared candidate lists."""
    return leak_checks(LeakInputs(prepared.all_valid, prepared.all_valid_lists, prepared.test, prepared.test_lists))
