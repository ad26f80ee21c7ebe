"""The protocol `gen20`: a model writes a title, and what it wrote is looked for among the candidates.

Path    cases, candidate lists, a Writer -> [evaluation.generated] -> table
Takes   a Writer (a language model), Cases, CandidateLists
Gives   GeneratedResult: for each case what was written, and which candidate that is, if any

This is the one place where text is compared with titles, since text is all there is. Two rules are offered: `equal`
(ours), and two kinds of `substring` as they were published, under which a title within another title makes an answer
invalid, however right it is. HitRatio@1 is hits / N, ValidRatio valid / N (S-DPO, arXiv 2406.09215); LLaRA (arXiv
2312.02445) reports hits / valid, which flatters a model that often writes nothing useful, so it stands beside.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from napo.arrays import FloatArray, IntArray
from napo.evaluation.groups import CaseGroups, case_groups
from napo.evaluation.protocols import batches, check_cases, histories_of, split_name
from napo.evaluation.results import Progress, PromptKind
from napo.evaluation.statistics import Estimate, function_interval, wilson_interval

if TYPE_CHECKING:
    from napo.data.candidates import CandidateLists
    from napo.data.item_groups import ItemGroups
    from napo.data.split import Cases

Match = Literal["equal", "substring", "substring-line"]
_QUOTES = {'"': '"', "'": "'", "`": "`", "\u201c": "\u201d", "\u2018": "\u2019", "\u201e": "\u201c", "\u00ab": "\u00bb"}
_FINAL = ".,;:!?"


class Writer(Protocol):
    """Anything that answers a prompt with text. Histories are item ids, oldest first; several cases come at once."""

    @property
    def name(self) -> str: ...
    @property
    def normalize(self) -> str: ...

    def write(self, histories: Sequence[IntArray], candidates: IntArray) -> list[str]:
        """(n,) texts. candidates: (n, C), for prompts that name them."""


def normal_form(text: str) -> str:
    """NFKC, case folded, blanks as one, outer quotes and final punctuation gone: `"Alien!"` and `alien` are equal."""
    text = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    while shorter := _without_end(text):
        text = shorter
    return text


def _without_end(text: str) -> str:
    """One pair of quotes or the final punctuation less; empty where there is none, or nothing would be left."""
    if len(text) > 2 and _QUOTES.get(text[0]) == text[-1]:
        return text[1:-1].strip()
    bare = text.rstrip(_FINAL).rstrip()
    return bare if bare != text else ""


def first_line(text: str) -> str:
    """The first line that is not blank."""
    return text.strip().partition("\n")[0]


def chosen(answer: str, titles: Sequence[str], match: Match = "equal") -> int:
    """Which of the titles the answer is, from 0; -1 where it is none of them, or more than one.

    equal: the first line is the title, in normal form. substring: the title occurs in the answer, case and all (S-DPO).
    substring-line: it occurs in the first line, in lower case (LLaRA).
    """
    if match == "equal":
        said = normal_form(first_line(answer))
        found = [place for place, title in enumerate(titles) if said and normal_form(title) == said]
    elif match == "substring":
        found = [place for place, title in enumerate(titles) if title in answer]
    else:
        line = first_line(answer).lower()
        found = [place for place, title in enumerate(titles) if title.lower() in line]
    return found[0] if len(found) == 1 else -1


def nested(titles: Sequence[str]) -> bool:
    """Whether a title of the list stands in another one, in normal form: what `substring` stumbles over."""
    forms = sorted((normal_form(title) for title in titles), key=len)
    return any(short in long for place, short in enumerate(forms) for long in forms[place + 1 :])


def evaluate_generated(
    writer: Writer,
    cases: Cases,
    lists: CandidateLists,
    *,
    match: Match = "equal",
    batch: int = 256,
    groups: Sequence[ItemGroups] = (),
    prompt: PromptKind | None = None,
    progress: Progress | None = None,
) -> GeneratedResult:
    """Let a model write a title for each case."""
    check_cases(writer.name, cases)
    lists.check(cases)
    titles = cases.split.catalog.titles
    named = [[titles[item] for item in row] for row in lists.items.tolist()]
    answers: list[str] = []
    for part in batches(len(cases), batch, progress):
        answers += writer.write(histories_of(cases, part), lists.items[part])
    slots = np.array([chosen(answer, row, match) for answer, row in zip(answers, named, strict=True)], dtype=np.int64)
    remarks = (f"{writer.name} was trained to tell titles apart (`normalize: catalog`), not to write them",)
    return GeneratedResult(
        scorer=writer.name,
        prompt=prompt,
        split=split_name(cases),
        part=cases.part,
        lists=lists.digest,
        negatives=lists.negatives,
        candidates=lists.items.shape[1],
        match=match,
        unit=cases.split.unit,
        users=cases.units,
        targets=cases.target,
        answers=tuple(answers),
        picks=np.where(slots >= 0, lists.items[np.arange(len(cases)), slots], -1),
        hit=np.asarray(slots == lists.slot, dtype=np.float64),
        nested=sum(map(nested, named)),
        remarks=remarks if writer.normalize == "catalog" else (),
        groups=case_groups(cases, groups),
    )


@dataclass(frozen=True)
class GeneratedResult:
    """What a model wrote, case by case."""

    scorer: str
    prompt: PromptKind | None
    split: str  # name and checksum
    part: str
    lists: str  # checksum of the candidate lists
    negatives: str
    candidates: int
    match: Match
    unit: str  # what `users` numbers, and intervals resample
    users: IntArray  # (n,)
    targets: IntArray  # (n,)
    answers: tuple[str, ...]  # (n,) as written
    picks: IntArray  # (n,) the candidate that was written, -1 where the answer is invalid
    hit: FloatArray  # (n,) 1 where that is the target
    nested: int  # lists with a title inside another
    remarks: tuple[str, ...] = ()
    groups: tuple[CaseGroups, ...] = ()
    calibration: None = None

    @property
    def conditions(self) -> dict[str, str]:
        """What must be the same in all the rows of a table."""
        return {
            "protocol": f"gen{self.candidates}, written freely, {self.negatives} negatives",
            "match": self.match,
            "part": self.part,
            "split": self.split,
        }

    @property
    def headline(self) -> str:
        """The metric that rows are compared by."""
        return "HitRatio@1"

    @cached_property
    def metrics(self) -> dict[str, FloatArray]:
        """(n,) values by name: hits and valid answers, of all the cases."""
        return {"HitRatio@1": self.hit, "ValidRatio": np.asarray(self.picks >= 0, dtype=np.float64)}

    @property
    def expected(self) -> dict[str, FloatArray]:
        """None: what was written has no ties."""
        return {}

    @property
    def aims(self) -> dict[str, float]:
        """What the lists themselves say."""
        return {"share of lists with a title inside another": self.nested / self.users.size}

    @cached_property
    def figures(self) -> dict[str, Estimate]:
        """Hits over valid answers, which is what LLaRA calls hr; 0 where no answer is valid."""
        return {"hits/valid (LLaRA)": ratio_interval(self.hit, self.metrics["ValidRatio"], self.users)}

    @property
    def notes(self) -> list[str]:
        """What a reader must know of this row."""
        return [f"{self.nested:,} of {self.users.size:,} lists hold a title inside another", *self.remarks]


def ratio_interval(above: FloatArray, below: FloatArray, users: IntArray) -> Estimate:
    """sum above / sum below, a share, with its BCa interval by resampling users.

    Of none or all, whose resamples are alike, Wilson's over users who have a case below: the fewest trials it can be.
    """
    totals = np.stack([above, below], axis=1)
    found = function_interval(totals, users, lambda sums: sums[..., 0] / sums[..., 1])
    if found is None:
        return Estimate(0.0, 0.0, 1.0, 1 / 3.92)  # nothing is known of it
    if found.value in (0.0, 1.0):
        trials = np.unique(users[below > 0]).size
        return wilson_interval(found.value * trials, trials)
    return found
