"""The lists that a case is ranked over: its target and others that the user never met, in shuffled slots.

Path    Cases -> [data.candidates] -> evaluation, list prompts
Takes   Cases, the list's length and seed, how the others are drawn
Gives   CandidateLists: items (cases, C), the target's slot (cases,), a checksum

Each case has its own generator, keyed by list seed, split, user and position: never by the target. Lists seeded by
the target would give equal targets equal slots and companions, and a rule that reads no history would win.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

import numpy as np

from napo.arrays import FloatArray, IntArray
from napo.data._digest import digest_of
from napo.data.split import Cases, Split
from napo.errors import UserError
from napo.files import write_aside
from napo.rng import rng_for

Negatives = Literal["uniform", "popularity", "matched"]
RELEASED = "as released"  # what `negatives` says of lists that came with the data


@dataclass(frozen=True, eq=False)
class CandidateLists:
    """items[c, slot[c]] is the target of case c. `split` is the digest of the split that the lists were drawn for."""

    items: IntArray
    slot: IntArray
    list_seed: int
    negatives: str
    split: str
    digest: str

    def __len__(self) -> int:
        return len(self.slot)

    def take(self, cases: IntArray) -> "CandidateLists":
        """The lists of some cases, with a digest of their own."""
        return _sealed(self.items[cases], self.slot[cases], self.list_seed, self.negatives, self.split)

    def save(self, path: Path) -> None:
        """Write the lists and their checksum to one .npz file."""
        with write_aside(path) as aside, aside.open("wb") as file:
            np.savez_compressed(
                file,
                items=self.items,
                slot=self.slot,
                list_seed=np.array(self.list_seed),
                negatives=np.array(self.negatives),
                split=np.array(self.split),
                digest=np.array(self.digest),
            )

    @classmethod
    def load(cls, path: Path, cases: Cases | None = None) -> "CandidateLists":
        """Read lists, and check that they are whole and, where `cases` is given, drawn for these cases."""
        try:
            with np.load(path, allow_pickle=False) as file:
                items, slot = file["items"], file["slot"]
                seed, negatives, split = int(file["list_seed"]), str(file["negatives"]), str(file["split"])
                digest = str(file["digest"])
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            remedy = "delete the file; it will be drawn anew from its seed"
            raise UserError(f"no candidate lists can be read: {error}", where=str(path), remedy=remedy) from error
        lists = _sealed(items, slot, seed, negatives, split)
        if lists.digest != digest:
            raise UserError(
                f"the candidate lists are not those that were written: checksum {lists.digest[:12]}, not {digest[:12]}",
                where=str(path),
                remedy="delete the file; it will be drawn anew from its seed",
            )
        if cases is not None:
            lists.check(cases, where=str(path))
        return lists

    def check(self, cases: Cases, *, where: str | None = None) -> None:
        """Raises UserError where these lists belong to other cases."""
        same = len(self) == len(cases) and self.split == cases.split.digest
        if not same or not np.array_equal(self.items[np.arange(len(self)), self.slot], cases.target):
            raise UserError(
                "the candidate lists were drawn for another split or other cases",
                where=where,
                remedy="draw them anew, or use the data and split that they were drawn for",
            )


def draw_candidates(
    cases: Cases, count: int = 20, list_seed: int = 0, negatives: Negatives = "uniform"
) -> CandidateLists:
    """`count` candidates of each case: the target, and count - 1 items that the user never met, of distinct titles.

    negatives: `uniform` over the catalog, in proportion to `popularity` in training (items never taken count as
    taken once), or `matched`: from the target's tenth of the items by popularity, and where it is used up from the
    tenths next to it.
    Where repeats count (`mask_seen: none`) only the target and the user's later items are avoided: otherwise "was
    met before" would betray the target.
    """
    if count < 2:
        raise UserError(f"a list of {count} candidates has nothing to tell apart", remedy="use 2 or more")
    split = cases.split
    weight, tenth = np.maximum(split.popularity, 1).astype(np.float64), popularity_tenths(split.popularity)
    items = np.empty((len(cases), count), dtype=np.int64)
    slot = np.empty(len(cases), dtype=np.int64)
    for case, (user, position, target) in enumerate(
        zip(cases.user.tolist(), cases.position.tolist(), cases.target.tolist(), strict=True)
    ):
        rng = rng_for("candidates", list_seed, split.name, cases.part, split.user_keys[user], position)
        order = rng.permutation(count)  # first, so that the slot depends on nothing but the key
        # The smallest of exponential(1) / weight are a draw without replacement in proportion to weight.
        keys = rng.standard_exponential(len(split.catalog))
        if negatives == "popularity":
            keys /= weight
        keys[_avoided(split, user, position)] = np.inf
        distance = np.abs(tenth - tenth[target]) if negatives == "matched" else None
        others = _first_of_distinct_titles(keys, distance, target, split, count - 1)
        if len(others) < count - 1:
            raise _too_few(split, user, len(others), count)
        items[case, order] = np.concatenate([[target], others])
        slot[case] = order[0]
    return _sealed(items, slot, list_seed, negatives, split.digest)


def released_candidates(cases: Cases, released: Sequence[IntArray | None]) -> tuple[Cases, CandidateLists]:
    """The lists that the data's own files name, and the cases that have one: for the protocol `legacy` alone.

    released: for each user of the split (here a row) its candidates, or None. Raises UserError where no case has a
    list, or their lengths differ.
    """
    found = [released[user] for user in cases.user.tolist()]
    places = np.array([case for case, listed in enumerate(found) if listed is not None], dtype=np.int64)
    lists = [listed for listed in found if listed is not None]
    lengths = sorted({len(listed) for listed in lists})
    if len(lengths) != 1:
        raise UserError(
            f"the {cases.part} cases have lists of {', '.join(map(str, lengths))} candidates"
            if lengths
            else f"no {cases.part} case has a candidate list in the data's files",
            where="evaluation.protocols: legacy",
            remedy="leave `legacy` out, or use files whose rows have an `itemList` of one length",
        )
    items, cases = np.stack(lists), cases.take(places)
    slot = np.argmax(items == cases.target[:, None], axis=1)
    return cases, _sealed(items, slot, 0, RELEASED, cases.split.digest)


def popularity_tenths(popularity: IntArray) -> IntArray:
    """(items,), 0 (least) to 9: the tenth of the items, by popularity; equal popularity, equal tenth."""
    below = np.searchsorted(np.sort(popularity), popularity, side="left")
    return np.asarray(below * 10 // len(popularity), dtype=np.int64)


def _avoided(split: Split, user: int, position: int) -> IntArray:
    if split.mask_seen != "none":
        return split.known[user]
    sequence = split.sequences[user]
    if split.rows is None:
        return sequence[position:]
    # a row does not show which of its user's other items came later: all that its history does not show
    return np.append(np.setdiff1d(split.known[user], sequence[:position]), sequence[position])


def _first_of_distinct_titles(
    keys: FloatArray, distance: IntArray | None, target: int, split: Split, count: int
) -> IntArray:
    """Up to `count` items of the smallest (distance, key), none at infinity, one of each title, not the target's."""
    groups = split.catalog.title_groups

    def picked(order: IntArray) -> IntArray:
        order = order[np.isfinite(keys[order]) & (groups[order] != groups[target])]
        _, first = np.unique(groups[order], return_index=True)
        return order[np.sort(first)][:count]

    if distance is not None:
        return picked(np.lexsort((keys, distance)))
    if (enough := 2 * count + 2) < len(keys):  # a large catalog need not be sorted whole
        near = np.argpartition(keys, enough - 1)[:enough]
        if len(found := picked(near[np.argsort(keys[near])])) == count:
            return found
    return picked(np.argsort(keys))


def _too_few(split: Split, user: int, found: int, count: int) -> UserError:
    return UserError(
        f"a list of {count} candidates needs {count - 1} items that the user never met, and one user "
        f"leaves {found} of the catalog's {len(split.catalog):,}",
        where="evaluation.candidates",
        remedy=f"use at most {found + 1} candidates, or a larger catalog",
    )


def _sealed(items: IntArray, slot: IntArray, list_seed: int, negatives: str, split: str) -> CandidateLists:
    return CandidateLists(items, slot, list_seed, negatives, split, digest_of(items, slot, list_seed, negatives, split))
