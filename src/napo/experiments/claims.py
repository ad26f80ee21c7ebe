"""What a sweep's claims came to: held, not held, or undecided, with the figure and its interval.

Path    experiments.store -> [experiments.claims] -> experiments.page, claims.json
Takes   Store, whose sweep stated the claims beforehand
Gives   Judged, one for each claim and data set, none without words; Markdown and JSON of them

| kind | what is measured | held | not held |
|---|---|---|---|
| accuracy | difference of means, or their ratio | low > margin and Holm's p < .05 | high < max(margin, 0.01) |
| trend | rise along the fitted line from the key's lowest to its highest value | low > 0, p < .05 | high < 0.01 |
| bias | falls of popularity and MGU, or as asked; HR@10 | low > 0, Holm's p < .05; HR: low > -0.01 | one high <= 0 |
| memory | ratio of peak memory, seed by seed | high <= at_most | low > at_most |

Holm is over all the accuracy claims of a data set together; over the figures of a bias claim; a trend stands alone.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from napo.errors import UserError
from napo.evaluation import comparison
from napo.evaluation.leaks import leaked
from napo.evaluation.paired import holm, sign_flip_p
from napo.evaluation.results import FullResult, Result
from napo.evaluation.statistics import Estimate, bootstrap_interval, seeds_and_cases
from napo.evaluation.table_text import number, with_interval
from napo.evaluation.verdicts import Verdict, ratio_verdict, unequal_search, verdict
from napo.experiments.claim_keys import ClaimEntry
from napo.experiments.costs import memory_by_seed
from napo.experiments.list_figures import difference
from napo.experiments.store import Store

ROUNDING = 1e-9  # rows with the same lists are as far apart as sums in another order: not lower
TOLERATED = 0.01  # of HR: less than this does not matter, also as the price of a lower bias


@dataclass(frozen=True)
class Figure:
    """One measured figure of a claim. name: `HR@1`. p: None where none was reckoned; p_holm: among its family."""

    name: str
    estimate: Estimate
    p: float | None = None
    p_holm: float | None = None
    unit: str = ""  # `x` before a ratio


@dataclass(frozen=True)
class Judged:
    """A claim on one data set. protocol: whose table it rests on; empty for memory."""

    claim: ClaimEntry
    data: str
    protocol: str
    figures: tuple[Figure, ...]
    verdict: Verdict
    notes: tuple[str, ...] = ()

    @property
    def ours(self) -> str:
        """The figures with their intervals; never empty."""
        return "; ".join(map(_shown, self.figures)) or "not measured"

    @property
    def said(self) -> str:
        """The verdict and what must be known with it."""
        return "; ".join([str(self.verdict), *self.notes])

    @property
    def line(self) -> str:
        """All of it in one line, the verdict in front."""
        said = f"{self.claim.says} ({self.data}; {self.ours})"
        return f"{str(self.verdict).capitalize()}: {said}" + "".join(f"; {note}" for note in self.notes)

    def to_json(self) -> dict[str, Any]:
        """Everything, the claim as it was stated."""
        return {
            "claim": self.claim.model_dump(mode="json", exclude_none=True),
            "data": self.data,
            "protocol": self.protocol,
            "figures": [asdict(figure) for figure in self.figures],
            "verdict": asdict(self.verdict),
            "notes": list(self.notes),
        }


def judge_claims(store: Store) -> list[Judged]:
    """All the claims of a store's sweep, in its order, on each of their data sets."""
    claims = [ClaimEntry.model_validate(said) for said in store.said.get("claims", [])]
    found: dict[int, list[Judged]] = {place: [] for place in range(len(claims))}
    for data in store.data:
        mine = [(place, claim) for place, claim in enumerate(claims) if claim.data is None or data in claim.data]
        judged = [_judged(store, data, claim) for _, claim in mine]
        for (place, _), one in zip(mine, _with_holm(judged, store), strict=True):
            found[place].append(one)
    for place, claim in enumerate(claims):
        if not found[place]:
            why = Verdict("no verdict", reason="these data are not in this sweep")
            found[place].append(Judged(claim, ", ".join(claim.data or ["all"]), claim.judged_by, (), why))
    return [one for place in found for one in found[place]]


