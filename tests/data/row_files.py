"""Small files of rows for the tests: windows of a chain of artists, as ids and as titles."""

import gzip
import json
from pathlib import Path
from typing import Any

from napo.data.settings import DataSettings

TITLES = ["Air", "Moby", "Björk", "Ke$ha", "A::B", "Ends:", "Zero 7", "+44", "The Knife", "Boards of Canada"]


def write(path: Path, text: str) -> Path:
    """The text, gzipped where the name says so."""
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def write_items(folder: Path, titles: list[str] = TITLES, name: str = "items.tsv.gz") -> Path:
    rows = [f"{number}\t{title}" for number, title in enumerate(titles)]
    return write(folder / name, "\n".join(["item_id\ttitle", *rows]) + "\n")


def ids(*windows: tuple[list[int], int] | tuple[list[int], int, str]) -> str:
    """JSON lines of (history, next) or (history, next, user)."""
    names = ("history", "next", "user")
    return "\n".join(json.dumps(dict(zip(names, window, strict=False))) for window in windows)


def titled(*rows: tuple[str, str, list[str]]) -> str:
    """One JSON list of (history, chosen, candidates), as S-DPO's files have it."""
    named = [{"historyList": history, "itemList": listed, "trueSelection": chosen} for history, chosen, listed in rows]
    return json.dumps(named, indent=4)


def settings_of(folder: Path, **keys: Any) -> DataSettings:
    """Settings with the files of the folder that are there."""
    found = {path.name.split(".")[0]: path for path in folder.iterdir()}
    files = {name: found[name] for name in ("items", "train", "valid", "test") if name in found}
    return DataSettings(**{**files, **keys})


def write_chain(
    folder: Path, *, users: int = 12, items: int = 40, length: int = 7, lists: bool = True, candidates: int = 5
) -> None:
    """Users who take items one after the other, cut into windows: training by ids, the others by titles with lists.

    All of a user's windows but the last two train: windows of 0 to length - 3 items, of which those below 3 go.
    """
    folder.mkdir(parents=True, exist_ok=True)
    titles = [f"Artist {item}" for item in range(items)]
    write_items(folder, titles)
    training, held = [], {"valid": [], "test": []}
    for user in range(users):
        taken = [(3 * user + step) % items for step in range(length)]
        training += [(taken[:stop], taken[stop]) for stop in range(length - 2)]
        for name, stop in (("valid", length - 2), ("test", length - 1)):
            others = [titles[(taken[stop] + 7 * step) % items] for step in range(1, candidates)]
            others.insert(user % candidates, titles[taken[stop]])
            held[name].append(("::".join(titles[item] for item in taken[:stop]), titles[taken[stop]], others))
    write(folder / "train.jsonl.gz", ids(*training))
    for name, rows in held.items():
        if lists:
            write(folder / f"{name}.json.gz", titled(*rows))
        else:
            numbers = [
                ([titles.index(title) for title in past.split("::")], titles.index(new)) for past, new, _ in rows
            ]
            write(folder / f"{name}.jsonl", ids(*numbers))
