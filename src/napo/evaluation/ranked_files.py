"""Files of ranked lists, as other tools write them, in our numbers.

Path    Parquet, CSV or TREC file, Cases -> [evaluation.ranked_files] -> ranked
Takes   rows of `user`, `position` (or nothing, where each user has one case), `item`, and `score` or `rank`;
        TREC runs have `user:position` or `user` as the query
Gives   RankedRows: case, item and score of each row
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from napo.arrays import BoolArray, FloatArray, IntArray
from napo.data.formats import open_table
from napo.data.split import Cases
from napo.errors import UserError, nearest, raise_together

TREC = (".run", ".trec")
_TREC_FIELDS = "query Q0 item rank score tag"


@dataclass(frozen=True, eq=False)
class RankedRows:
    """Each row gives one item of one case a score, higher is better; no item twice in a case.

    case: (rows,) the place in `cases`. item: (rows,). score: (rows,) finite. place(row): where it stands in the file.
    """

    path: Path
    cases: Cases
    case: IntArray
    item: IntArray
    score: FloatArray
    place: Callable[[int], str]

    def case_name(self, case: int) -> str:
        """A case in the file's words."""
        return f"user {self.cases.split.user_keys[self.cases.user[case]]!r}, position {self.cases.position[case]}"

    def item_key(self, item: int) -> str:
        return self.cases.split.catalog.keys[item]


def read_ranked(path: Path, cases: Cases) -> RankedRows:
    """Read a file. Where it has both score and rank they must agree; a score decides, equal scores are ties.

    Raises UserError for unknown users, positions and items, an item twice in a case, a score that is no number; the
    first of each kind, all kinds at once.
    """
    frame, place = _read_trec(path) if path.suffix.lower() in TREC else _read_columns(path)
    case, wrong_cases = _cases_of(frame, cases)
    index = cases.split.catalog.index
    items = frame["item"].fill_null("").replace_strict(index, default=-1, return_dtype=pl.Int64).to_numpy()
    score, wrong_scores = _scores_of(frame)
    rows = RankedRows(path, cases, case, items, score, place)
    errors = [*wrong_cases(rows), *_unknown_items(rows, frame), *wrong_scores(rows)]
    errors = errors or [*_repeated(rows), *_contradictions(rows, frame)]  # which rest on what the others are about
    raise_together(errors)
    return rows


Mistakes = Callable[[RankedRows], Iterator[UserError]]


def _read_columns(path: Path) -> tuple[pl.DataFrame, Callable[[int], str]]:
    """`user`, `item` and what there is of `position`, `score`, `rank`; keys as text."""
    file = open_table(path)
    present = file.columns
    for name in ("user", "item"):
        if name not in present:
            raise UserError(
                f"ranked lists need a column `{name}`: the file has {', '.join(present)}",
                where=str(path),
                remedy="columns user, position, item, score; TREC runs end in .run or .trec",
            )
    if not {"score", "rank"} & set(present):
        close = [name for wanted in ("score", "rank") for name in nearest(wanted, present, 1)]
        raise UserError(
            "ranked lists need a column `score` or `rank`",
            where=str(path),
            remedy=f"rename {', '.join(close)}" if close else "score: higher is better; rank: from 1",
        )
    used = [name for name in ("user", "position", "item", "score", "rank") if name in present]
    text = [pl.col(name).cast(pl.String) for name in ("user", "item")]
    frame, place = file.load(used, ())
    return frame.with_columns(text), place


def _read_trec(path: Path) -> tuple[pl.DataFrame, Callable[[int], str]]:
    """Lines of six fields between blanks; the query becomes `query`."""
    if not path.is_file():
        raise UserError(f"there is no file {path}", where=str(path))
    rows, lines = [], []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 6:
            raise UserError(
                f"{len(fields)} fields where a TREC run has six: {_TREC_FIELDS}",
                where=f"{path}, line {number}",
                remedy="ids with blanks in them need CSV or Parquet",
            )
        rows.append((fields[0], fields[2], fields[3], fields[4]))
        lines.append(number)
    if not rows:
        raise UserError("the file has no rows", where=str(path))
    frame = pl.DataFrame(rows, schema=dict.fromkeys(("query", "item", "rank", "score"), pl.String), orient="row")
    return frame, lambda row: f"{path}, line {lines[row]}"