def claims_markdown(judged: Sequence[Judged], anchor_of: Callable[[Judged], str] | None = None) -> str:
    """The table for a results page. anchor_of: what each claim is linked to."""
    rows = ["| claim | paper | data | ours [95 %] | verdict |", "|---|---|---|---|---|"]
    for one in judged:
        claim = one.claim.says if anchor_of is None else f"[{one.claim.says}](#{anchor_of(one)})"
        word = one.verdict.word
        said = f"**{word[:1].upper()}{word[1:]}**{one.said.removeprefix(word)}"
        cells = [claim, one.claim.paper, one.data, one.ours, said]
        rows.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(rows)


def claims_json(judged: Sequence[Judged]) -> str:
    return json.dumps([one.to_json() for one in judged], indent=1)


# --- one claim -----------------------------------------------------------------------------------------------------


def _judged(store: Store, data: str, claim: ClaimEntry) -> Judged:
    """A claim on one data set; what stands in its way is the reason of a verdict that is none."""
    kinds = {"accuracy": _accuracy, "trend": _trend, "bias": _bias, "memory": _memory}
    try:
        one = kinds[claim.kind](store, data, claim)
    except UserError as error:
        return Judged(claim, data, claim.judged_by, (), Verdict("no verdict", reason=error.what))
    if claim.judged_by and leaked(store.table(data, claim.judged_by).checks):
        return replace(one, notes=(*one.notes, "LEAKED: a leak check failed, see the table"))
    return one


def _accuracy(store: Store, data: str, claim: ClaimEntry) -> Judged:
    """Without a verdict yet: that takes the p of all the others."""
    runs = _runs(store, data, claim.judged_by, [str(claim.better), str(claim.worse)])
    metric = claim.metric or runs[str(claim.better)][0].headline
    stated = comparison.Claim(str(claim.better), str(claim.worse), claim.margin or 0.0, claim.ratio, metric)
    (measured,) = comparison.judge_claims([stated], runs, metric)
    if measured.estimate is None:
        raise UserError(f"{claim.worse} has {metric} 0: nothing is a multiple of it")
    figure = Figure(metric, measured.estimate, measured.p, unit="x" if claim.ratio else "")
    means = [number(float(np.mean([one.metrics[metric].mean() for one in runs[name]]))) for name in runs]
    notes = (f"{means[0]} against {means[1]}", *_seeds_note(runs.values()))
    return Judged(claim, data, claim.judged_by, (figure,), measured.verdict, notes)


def _with_holm(judged: Sequence[Judged], store: Store) -> Iterator[Judged]:
    """Verdicts of accuracy, with the p of all that were claimed of these data."""
    family = [one for one in judged if one.claim.kind == "accuracy" and one.figures]
    adjusted = dict(zip(map(id, family), holm([float(one.figures[0].p or 0.0) for one in family]), strict=True))
    for one in judged:
        if id(one) not in adjusted:
            yield one
            continue
        claim, p = one.claim, adjusted[id(one)]
        estimate = one.figures[0].estimate
        cases = store.results(one.data, one.protocol)[str(claim.better)][0].users.size
        said = _unequal(store, str(claim.better), str(claim.worse))
        if said is None and claim.ratio is not None:
            said = ratio_verdict(estimate, p, cases=cases, claimed=claim.ratio, of=len(family))
        said = said or verdict(estimate, p, cases=cases, margin=claim.margin or 0.0, of=len(family))
        yield replace(one, figures=(replace(one.figures[0], p_holm=p),), verdict=said)


