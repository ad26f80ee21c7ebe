"""Figures of two rows' lists against each other, by the names that claims give them.

Path    experiments.store -> [experiments.list_figures] -> experiments.claims
Takes   results over the whole catalog, one a seed, of two rows
Gives   the difference with its interval over users and seeds, and its p

| name | is | interval |
|---|---|---|
| `popularity`, `tail`, `novelty`, `ILD genre`, ... | a mean over cases | paired, by resampling users or over seeds |
| `coverage`, `Gini`, `DivRatio`, `ORRatio`, ... | of all lists together | the jackknife over users, and seeds |
| `MGU popularity`, `DGU genre`, ... | shares of groups, lists against histories | the jackknife's influence of users |
"""

from collections.abc import Sequence

from napo.errors import UserError, did_you_mean
from napo.evaluation import comparison
from napo.evaluation.bias_report import list_figures
from napo.evaluation.popularity_bias import dgu, mgu, unfairness_gain
from napo.evaluation.results import FullResult
from napo.evaluation.statistics import Estimate

OF_GROUPS = {"MGU": mgu, "DGU": dgu}


def difference(row: Sequence[FullResult], than: Sequence[FullResult], name: str) -> tuple[Estimate, float]:
    """By how much `than` lies above `row` in a figure, and the p of there being no difference.

    Raises UserError for a figure that these results do not have.
    """
    runs = {"row": row, "than": than}
    if name in row[0].metrics:
        (measured,) = comparison.judge_claims([comparison.Claim("than", "row", metric=name)], runs, name)
        assert measured.estimate is not None  # a difference always has a value
        return measured.estimate, measured.p
    if name in list_figures(row[0].items):
        found = comparison.spread_difference(runs, "than", "row", name)
        assert found is not None
        return found
    kind, _, grouping = name.partition(" ")
    if kind in OF_GROUPS and row[0].bias.weights(grouping) is not None:
        return _of_groups(row, than, kind, grouping)
    if kind in OF_GROUPS and grouping == "popularity":
        raise UserError("judged by a version that kept no popularity by case: judge again")
    known = [*row[0].metrics, *list_figures(row[0].items), *row[0].figures]
    raise UserError(f"no figure {name!r} of lists", remedy=did_you_mean(name, known))


def _of_groups(row: Sequence[FullResult], than: Sequence[FullResult], kind: str, by: str) -> tuple[Estimate, float]:
    weights = [[one.bias.weights(by) for one in results] for results in (than, row)]
    if any(each is None for results in weights for each in results):
        raise UserError(f"judged by a version that kept no {by} by case: judge again")
    theirs, ours = ([each[0] for each in results if each is not None] for results in weights)
    liked = weights[1][0]
    assert liked is not None
    seeds = max(len(theirs), len(ours))
    theirs, ours = (given * seeds if len(given) == 1 else given for given in (theirs, ours))
    estimate = unfairness_gain(theirs, ours, liked[1], row[0].users, OF_GROUPS[kind])
    return estimate, estimate.p_value()