def _cases_of(frame: pl.DataFrame, cases: Cases) -> tuple[IntArray, Mistakes]:
    """(rows,) the case of each row, -1 where there is none; and what is wrong with those."""
    case_users = [cases.split.user_keys[user] for user in cases.user.tolist()]
    pairs = zip(case_users, cases.position.tolist(), strict=True)
    by_position = {pair: case for case, pair in enumerate(pairs)}
    count = Counter(case_users)
    alone = {user: case for case, user in enumerate(case_users) if count[user] == 1}
    if "query" in frame.columns:
        known = {**alone, **{f"{user}:{position}": case for (user, position), case in by_position.items()}}
        asked: list[tuple[str, str]] = [(query, "") for query in frame["query"]]
        found = [known.get(query, -1) for query, _ in asked]
    elif "position" in frame.columns:
        positions = frame["position"].cast(pl.Int64, strict=False)
        asked = list(zip(frame["user"], frame["position"].cast(pl.String), strict=True))
        found = [by_position.get(pair, -1) for pair in zip(frame["user"], positions, strict=True)]
    else:
        asked = [(user, "") for user in frame["user"]]
        found = [alone.get(user, -1) for user, _ in asked]

    def mistakes(rows: RankedRows) -> Iterator[UserError]:
        wrong = np.flatnonzero(rows.case < 0)
        if wrong.size:
            user, position = asked[int(wrong[0])]
            many = count[user] > 1 and not position
            yield UserError(
                f"{cases.part} has {count[user]} cases of user {user!r}: which one is meant?"
                if many
                else f"{_named(user, position)} is no {cases.part} case of this split",
                where=_where(rows, wrong),
                remedy="say the `position`, in a TREC run as the query `user:position`"
                if many
                else "rank the cases that `napo data export-cases` writes, under the keys that it gives them",
            )

    return np.array(found, dtype=np.int64), mistakes


def _named(user: str, position: str) -> str:
    return f"user {user!r}, position {position!r}," if position else f"{user!r}"


def _unknown_items(rows: RankedRows, frame: pl.DataFrame) -> Iterator[UserError]:
    wrong = np.flatnonzero(rows.item < 0)
    if wrong.size:
        yield UserError(
            f"item {frame['item'][int(wrong[0])]!r} is not in the catalog",
            where=_where(rows, wrong),
            remedy=f"the items' keys as the log has them, such as {', '.join(rows.cases.split.catalog.keys[:3])}",
        )


def _scores_of(frame: pl.DataFrame) -> tuple[FloatArray, Mistakes]:
    """(rows,) higher is better; the score, or else the rank with its sign turned."""
    column = "score" if "score" in frame.columns else "rank"
    values = _numbers(frame, column)

    def mistakes(rows: RankedRows) -> Iterator[UserError]:
        wrong = np.flatnonzero(~np.isfinite(values))
        if wrong.size:
            yield UserError(
                f"{frame[column][int(wrong[0])]!r} is no {column}",
                where=_where(rows, wrong),
                remedy="a finite number; leave the row out where the tool gives none",
            )

    return values if column == "score" else -values, mistakes


def _numbers(frame: pl.DataFrame, column: str) -> FloatArray:
    values = frame[column]
    if values.dtype == pl.String:
        values = values.str.strip_chars()
    return values.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()


def _repeated(rows: RankedRows) -> Iterator[UserError]:
    _, first = np.unique(np.stack([rows.case, rows.item]), axis=1, return_index=True)
    again: BoolArray = np.ones(rows.case.size, dtype=bool)
    again[first] = False
    wrong = np.flatnonzero(again)
    if wrong.size:
        row = int(wrong[0])
        yield UserError(
            f"item {rows.item_key(rows.item[row])!r} stands twice in the list of {rows.case_name(rows.case[row])}",
            where=_where(rows, wrong),
            remedy="name each item once",
        )


def _contradictions(rows: RankedRows, frame: pl.DataFrame) -> Iterator[UserError]:
    """A better score at a worse rank: one of the two does not mean what we take it for."""
    if not {"score", "rank"} <= set(frame.columns):
        return
    rank = _numbers(frame, "rank")
    order = np.lexsort((rank, -rows.score, rows.case))
    same = rows.case[order][1:] == rows.case[order][:-1]
    wrong = order[1:][same & ~(rank[order][1:] >= rank[order][:-1])]
    if wrong.size:
        yield UserError(
            f"rank and score disagree in the list of {rows.case_name(rows.case[wrong[0]])}",
            where=_where(rows, np.sort(wrong)),
            remedy="the best has rank 1 and the highest score; or keep one of the two columns",
        )


def _where(rows: RankedRows, wrong: IntArray) -> str:
    others = f", and {wrong.size - 1:,} rows more" if wrong.size > 1 else ""
    return f"{rows.place(int(wrong[0]))}{others}"