def _trend(store: Store, data: str, claim: ClaimEntry) -> Judged:
    """A linear contrast in each case: sum_k w_k value_k, w_k = (x_k - mean x)/sum (x - mean x)^2 (max x - min x)."""
    places = _grid_rows(store, data, claim)
    runs = _runs(store, data, claim.judged_by, [row for rows in places for row in rows.values()])
    first = next(iter(runs.values()))[0]
    metric = claim.metric or first.headline
    if metric not in first.metrics:
        raise UserError(f"no metric {metric!r} under {claim.judged_by}")
    contrasts = []
    for seed in range(max(len(given) for given in runs.values())):
        slopes = []
        for rows in places:
            x = np.array(list(rows), dtype=np.float64)
            x = x if claim.scale == "linear" else np.log(x)
            weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum() * np.ptp(x)
            slopes.append(weights @ np.stack([runs[row][seed].metrics[metric] for row in rows.values()]))
        contrasts.append(np.mean(slopes, axis=0))
    estimate, p = _over_seeds(contrasts, first)
    values = sorted({value for rows in places for value in rows})
    means = [
        float(np.mean([one.metrics[metric].mean() for rows in places if value in rows for one in runs[rows[value]]]))
        for value in values
    ]
    steps = np.diff(means)
    shape = "rises at every step" if (steps > 0).all() else "not monotone" if (steps > 0).any() else "never rises"
    listed = ", ".join(f"{value:g}: {mean:.3f}" for value, mean in zip(values, means, strict=True))
    figure = Figure(f"{metric} from {values[0]:g} to {values[-1]:g}", estimate, p, p)
    notes = (f"{shape} ({listed})", *_seeds_note(runs.values()))
    return Judged(claim, data, claim.judged_by, (figure,), verdict(estimate, p, cases=first.users.size), notes)


def _grid_rows(store: Store, data: str, claim: ClaimEntry) -> list[dict[float, str]]:
    """The rows of a method by the key's value, a group for each choice of the other keys."""
    cells = store.cells.filter(data=data, method=claim.row, protocol=claim.judged_by).unique("row", maintain_order=True)
    groups: dict[str, dict[float, str]] = {}
    for row, said in cells.select("row", "keys").iter_rows():
        keys = json.loads(said)
        value = keys.pop(claim.key, None)
        if isinstance(value, int | float) and not isinstance(value, bool):
            groups.setdefault(json.dumps(keys, sort_keys=True), {})[float(value)] = row
    found = [dict(sorted(rows.items())) for rows in groups.values() if len(rows) > 1]
    if not found:
        raise UserError(f"{claim.key} has fewer than two numbers among the rows of {claim.row} that are done")
    if claim.scale != "linear" and min(min(rows) for rows in found) <= 0:
        raise UserError(f"{claim.key} has values without a logarithm: claim it with `scale: linear`")
    return found


def _bias(store: Store, data: str, claim: ClaimEntry) -> Judged:
    """Figures of lists lower, or higher, than `than`'s, without finding noticeably less."""
    row, than = str(claim.row), str(claim.than)
    runs = _runs(store, data, "full", [row, than])
    ours, theirs = ([one for one in runs[name] if isinstance(one, FullResult)] for name in (row, than))
    first, metric = ours[0], claim.metric or ours[0].headline
    lower, higher = claim.lower or [], claim.higher or []
    if not lower and not higher:
        lower = ["popularity", "MGU popularity"]
    gains = [*(difference(ours, theirs, name) for name in lower), *(difference(theirs, ours, name) for name in higher)]
    (found,) = comparison.judge_claims([comparison.Claim(row, than, metric=metric)], runs, metric)
    assert found.estimate is not None  # a difference always has a value
    adjusted, cases = holm([p for _, p in gains]), first.users.size
    said = [
        *(
            verdict(gain, p, cases=cases, negligible=ROUNDING, of=len(gains))
            for (gain, _), p in zip(gains, adjusted, strict=True)
        ),
        # an interval above what is tolerated is the test; there is no p of its own
        verdict(_moved(found.estimate, TOLERATED), 0.0, cases=cases, negligible=0.0),
    ]
    shown = [*(_turned(gain) for gain, _ in gains[: len(lower)]), *(gain for gain, _ in gains[len(lower) :])]
    figures = [
        Figure(name.replace("MGU popularity", "MGU"), estimate, p, p_holm)
        for name, estimate, (_, p), p_holm in zip([*lower, *higher], shown, gains, adjusted, strict=True)
    ]
    before, after = (float(np.mean([one.metrics["popularity"].mean() for one in rows])) for rows in (theirs, ours))
    share = f"popularity {100 * (after / before - 1):+.0f} %" if before else "no popularity to compare with"
    notes = (share, *_seeds_note(runs.values()))
    said_of_all = _unequal(store, row, than) or _all_of(said)
    return Judged(claim, data, "full", (*figures, Figure(metric, found.estimate)), said_of_all, notes)


