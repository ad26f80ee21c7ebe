"""A tiny log, recipes on it and sweeps over them."""

from pathlib import Path

import yaml

from tests.tiny_world import tiny_keys

METHODS = {
    "sft": {"objective": None},
    "sdpo": {"objective": {"name": "sdpo"}},
    "napo": {"objective": {"name": "napo"}},
}


def write_recipes(folder: Path, **sections) -> None:
    """sft.yaml, sdpo.yaml, napo.yaml and their base, with half an epoch a stage."""
    keys = tiny_keys(folder)
    keys["sft"]["epochs"] = keys["preference"]["epochs"] = 0.5
    keys["data"] = {"interactions": "log.csv", "items": "items.csv"}
    keys["evaluation"] = {"protocols": ["cand20", "full"]}
    (folder / "base.yaml").write_text(yaml.safe_dump({**keys, **sections}), encoding="utf-8")
    for name, method in METHODS.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"extends": "base.yaml", **method}), encoding="utf-8")


def write_sweep(folder: Path, text: str, name: str = "sweep.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


class Watched:
    """A board that keeps what it is told; at: called with the stage's name and step, as they come."""

    def __init__(self, at=lambda cell, stage, done: None) -> None:
        self.at, self.begun, self.ended, self.failures = at, [], [], []

    def begins(self, cell):
        self.begun.append(cell.row)

    def goes_on(self, cell, stage, done, total):
        self.at(cell, stage, done)

    def says(self, cell, text): ...

    def ends(self, cell, seconds, failure):
        self.ended.append(cell.row)
        self.failures += [] if failure is None else [failure]
