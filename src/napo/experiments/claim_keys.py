"""What a sweep file may claim of its rows, and whether it has such rows.

Path    sweep.yaml -> [experiments.claim_keys] -> experiments.plan, experiments.claims
Takes   the entries under `claims:`; the rows, grids and protocols that the plan comes to
Gives   ClaimEntry; a Mistake for each name that nothing has

    claims:
      - {says: NAPO beats S-DPO, better: NAPO, worse: S-DPO}                       # accuracy, by HR@1 unless told
      - {says: sharing costs no memory, kind: memory, row: NAPO, than: S-DPO, at_most: 1.05}
      - {says: NAPO lowers popularity bias, kind: bias, row: NAPO, than: S-DPO}
      - {says: lists are less alike, kind: bias, row: NAPO, than: S-DPO, lower: [ORRatio], higher: [DivRatio]}
      - {says: the gain grows with K, kind: trend, row: S-DPO, key: negatives.count}
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from napo.errors import did_you_mean
from napo.recipe_keys import NotNegative, Positive, ProtocolName, Section, Word
from napo.recipe_reading import Mistake, Places

Kind = Literal["accuracy", "memory", "bias", "trend"]

# by kind: the keys that a claim must have, and those that it may have
KEYS: Mapping[Kind, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "accuracy": (("better", "worse"), ("metric", "protocol", "margin", "ratio")),
    "memory": (("row", "than", "at_most"), ()),
    "bias": (("row", "than"), ("lower", "higher", "metric")),
    "trend": (("row", "key"), ("metric", "protocol", "scale")),
}


class ClaimEntry(Section):
    """One claim, stated before anybody knows."""

    says: Word
    kind: Kind = "accuracy"
    paper: Word = "not readable"  # what the paper reports
    data: list[Word] | None = None  # of these data sets; None: of each
    # accuracy: `better` beats `worse` by more than `margin`, or is `ratio` times as good
    better: Word | None = None
    worse: Word | None = None
    margin: NotNegative | None = None
    ratio: Annotated[float, Field(gt=1)] | None = None
    metric: Word | None = None  # None: the protocol's own, HR@1 among candidates
    protocol: ProtocolName | None = None  # None: cand20
    # memory: `row` takes at most so many times what `than` takes
    # bias: its lists favour popular items less, or these figures of them are lower, those higher, by names as in tables
    # (`ORRatio`, `DivRatio`, `MGU genre`, `DGU popularity`), at a `metric` that is as good; None: HR@10
    row: Word | None = None
    than: Word | None = None
    at_most: Positive | None = None
    lower: list[Word] | None = None
    higher: list[Word] | None = None
    # trend: accuracy rises with this key of the method's grid
    key: Word | None = None
    scale: Literal["log", "linear"] | None = None  # of the key; None: log

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> "ClaimEntry":
        needed, allowed = KEYS[self.kind]
        given = {name for kind in KEYS.values() for name in (*kind[0], *kind[1]) if getattr(self, name) is not None}
        if missing := [f"`{name}`" for name in needed if name not in given]:
            raise ValueError(f"a claim of kind {self.kind} needs {', '.join(missing)}; such as `{needed[0]}: NAPO`")
        if spare := [f"`{name}`" for name in sorted(given - {*needed, *allowed})]:
            raise ValueError(
                f"a claim of kind {self.kind} has no use for {', '.join(spare)}; such as only {', '.join(needed)}"
            )
        if self.margin is not None and self.ratio is not None:
            raise ValueError("give `margin` or `ratio`, not both")
        return self

    @property
    def judged_by(self) -> str:
        """The protocol that it is judged by; popularity and memory have one of their own."""
        return {"bias": "full", "memory": ""}.get(self.kind, self.protocol or "cand20")


@dataclass(frozen=True)
class Known:
    """What a plan has. grids: by method its keys that vary. data: also the data sets that were not asked for."""

    rows: AbstractSet[str]
    grids: Mapping[str, AbstractSet[str]]
    data: AbstractSet[str]
    protocols: AbstractSet[str]


def mistakes_in(claims: Sequence[ClaimEntry], known: Known, places: Places) -> Iterator[Mistake]:
    """Rows, data sets, keys and protocols that claims name and the plan lacks, with the names that are near."""
    for place, claim in enumerate(claims):

        def missing(what: str, key: str, name: str, among: AbstractSet[str], place: int = place) -> Mistake:
            at = places.of(("claims", str(place), key))
            return Mistake(f"`claims.{place}.{key}`: no {what} {name!r}", at, did_you_mean(name, among))

        methods = set(known.grids)
        for key in ("better", "worse", "row", "than"):
            name = getattr(claim, key)
            among = methods if claim.kind == "trend" else known.rows
            if name is not None and name not in among:
                yield missing("method" if claim.kind == "trend" else "row", key, name, among)
        for name in claim.data or ():
            if name not in known.data:
                yield missing("data set", "data", name, known.data)
        if claim.key is not None and claim.row in methods and claim.key not in known.grids[claim.row or ""]:
            keys = known.grids[claim.row or ""]
            at = places.of(("claims", str(place), "key"))
            remedy = did_you_mean(claim.key, keys) if keys else f"give {claim.row} a `grid:` with it"
            yield Mistake(f"`claims.{place}.key`: {claim.key!r} is no key of {claim.row}'s grid", at, remedy)
        if claim.judged_by and claim.judged_by not in known.protocols:
            at = places.of(("claims", str(place), "protocol"))
            all_of_them = ", ".join(sorted({*known.protocols, claim.judged_by}))
            remedy = f"`with: {{evaluation: {{protocols: [{all_of_them}]}}}}`"
            yield Mistake(f"`claims.{place}` is judged by {claim.judged_by}, which no recipe asks for", at, remedy)
