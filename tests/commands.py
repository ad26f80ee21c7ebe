"""Commands as a person types them, run in this process: exit code, what was printed, what was left behind."""

import io
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from napo.cli import main
from napo.training.callbacks import Report
from tests.tiny_world import tiny_keys


@dataclass(frozen=True)
class Ran:
    """How a command ended. A fault of ours is no ending: it comes out of `napo` as the exception that it is."""

    code: int
    out: str
    err: str


def napo_in(folder: Path) -> Callable[..., Ran]:
    """A function that runs `napo WORDS` with `folder` as the working directory."""

    def napo(*words: str) -> Ran:
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setenv("COLUMNS", "200")
            with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
                main(words)
        return Ran(int(ended.value.code or 0), out.getvalue(), err.getvalue())

    return napo


class PowerCutError(Exception):
    """What breaks a run off; no code of ours knows it."""


@contextmanager
def power_cut_after(step: int) -> Iterator[None]:
    """The run inside ends as that step is reported, and is tested to."""

    def cut(self: Report, args: Any, state: Any, control: Any, **more: Any) -> None:
        if state.global_step == step:
            raise PowerCutError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Report, "on_step_end", cut)
        with pytest.raises(PowerCutError):
            yield


def write_recipe(path: Path, keys: dict[str, Any], **sections: Any) -> None:
    """The keys as YAML, with the sections laid over them."""
    merged = dict(keys)
    for name, section in sections.items():
        merges = isinstance(section, dict) and isinstance(keys.get(name), dict) and "name" not in section
        merged[name] = {**keys[name], **section} if merges else section
    path.write_text(yaml.safe_dump(merged), encoding="utf-8")


def files_in(folder: Path) -> dict[str, bytes]:
    """All the files below a folder, whole; empty folders count as well."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in sorted(folder.rglob("*"))
        if path.is_file() or not any(path.iterdir())
    }


def brought(desk: Path, run: str) -> None:
    """The run's recipe finds its data in `desk`, to which all was copied."""
    path = desk / run / "recipe.yaml"
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    names = {
        name: str(desk / Path(file).name) for name, file in recipe["data"].items() if name in ("interactions", "items")
    }
    path.write_text(yaml.safe_dump({**recipe, "data": {**recipe["data"], **names}}), encoding="utf-8")


@contextmanager
def nothing_changes_in(folder: Path) -> Iterator[None]:
    """Nothing is written, half-written or taken away inside the block."""
    before = files_in(folder)
    yield
    after = files_in(folder)
    assert sorted(set(after) ^ set(before)) == []
    assert [name for name in before if before[name] != after[name]] == []


SHORT = {"epochs": 0.25, "save_every": None}


def write_desk(folder: Path) -> None:
    """A log, titles and the recipe `sft.yaml` of a single step, as somebody has them before napo is called."""
    keys = tiny_keys(folder)
    keys["data"] = {"interactions": "log.csv", "items": "items.csv"}
    write_recipe(folder / "sft.yaml", keys, sft=SHORT, preference=SHORT)


def assert_said(ran: Ran, said: Iterable[str]) -> None:
    """The command ended with a user's mistake: all these words, and a way out."""
    assert ran.code == 2, ran.out + ran.err
    assert "Traceback" not in ran.err
    assert [words for words in said if words not in ran.err] == [], ran.err
    assert re.search(r"^  try   |Usage: |should |give either", ran.err, re.M), f"no remedy in: {ran.err}"
    assert "None" not in ran.err