def _memory(store: Store, data: str, claim: ClaimEntry) -> Judged:
    """Seed by seed the ratio of peak memory; Student's t of its logarithm."""
    ours, theirs, where = memory_by_seed(store, data, str(claim.row), str(claim.than))
    seeds = sorted(set(ours) & set(theirs))
    logs = np.log([ours[seed] / theirs[seed] for seed in seeds])
    means = [float(np.mean([of[seed] for seed in seeds])) for of in (ours, theirs)]
    notes = (f"{means[0]:.2f} against {means[1]:.2f} GB, {where}",)
    if len(seeds) == 1:
        figure = Figure("memory", _ratio(float(logs[0]), float("inf"), float("inf")), unit="x")
        alone = Verdict("undecided")
        return Judged(claim, data, "", (figure,), alone, (*notes, "one seed: its spread is not known"))
    error = float(logs.std(ddof=1)) / np.sqrt(len(seeds))
    half = float(stats.t(len(seeds) - 1).isf(0.025)) * error
    estimate, limit = _ratio(float(logs.mean()), half, error), float(claim.at_most or 1.0)
    word: Any = "held" if estimate.high <= limit else "not held" if estimate.low > limit else "undecided"
    return Judged(claim, data, "", (Figure("memory", estimate, unit="x"),), Verdict(word), notes)


# --- what they have in common ----------------------------------------------------------------------------------------


def _runs(store: Store, data: str, protocol: str, rows: Sequence[str]) -> dict[str, Sequence[Result]]:
    """The results of the rows. Raises UserError with the reason where one is not there."""
    if protocol not in store.protocols(data):
        raise UserError(f"nothing was judged by {protocol}")
    found, lacking = store.results(data, protocol), store.missing(data, protocol)
    for row in rows:
        if row in lacking:
            raise UserError(f"not all seeds of {row} are done")
        if row not in found:
            raise UserError(f"no row {row} under {protocol}")
    return {row: found[row] for row in rows}


def _over_seeds(values: Sequence[Any], first: Result) -> tuple[Estimate, float]:
    if len(values) == 1:
        return bootstrap_interval(values[0], first.users), sign_flip_p(values[0], first.users)
    estimate = seeds_and_cases(values, first.users)
    return estimate, estimate.p_value()


def _all_of(verdicts: Sequence[Verdict]) -> Verdict:
    """Held where all are; not held where one is not; else undecided, until the last of them would be decided."""
    words = {one.word for one in verdicts}
    if words == {"held"}:
        return Verdict("held")
    if "not held" in words:
        return Verdict("not held")
    needed = [one.cases_needed for one in verdicts if one.word == "undecided"]
    return Verdict("undecided", None if None in needed else max(one for one in needed if one is not None))


def _unequal(store: Store, row: str, other: str) -> Verdict | None:
    searched = store.searched or {}
    if row in searched and other in searched and searched[row] != searched[other]:
        return unequal_search(searched[row], searched[other])
    return None


def _seeds_note(runs: Any) -> tuple[str, ...]:
    """An interval over users alone says nothing of another seed."""
    return ("one seed: how much seeds differ was not looked at",) if all(len(given) == 1 for given in runs) else ()


def _turned(estimate: Estimate) -> Estimate:
    """The difference the other way round."""
    return replace(estimate, value=-estimate.value, low=-estimate.high, high=-estimate.low)


def _moved(estimate: Estimate, by: float) -> Estimate:
    return replace(estimate, value=estimate.value + by, low=estimate.low + by, high=estimate.high + by)


def _ratio(log: float, half: float, error: float) -> Estimate:
    ratio = float(np.exp(log))
    return Estimate(ratio, float(np.exp(log - half)), float(np.exp(min(log + half, 700.0))), ratio * error)


def _shown(figure: Figure) -> str:
    """`HR@1 +0.031 [+0.012, +0.050], p .004`."""
    one = figure.estimate
    if not np.isfinite(one.error):
        return f"{figure.name} {figure.unit}{one.value:.3f}, no interval"
    p = "" if figure.p_holm is None else f", p {'< .001' if figure.p_holm < 0.001 else f'{figure.p_holm:.3f}'}"
    return f"{figure.name} {figure.unit}{with_interval(one, sign=figure.unit != 'x')}{p}"
